"""Cross-play: who plays well with whom."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from runs import experiment, train

from interplay import envs
from interplay.cluster import crossplay
from interplay.cluster.crossplay import Contest, main, play
from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_worlds import PPOExperiment, WorldConfig
from interplay.cluster.recipes import recipe
from interplay.envs.core import UsageError
from interplay.policies.hanabi_bots import bot
from interplay.policies.meeting import meet
from interplay.policies.networks import NetworkConfig


@pytest.fixture(scope="module")
def levers(tmp_path_factory):
    """Three seeds of lever-ppo."""
    paths = []
    for seed in range(3):
        made = recipe("lever-ppo").experiment
        made = type(made)(seed, made.run, made.world, made.network, made.ppo, made.optim)
        paths.append(tmp_path_factory.mktemp("lever") / "run")
        train(paths[-1], made)
    return [str(path) for path in paths]


def test_self_play_invents_conventions_that_strangers_do_not_know(levers, tmp_path, capsys):
    main([*levers, "--games", "400", "--greedy", "--out", str(tmp_path / "out")])
    rows = pq.read_table(tmp_path / "out" / "crossplay.parquet").to_pylist()
    table = np.array([row["score"] for row in rows]).reshape(3, 3)
    assert np.allclose(table.diagonal(), 1.0)  # each has found one of the nine good levers
    assert np.isin(table.round(6), [0.0, 1.0]).all() and np.array_equal(table, table.T)
    metrics = json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"]
    assert metrics["self_play"] == pytest.approx(1.0)
    assert metrics["cross_play"] == pytest.approx((table.sum() - 3) / 6)
    assert (tmp_path / "out" / "scores.png").stat().st_size > 5000
    assert str(tmp_path / "out") == capsys.readouterr().out.strip().splitlines()[-1]


def test_a_meeting_scores_the_first_game_of_each_world():
    """Beside a plain loop, one world at a time."""
    seats = [bot("iggi"), bot("piers")]
    games = meet(envs.make("hanabi-small", 40, seed=3), [seats])
    replies = torch.zeros_like(games.replies[0])
    for i in range(40):
        env, total, turn, before = envs.make("hanabi-small", 1, seed=3, first=i), 0.0, 0, None
        while True:
            p = int(env.out.acting[0].nonzero())
            action = torch.zeros(1, 2, dtype=torch.int64)
            action[0, p] = seats[p].act(env, env.out, None, turn)[0][0, p]
            if before is not None:
                replies[before, int(action[0, p])] += 1
            before = int(action[0, p])
            out = env.step(action)
            total, turn = total + float(out.reward[0, 0]), turn + 1
            if out.terminated[0]:
                break
        assert total == float(games.score[i, 0]), i
    assert torch.equal(replies, games.replies[0])


def test_shares_of_bombs_and_perfect_games_are_counted():
    contest = Contest(("iggi", "random-legal"), "hanabi-very-small", {}, 500, 7, False)
    (good, _), (bad, _) = play(contest, [(0, 0), (1, 1)])
    assert good["bombed"] == 0 and bad["bombed"] > 0.9
    assert bad["score"] < 0.5 < good["score"]
    batch = envs.make("hanabi-very-small", 500, seed=7)
    games = meet(batch, [[bot("iggi")] * 2])
    assert good["perfect"] == float((games.score[:, 0] == 5).double().mean())
    assert good["stderr"] == pytest.approx(float(games.score[:, 0].std()) / 500**0.5)


def test_permuted_training_and_other_bombs_are_scored_by_the_plain_game(tmp_path):
    """And what is shared over Ray is what one process computes."""
    ray = pytest.importorskip("ray")
    run = RunConfig(updates=2, tiles=1, tile=32, turns=8, checkpoint_every=2, learn_threads=1)
    made = PPOExperiment(1, run, WorldConfig("hanabi-very-small", permute=True, bomb="keep"), NetworkConfig((8,)), shared=True)
    train(tmp_path / "run", made)
    names = [str(tmp_path / "run"), "random-legal"]
    main([*names, "--games", "64", "--out", str(tmp_path / "here")])
    try:
        main([*names, "--games", "64", "--env-actors", "2", "--out", str(tmp_path / "there")])
    finally:
        ray.shutdown()
    here, there = (pq.read_table(tmp_path / name / "crossplay.parquet").to_pylist() for name in ("here", "there"))
    assert here == there
    assert all(row["score"] == 0 or row["bombed"] < 1 for row in here)
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["params"] == {}


@pytest.fixture(scope="module")
def players_of_hanabi(tmp_path_factory):
    """Two tiny runs, one that draws its moves (unless it is to be greedy) and one that remembers, and bots."""
    paths = {kind: tmp_path_factory.mktemp(kind) / "run" for kind in ("turns", "replay")}
    for kind, path in paths.items():
        train(path, experiment(kind))
    return (*map(str, paths.values()), "iggi", "smartbot", "random-legal")


@pytest.mark.parametrize("greedy", [False, True])
def test_a_pair_plays_the_same_whoever_else_plays(players_of_hanabi, greedy, monkeypatch):
    contest = Contest(players_of_hanabi, "hanabi-very-small", {}, 101, 7, greedy)
    pairs = [(i, j) for i in range(5) for j in range(5)]
    at_once = play(contest, pairs)
    monkeypatch.setattr(crossplay, "WORLDS", 707)
    in_parts = play(contest, pairs)
    for k, pair in enumerate(pairs):
        ((row, replies),) = play(contest, [pair])
        for other, others in (at_once[k], in_parts[k]):
            assert row == other and np.array_equal(replies, others)
        assert (row["first"], row["second"]) == tuple(players_of_hanabi[i] for i in pair)
    assert len({row["score"] for row, _ in at_once}) > 10


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "needs run folders or bots"),
        (["igi"], "did you mean 'iggi'"),
        (["iggi", "--games", "1"], "--games"),
        (["iggi", "--players", "6"], "players is 6"),
        (["iggi", "--world", "coin"], "rule bots play hanabi"),
    ],
)
def test_mistakes_are_told_in_one_line_and_write_nothing(words, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        main([*words, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        main(["iggi", "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
