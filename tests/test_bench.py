"""The benchmark measures what it says: rows are complete, actions are fresh, every turn is played; strangers' rows are read."""

import sys

import pytest
import torch

from interplay.cluster.bench import bench, json_lines, median_rate, player, side_by_side
from interplay.envs import UsageError, make, names

KEYS = {"system", "world", "num_envs", "device", "threads", "env_steps_per_s"}


def test_rows_are_complete():
    threads = torch.get_num_threads()
    rows = list(bench(["ipd", "coin"], [1, 300], threads=1, seconds=0.02))
    assert [(row["world"], row["num_envs"]) for row in rows] == [("ipd", 1), ("ipd", 300), ("coin", 1), ("coin", 300)]
    for row in rows:
        assert set(row) == KEYS
        assert (row["system"], row["device"], row["threads"]) == ("interplay", "cpu", 1)
        assert row["env_steps_per_s"] > 1000
    # 300 worlds a call are played far faster than one: dispatch is shared
    assert rows[1]["env_steps_per_s"] > 10 * rows[0]["env_steps_per_s"]
    assert torch.get_num_threads() == threads


def test_all_worlds_by_default():
    assert [row["world"] for row in bench(num_envs=[2], threads=1, seconds=0.001)] == names()


def test_threads_are_given_back_after_a_mistake():
    threads = torch.get_num_threads()
    with pytest.raises(UsageError, match="world 'ipdd' is unknown; did you mean 'ipd'"):
        list(bench(["ipdd"], threads=1))
    with pytest.raises(UsageError, match="seconds is 0; allowed are numbers above 0"):
        list(bench(["ipd"], seconds=0))
    assert torch.get_num_threads() == threads


def test_a_turn_draws_fresh_legal_actions_and_plays_them(monkeypatch):
    batch, actions = make("lever", num_envs=50, rounds=5), []
    step = batch.step
    monkeypatch.setattr(batch, "step", lambda action: actions.append(action.clone()) or step(action))
    play = player(batch)
    play(3)
    play(4)
    assert len(actions) == 7
    assert batch._worlds["turn"].tolist() == [2] * 50
    assert len({tuple(action.flatten().tolist()) for action in actions}) == 7
    assert torch.stack(actions).unique().tolist() == list(range(10))


def test_views_are_unpacked(monkeypatch):
    """Throughput counts whole observations."""
    batch, shapes = make("hanabi-small", num_envs=3), []
    views = batch.views
    monkeypatch.setattr(batch, "views", lambda obs: shapes.append(tuple(views(obs).shape)))
    player(batch)(4)
    assert shapes == [(3, 2, *batch.world.observation)] * 4


def test_the_rate_is_turns_by_time(monkeypatch):
    """By a clock that moves 2 ms a turn, whatever the machine does."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work(turns):
        now[0] += 0.002 * turns

    waits = []
    assert median_rate(work, 0.1, lambda: waits.append(0)) == pytest.approx(500)
    assert waits


def test_rows_of_other_programs_are_read(capfd):
    program = 'import json; print("Importing ..."); print(json.dumps({"world": "coin_game", "env_steps_per_s": 3.5}))'
    assert list(json_lines([sys.executable, "-c", program])) == [{"world": "coin_game", "env_steps_per_s": 3.5}]
    with pytest.raises(UsageError, match="cannot run '/no/python': No such file or directory; give the interpreter"):
        list(json_lines(["/no/python"]))
    with pytest.raises(RuntimeError, match="ended with exit code 3"):
        list(json_lines([sys.executable, "-c", "import sys; sys.exit(3)"]))


def test_side_by_side_names_worlds_as_we_do(tmp_path):
    """A stand-in for the other interpreter: it answers as bench_jaxmarl.py does."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nshift\necho "{\\"system\\": \\"jaxmarl\\", \\"world\\": \\"coin_game\\", \\"asked\\": \\"$*\\"}"\n')
    python.chmod(0o755)
    ours, theirs = side_by_side(python, num_envs=[8], seconds=0.01, threads=1, worlds=["coin"])
    assert (ours["system"], ours["world"], ours["num_envs"]) == ("interplay", "coin", 8)
    assert theirs == {"system": "jaxmarl", "world": "coin", "asked": "--worlds coin_game --num-envs 8 --seconds 0.01"}


def test_training_spends_its_time_on_learning():
    """At most a twentieth of a training's time goes into the world, a tenth to the teacher (measured: .2 to 2.4 %, and 1.4 %)."""
    from interplay.cluster.bench_share import measure
    from interplay.cluster.recipes import recipe

    assert measure(recipe("hanabi-vdn-small").experiment, 2, warm=1)["world"] < 0.05
    mazes = measure(recipe("maze-plr-small").experiment, 4, warm=1)
    assert mazes["world"] < 0.05 and mazes["teacher"] < 0.1
    assert sum(mazes[name] for name in ("world", "policy", "learner", "teacher")) == pytest.approx(1)
