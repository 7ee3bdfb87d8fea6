"""Who stands where: tiles dealt out, rounds cut short, env actors placed anew as nodes come, leave, stop or lag."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import experiment, pid_of, train

from interplay.cluster import checkpoint, fleet, streaming
from interplay.cluster.actors import EnvActor
from interplay.cluster.record import RunFolder
from interplay.cluster.run import rounds
from interplay.cluster.runner import LocalRunner, Lost
from interplay.cluster.streaming import RayRunner, Seat
from interplay.envs.core import UsageError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(180)


def test_labels():
    assert fleet.labels("") == {}
    assert fleet.labels("role=env, zone=a") == {"role": "env", "zone": "a"}
    for wrong in ("role", "role=", "a=b=c"):
        with pytest.raises(UsageError, match="allowed is key=value,key=value"):
            experiment("coin", env_labels=wrong).check()


@pytest.mark.parametrize("seconds", [(1.0, 1.0, 1.0), (1.0, 2.5, 0.4), (10.0, 0.1, 0.1)])
def test_tiles_are_dealt_so_that_the_last_actor_is_done_soonest(seconds):
    """Against all ways to deal out nine tiles."""
    ways = [way for way in itertools.product(range(1, 8), repeat=3) if sum(way) == 9]
    last = lambda way: max(count * second for count, second in zip(way, seconds, strict=True))
    counts = fleet.dealt(9, seconds)
    assert sum(counts) == 9 and min(counts) >= 1
    assert last(counts) == min(map(last, ways))


class Counted(LocalRunner):
    """Says in which order rounds are begun and learned from."""

    def __init__(self, made):
        super().__init__(made)
        self.log = []

    def play(self, number, version, tasks):
        self.log.append(("play", number, version))
        return super().play(number, version, tasks)


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_a_segment_that_is_cut_short_learns_from_what_is_in_flight(staleness):
    runner = Counted(experiment("coin", staleness=staleness))
    runner.restore(None)
    done = [r.number for r in rounds(runner, runner.experiment, 0, 20, lambda number: number == 3)]
    assert done == list(range(3 + staleness))
    assert runner.log == [("play", r, max(0, r - staleness)) for r in done]


def test_a_segment_ends_where_an_update_is_whole():
    made = experiment("dice")
    assert made.stages > 1
    runner = LocalRunner(made)
    runner.restore(None)
    done = [r.number for r in rounds(runner, made, 0, 4 * made.stages, lambda number: True)]
    assert len(done) == made.stages


def test_who_is_slow_gets_fewer_tiles_if_that_pays():
    runner = RayRunner(experiment("coin", tiles=8, env_actors=2))
    runner.seats = [Seat(0, 4, "a", seconds=[1.0] * 16), Seat(4, 4, "b", seconds=[3.0] * 16)]
    assert runner._slow(left=1) == ""  # 1.5 s saved are not worth new actors
    assert "tiles 4-7) is slow and gets 2 tiles" in runner._slow(left=100)
    assert [(seat.first, seat.count, seat.node) for seat in runner.plan] == [(0, 6, "a"), (6, 2, "b")]
    runner.seats[1].seconds = [1.4] * 16
    assert runner._slow(left=10**9) == ""  # noise, however long the run
    runner.seats[1].seconds = [9.0] * 3
    assert runner._slow(left=100) == ""  # too few rounds to tell


def test_a_stop_during_a_fall_ends_the_run(tmp_path):
    """A worker is lost at the moment that SIGTERM comes: no further try, and the checkpoint before it is there."""
    runner, events = LocalRunner(experiment("coin", updates=6, checkpoint_every=2)), []
    learn = runner.learn

    def lose(number, handle):
        if number == 3:
            signal.raise_signal(signal.SIGTERM)
            raise Lost("a test")
        return learn(number, handle)

    runner.learn = lose
    _, summary, rows = train(tmp_path / "run", runner.experiment, runner, events.append)
    assert summary["status"] == "interrupted" and [row["update"] for row in rows] == [1, 2]
    assert checkpoint.numbers(tmp_path / "run" / "checkpoints") == [0, 2] and not any("event" in event for event in events)


def test_who_waits_for_a_trajectory_hears_why_there_is_none(monkeypatch):
    host: Any = EnvActor.__new__(EnvActor)  # without a Ray to ask where it stands
    host.kept, rounds = deque(), iter((1, 0))
    monkeypatch.setattr(EnvActor, "play", lambda *_: ({"x": np.ones(1) / 1}, 1 / next(rounds), None))
    assert host.keep() == (1.0, None)
    with pytest.raises(ZeroDivisionError):
        host.keep()
    assert torch.equal(host.hand()["x"], torch.ones(1, dtype=torch.float64))  # the round before is handed over all the same
    with pytest.raises(ZeroDivisionError):
        host.hand()


COMMAND = [sys.executable, "-m", "interplay.cluster.cli", "train", "coin-ppo", "--run.tile", "64", "--run.turns", "16", "--run.tiles", "2"]


@pytest.mark.parametrize("staleness", [0, 1])
def test_sigterm_ends_a_run_with_a_checkpoint(tmp_path, staleness):
    """And, where rounds are on policy, what goes on from there is the undisturbed run."""
    words = [*COMMAND, "--run.updates", "600", "--run.checkpoint-every", "600", "--local", "--run.staleness", str(staleness)]
    job = subprocess.Popen([*words, "--run-dir", str(tmp_path / "run")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while not (tmp_path / "run" / "checkpoints" / "00000000").exists() and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    job.send_signal(signal.SIGTERM)
    out, said = job.communicate(timeout=60)
    assert job.returncode == 143 and out.strip() == str(tmp_path / "run")
    folder = RunFolder.open(tmp_path / "run")
    done = checkpoint.numbers(folder.checkpoints)[-1]
    assert 0 < done < 600 and [row["update"] for row in folder.rows()] == list(range(1, done + 1))
    assert f"stopped by SIGTERM after update {done}, with a checkpoint; go on with: interplay train coin-ppo --resume" in said
    if staleness == 0:
        further = str(done + 3)
        subprocess.run([*COMMAND, "--local", "--resume", str(tmp_path / "run"), "--run.updates", further], check=True, capture_output=True)
        whole = [*COMMAND, "--local", "--run.updates", further, "--run-dir", str(tmp_path / "whole")]
        subprocess.run(whole, check=True, capture_output=True)
        ends = [checkpoint.digest(checkpoint.load(tmp_path / name / "checkpoints")) for name in ("run", "whole")]
        assert ends[0] == ends[1]


@pytest.fixture
def quick(monkeypatch):
    """The cluster is looked at all the time."""
    monkeypatch.setattr(streaming, "LOOK", 0.2)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


def test_an_env_actor_that_hangs_is_replaced(quick, tmp_path):
    from interplay.cluster.connect import connect

    here, _, _ = train(tmp_path / "local", experiment("gru"))
    stopped = []
    assert connect(None, cpus=4)
    try:
        made = experiment("gru", env_actors=2, patience=1.0)
        runner, events = RayRunner(made), []

        def watch(row):
            events.extend([row["event"]] if "event" in row else [])
            if row.get("update") == 2 and not stopped:
                stopped.append(pid_of(runner.hosts[1]))
                os.kill(stopped[0], signal.SIGSTOP)

        there, summary, _ = train(tmp_path / "ray", made, runner, watch)
        assert summary["status"] == "finished" and there == here
        assert events == ["EnvActor(tiles 2-3) was lost; another has played its round again"]
    finally:
        ray.shutdown()
        for pid in stopped:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def test_a_run_follows_its_nodes(quick, tmp_path):
    """It grows onto a node that joins, deals out tiles anew, and leaves before a node goes; the result is the undisturbed run's.

    The learner and the meta-learner stay all the time.
    """
    from ray._raylet import GcsClient  # pyright: ignore[reportAttributeAccessIssue]
    from ray.cluster_utils import Cluster

    settings = {"updates": 60, "checkpoint_every": 50}
    here, _, _ = train(tmp_path / "local", experiment("gru", **settings))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        from interplay.cluster.connect import connect

        connect(cluster.address)
        made = experiment("gru", env_actors=2, act_threads=2, **settings)  # a CPU each
        runner, events, sizes, added, staff = RayRunner(made), [], {}, [], set()

        def watch(row):
            if "event" in row:
                events.append(row["event"])
                return
            update = row["update"]
            sizes[update] = [seat.count for seat in runner.seats]
            staff.update(runner.staff)
            if update == 3 and not added:
                added.append(cluster.add_node(num_cpus=1))
            if sizes[update] == [2, 2] and len(runner.seats[1].seconds) == streaming.ENOUGH:
                runner.seats[1].seconds.extend([1000.0] * streaming.ENOUGH)  # as if its node were slow
            if sizes[update] == [3, 1] and len(added) == 1:
                added.append(update)
                gone, why = GcsClient(cluster.address).drain_node(added[0].node_id, 2, "a spot notice, as a test gives it", 0)
                assert gone, why

        there, summary, rows = train(tmp_path / "ray", made, runner, watch)
        assert summary["status"] == "finished" and there == here
        assert [row["update"] for row in rows] == list(range(1, 61))
        assert [e.split(":")[0] for e in events][:3] == [
            "there is room for 2 env actors",
            "EnvActor(tiles 2-3) is slow and gets 1 tiles",
            "a node is about to leave",
        ]
        assert [size for size, _ in itertools.groupby(sizes.values())] == [[4], [2, 2], [3, 1], [4]]
        assert len(staff) == 2
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_learners_on_gpus_stand_together(quick):
    """On a Ray that believes in three GPUs: a placement group of two learners, and what each may see."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    assert streaming.gpus(replace(experiment("coin").run, learners=2))[2] is None
    ray.init(address="local", num_cpus=2, num_gpus=3, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        acting, learning, group = streaming.gpus(
            replace(experiment("coin").run, device="cuda:0", learners=2, learner_gpus=1.0, env_gpus=0.5)
        )
        assert (acting, learning) == ({"num_gpus": 0.5}, {"num_gpus": 1.0})
        assert [bundle["GPU"] for bundle in group.bundle_specs] == [1.0, 1.0]
        seen = ray.remote(num_cpus=0)(lambda: ray.get_gpu_ids())
        near: Any = {"scheduling_strategy": PlacementGroupSchedulingStrategy(group)}
        pair = ray.get([seen.options(**near, **learning).remote() for _ in range(2)], timeout=60)
        assert all(len(ids) == 1 for ids in pair)
        assert ray.available_resources()["GPU"] == 1.0
        shared = streaming.gpus(replace(experiment("coin").run, device="cuda:0", env_actors=3))[0]
        assert shared == {"num_gpus": 0.25}
    finally:
        ray.shutdown()


def test_labels_that_no_node_has_are_said(quick, tmp_path, monkeypatch):
    from interplay.cluster import run
    from interplay.cluster.connect import connect

    monkeypatch.setattr(run, "PATIENCE", 1)
    assert connect(None, cpus=2)
    try:
        made = experiment("coin", learner_labels="role=nowhere")
        with pytest.raises(RuntimeError, match=r"no node has the labels of run\.learner_labels, role=nowhere"):
            train(tmp_path / "run", made, RayRunner(made))
    finally:
        ray.shutdown()


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    """A file system of 1.5 MB where this user may mount one; else a limit to the size of files."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)], capture_output=True).returncode == 0
    words = [*COMMAND, "--local", "--quiet", "--run.updates", "400", "--run.checkpoint-every", "1", "--run-dir", str(place / "run")]
    command = words if mounted else ["bash", "-c", 'ulimit -f 60; exec "$@"', "-", *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
        found = checkpoint.numbers(place / "run" / "checkpoints")
        whole = f"checkpoint {found[-1]} is whole" if found else "there is no checkpoint yet"
        assert whole in ended.stderr and "cannot be written" in ended.stderr and f"--resume {place / 'run'}" in ended.stderr
        if found:
            assert checkpoint.load(place / "run" / "checkpoints").number == found[-1]
        assert not list(Path(place / "run" / "checkpoints").glob(".*.partial"))
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def test_what_does_not_go_together_is_refused(tmp_path):
    from interplay.cluster.training import prepare

    for more, match in [
        (["--run.transport", "pigeon"], "run.transport is 'pigeon'; allowed are store and direct"),
        (["--run.transport", "direct", "--run.learners", "2"], "'direct' with 2 learners; allowed is store"),
    ]:
        with pytest.raises(UsageError, match=match):
            prepare(["coin-ppo", *more, "--run-dir", str(tmp_path / "x")])

    with pytest.raises(UsageError, match=r"run\.learners is 2 with --local; allowed is 1 in one process"):
        prepare(["coin-ppo", "--local", "--run.learners", "2", "--run-dir", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_more_learners_than_rows_are_refused():
    from interplay.learners.ppo import PPO

    made = experiment("coin")
    learner = made.learner()
    assert isinstance(learner, PPO)
    runner = LocalRunner(replace(made, run=replace(made.run, tile=1, tiles=1, turns=1)))
    runner.restore(None)
    nine: Any = SimpleNamespace(size=9)
    learner.team = nine
    played = runner.play(0, 0, runner.ask())
    assert played is not None
    with pytest.raises(UsageError, match="allowed is at most one learner a row"):
        learner.update(played.trajectory)
