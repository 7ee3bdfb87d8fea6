"""Interrupted runs go on bit for bit; damaged and foreign ones are refused with one line."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from runs import experiment, train

from interplay.cluster import checkpoint
from interplay.cluster.record import RunFolder
from interplay.cluster.run import train as train_folder
from interplay.cluster.runner import LocalRunner, RunState
from interplay.envs.core import UsageError

COMMAND = [sys.executable, "-m", "interplay.cluster.cli", "train", "coin-ppo"]
TINY = "--run.updates 12 --run.tiles 2 --run.tile 64 --run.turns 16 --run.checkpoint-every 4 --network.recurrent 8 --quiet".split()


def digest(path):
    return checkpoint.digest(checkpoint.load(path / "checkpoints"))


def cut_back(path, number):
    """Leave only the checkpoints up to `number`, as if the job had died after it."""
    for n in checkpoint.numbers(path / "checkpoints"):
        if n > number:
            shutil.rmtree(path / "checkpoints" / f"{n:08d}")


KINDS = ["coin", "gru", "turns", "replay", "sad", "obl", "central", "mfos-self", "mfos-sampled", "dice", "exact"]
KINDS += ["accel", "lanes", "sfl", "repaired"]


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_unbroken(tmp_path, kind):
    whole, _, rows = train(tmp_path / "run", experiment(kind))
    stages = experiment(kind).stages
    cut_back(tmp_path / "run", 3 * stages)
    again, summary, resumed = train(tmp_path / "run", experiment(kind))
    assert again == whole
    assert summary["status"] == "finished"
    strip = lambda rows: [{k: v for k, v in row.items() if not k.startswith(("time/", "speed/", "wall"))} for row in rows]
    assert strip(resumed) == strip(rows)


def test_stale_runs_resume_too(tmp_path):
    whole, _, _ = train(tmp_path / "run", experiment("coin", staleness=2))
    cut_back(tmp_path / "run", 3)
    assert train(tmp_path / "run", experiment("coin", staleness=2))[0] == whole


@pytest.mark.parametrize("where", [["--local"], []], ids=["local", "ray"])
def test_killed_job_resumes_bit_for_bit(tmp_path, where):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*COMMAND, *TINY, "--local", "--run-dir", str(whole)], check=True, stdout=subprocess.DEVNULL)
    job = subprocess.Popen([*COMMAND, *TINY, *where, "--run-dir", str(broken)], start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not (broken / "checkpoints" / "00000004").exists() and time.time() < deadline:
        assert job.poll() is None, "the job ended by itself"
        time.sleep(0.002)
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    done = checkpoint.numbers(broken / "checkpoints")[-1]
    assert 4 <= done < 12, "killed too late to prove anything"
    ended = subprocess.run([*COMMAND, "--quiet", "--resume", str(broken), *where], check=True, capture_output=True, text=True)
    assert ended.stdout.splitlines()[-1] == str(broken)
    assert digest(broken) == digest(whole)
    summary = json.loads((broken / "summary.json").read_text())
    assert (summary["status"], summary["env_steps"]) == ("finished", 12 * 2 * 64 * 16)


def test_resume_on_other_numbers_of_actors_and_further(tmp_path):
    whole, _, _ = train(tmp_path / "whole", experiment("coin", updates=9))
    train(tmp_path / "run", experiment("coin", updates=6))
    folder = RunFolder(tmp_path / "run", "test", experiment("coin", updates=9, env_actors=3))
    folder.write_config()
    assert train(tmp_path / "run", experiment("coin", updates=9))[0] == whole


def refuse(*words):
    """The one line that a wrong command prints."""
    ended = subprocess.run([*COMMAND[:-2], *words], capture_output=True, text=True)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    return lines[0]


def test_damaged_checkpoints_are_refused(tmp_path):
    train(tmp_path / "run", experiment("coin"))
    path = tmp_path / "run" / "checkpoints" / "00000007"
    for name in checkpoint.FILES:
        whole = (path / name).read_bytes()
        (path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UsageError, match=r"damaged.*go on from checkpoint 6"):
            checkpoint.load(tmp_path / "run" / "checkpoints")
        (path / name).write_bytes(whole)
    (path / "tiles.safetensors").unlink()
    with pytest.raises(UsageError, match="damaged"):
        checkpoint.load(tmp_path / "run" / "checkpoints")


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path):
    """A buffer of levels cut short is refused, the older one is used, and the run ends as if nothing had happened."""
    made = experiment("accel")
    whole, _, _ = train(tmp_path / "whole", made)
    train(tmp_path / "run", dataclasses.replace(made, run=dataclasses.replace(made.run, updates=6)))
    place = tmp_path / "run" / "checkpoints"
    path = place / "00000006" / "meta.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    events = []
    folder = RunFolder(tmp_path / "run", "test", made)
    train_folder(folder, LocalRunner(made), {}, lambda row: events.append(row.get("event")))
    assert checkpoint.digest(checkpoint.load(place)) == whole
    assert [e for e in events if e] == [e for e in events if e and "damaged" in e and "going on from checkpoint 3" in e] != []
    assert checkpoint.numbers(place) == [0, 3, 6, 7] and (place / ".00000006.damaged").is_dir()


def test_a_partial_checkpoint_is_invisible(tmp_path, monkeypatch):
    state = RunState(4, {"a": torch.ones(3)}, {}, [{"worlds": torch.zeros(2, 8, dtype=torch.uint8)}])
    checkpoint.save(tmp_path, dataclasses.replace(state, number=2))
    monkeypatch.setattr(checkpoint, "_sync", lambda path: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(tmp_path, state)
    assert checkpoint.numbers(tmp_path) == [2]
    assert checkpoint.load(tmp_path).number == 2


def test_wrong_resumes(tmp_path):
    subprocess.run([*COMMAND, *TINY, "--local", "--run-dir", str(tmp_path / "run")], check=True, stdout=subprocess.DEVNULL)
    run = str(tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert "not of lever-ppo" in refuse("train", "lever-ppo", "--resume", run)
    assert "not a run folder" in refuse("train", "coin-ppo", "--resume", str(tmp_path))
    assert "optim.lr differ" in refuse("train", "coin-ppo", "--resume", run, "--optim.lr", "0.1")
    assert "finished (12 updates)" in refuse("train", "coin-ppo", "--resume", run)
    assert "not empty; nothing was written" in refuse("train", "coin-ppo", "--run-dir", run)
    assert "exclude" in refuse("train", "coin-ppo", "--resume", run, "--run-dir", str(tmp_path / "x"))
    assert before == {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}


def test_local_runner_needs_states_to_jump(tmp_path):
    made = experiment("coin")
    runner = LocalRunner(made)
    runner.restore(None)
    runner.weights[5] = runner.weights[0]
    with pytest.raises(RuntimeError, match="no states were given"):
        runner.play(5, 5, runner.ask())
