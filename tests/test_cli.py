"""The command line as a user meets it."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from interplay.cluster.recipes import RECIPES

INTERPLAY = [sys.executable, "-m", "interplay.cluster.cli"]


def run(*words, **options):
    return subprocess.run([*INTERPLAY, *words], capture_output=True, text=True, timeout=200, **options)


@pytest.fixture(scope="module")
def lever(tmp_path_factory):
    """A finished local run of the shortest recipe."""
    path = tmp_path_factory.mktemp("runs") / "lever"
    ended = run("train", "lever-ppo", "--local", "--seed", "4", "--run-dir", str(path))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == str(path)
    assert "this run" in ended.stderr
    return path


def test_lever_learns_and_describes_itself(lever):
    summary = json.loads((lever / "summary.json").read_text())
    assert set(summary) >= {"recipe", "seed", "status", "env_steps", "wall_clock_s", "device", "metrics", "reference"}
    assert (summary["recipe"], summary["seed"], summary["status"], summary["device"]) == ("lever-ppo", 4, "finished", "cpu")
    assert summary["env_steps"] == 60 * 256 * 8
    assert summary["metrics"]["reward_per_step/player_0"] > 0.97  # 1.0 but for exploration; random play earns 0.1
    rows = pq.read_table(lever / "metrics.parquet").to_pylist()
    assert [row["update"] for row in rows] == list(range(1, 61))
    assert rows[0]["reward_per_step/player_0"] < 0.2
    assert list((lever / "tensorboard").iterdir())
    config = json.loads((lever / "config.json").read_text())
    assert config["experiment"]["optim"]["lr"] == 5e-3


def test_eval_of_what_is_not_played(tmp_path):
    run("train", "toy-obl", "--local", "--quiet", "--run.updates", "400", "--run-dir", str(tmp_path / "toy"))
    ended = run("eval", str(tmp_path / "toy"))
    assert ended.returncode == 0, ended.stderr
    scores = json.loads((tmp_path / "toy" / "eval.json").read_text())["metrics"]
    assert scores["self_play"]["mean"] == pytest.approx(5, abs=0.01) and scores["cross_play"]["mean"] == pytest.approx(5, abs=0.01)


def test_eval_and_plot(lever):
    ended = run("eval", str(lever))
    assert ended.returncode == 0, ended.stderr
    scores = json.loads((lever / "eval.json").read_text())["metrics"]
    assert scores["reward_per_step/player_1"]["mean"] > 0.97
    ended = run("plot", str(lever), "--out", str(lever / "curve"))
    assert ended.returncode == 0, ended.stderr
    assert (lever / "curve.png").read_bytes()[:4] == b"\x89PNG" and "<svg" in (lever / "curve.svg").read_text()


def test_list_shows_every_recipe():
    lines = run("list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)


def test_bench_prints_json_lines():
    ended = run("bench", "ipd", "--num-envs", "128", "--seconds", "0.02", "--json")
    (row,) = map(json.loads, ended.stdout.splitlines())
    assert set(row) >= {"world", "num_envs", "device", "threads", "env_steps_per_s"} and row["env_steps_per_s"] > 1e4


def test_doctor():
    ended = run("doctor")
    assert ended.returncode == 0 and "the engine runs" in ended.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["trian"], "did you mean 'train'"),
        (["train"], "needs a recipe"),
        (["train", "ipd-mfs"], "did you mean 'ipd-mfos'"),
        (["train", "lever-ppo", "--optim.lr", "-1"], "optim.lr is -1.0; allowed are finite numbers above 0"),
        (["train", "lever-ppo", "--optim.lr", "nan"], "optim.lr is nan"),
        (["train", "lever-ppo", "--run.updates", "0"], "run.updates is 0; allowed are whole numbers from 1"),
        (["train", "lever-ppo", "--ppo.gamma", "1.5"], "ppo.gamma is 1.5; allowed are numbers from 0 to 1"),
        (["train", "lever-ppo", "--seed", "-3"], "seed is -3"),
        (["train", "lever-ppo", "--run.env-actors", "9"], "at most one actor a tile"),
        (["train", "lever-ppo", "--run.device", "cuda:7"], "this machine has cpu"),
        (["train", "lever-ppo", "--world.name", "coins"], "did you mean 'coin'"),
        (["train", "ipd-mfos", "--run.turns", "50"], "multiples of meta_game.episode"),
        (["train", "ipd-lola", "--exact.players", "naive", "lolla"], "unknown"),
        (["train", "lever-ppo", "--resume", "/nowhere"], "is not a run folder"),
        (["train", "lever-ppo", "--address", "127.0.0.1:1"], "no Ray answers at '127.0.0.1:1'"),
        (["eval", "/nowhere"], "is not a run folder"),
        (["plot", "/nowhere"], "is not a run folder"),
        (["bench", "ipdd"], "did you mean 'ipd'"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_one_line_and_exit_code_2(words, says, tmp_path):
    ended = run(*words, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not any(tmp_path.rglob("*.json")), "something was written"


def test_unknown_flag_suggests(tmp_path):
    ended = run("train", "lever-ppo", "--optim.lrr", "1", cwd=tmp_path)
    assert ended.returncode == 2 and "--optim.lr" in ended.stderr and not any(tmp_path.iterdir())


def test_help_documents_every_flag():
    text = run("train", "ipd-mfos", "--help").stdout
    for flag in ("--seed", "--run-dir", "--local", "--address", "--resume", "--run.staleness", "--meta-game.lr", "--optim.lr"):
        assert flag in text
    assert "Lu et al. 2022" in text


def test_an_own_ray_minds_no_stale_address(tmp_path):
    """A Ray that died leaves its address behind; a run without --address starts its own all the same."""
    env = dict(os.environ, RAY_ADDRESS="127.0.0.1:1")
    ended = run("train", "lever-ppo", "--quiet", "--run.updates", "2", "--run-dir", str(tmp_path / "run"), env=env)
    assert ended.returncode == 0, ended.stderr
