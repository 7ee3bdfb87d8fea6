"""The runtime: what is computed does not depend on who computes it, nor on who dies meanwhile."""

import os
import signal

import pytest
from runs import experiment, over_ray, pid_of, train

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize("actors", [1, 2, 4])
def test_env_actors_do_not_change_the_weights(cluster, tmp_path, actors):
    here, _, rows = train(tmp_path / "local", experiment("coin"))
    there, _, streamed = over_ray(tmp_path / "ray", experiment("coin", env_actors=actors))
    assert here == there
    for a, b in zip(rows, streamed, strict=True):
        assert a["reward_per_step/player_0"] == b["reward_per_step/player_0"]


KINDS = ["gru", "shared", "central", "turns", "replay", "sad", "obl", "mfos", "mfos-sampled", "mfos-self", "dice", "exact"]
KINDS += ["accel", "lanes", "sfl", "paired", "repaired"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_method_streams_bit_for_bit(cluster, tmp_path, kind):
    here, _, _ = train(tmp_path / "local", experiment(kind))
    there, _, _ = over_ray(tmp_path / "ray", experiment(kind, env_actors=2))
    assert here == there


@pytest.mark.parametrize(("kind", "more"), [("gru", {}), ("paired", {}), ("coin", {"staleness": 1})])
def test_trajectories_that_go_directly_are_the_same(cluster, tmp_path, kind, more):
    """Ray Direct Transport."""
    here, _, _ = train(tmp_path / "local", experiment(kind, **more))
    there, _, _ = over_ray(tmp_path / "ray", experiment(kind, env_actors=2, transport="direct", **more))
    assert here == there


@pytest.mark.parametrize("leaving", [False, True])
def test_a_staff_whose_node_stays_goes_on_with_what_it_knows(cluster, tmp_path, monkeypatch, leaving):
    """Actors are placed anew in the middle of a run, by learners with a replay of their own; the weights are those of a run left alone."""
    staffs, why = [], ["a test says so"]

    def watch(runner, row):
        if runner.staff not in staffs:
            staffs.append(runner.staff)
        if row.get("update") == 4:
            monkeypatch.setattr(runner, "unsettled", lambda left: why.pop() if why else "")
            monkeypatch.setattr(runner, "_leaving", lambda actors: leaving and actors == staffs[0])

    here, _, _ = train(tmp_path / "local", experiment("replay"))
    there, _, rows = over_ray(tmp_path / "ray", experiment("replay", env_actors=2), watch)
    assert here == there and not why and [row["update"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(staffs) == 1 + leaving


def test_a_killed_env_actor_of_a_direct_run_costs_a_fall(cluster, tmp_path):
    events = []

    def watch(runner, row):
        events.extend([row["event"]] if "event" in row else [])
        if row.get("update") == 5 and not events:
            os.kill(pid_of(runner.hosts[1]), signal.SIGKILL)

    here, _, _ = train(tmp_path / "local", experiment("gru"))
    there, summary, rows = over_ray(tmp_path / "ray", experiment("gru", env_actors=2, transport="direct"), watch)
    assert summary["status"] == "finished" and here == there
    assert len(events) == 1 and "going on from the last checkpoint" in events[0]
    assert [row["update"] for row in rows] == list(range(1, 8))


@pytest.mark.parametrize("actors", [1, 4])
def test_env_actors_do_not_change_the_levels_that_are_kept(cluster, tmp_path, actors):
    """Buffers, scores, ages and weights (`checkpoint.digest` has all of them)."""
    assert train(tmp_path / "local", experiment("accel"))[0] == over_ray(tmp_path / "ray", experiment("accel", env_actors=actors))[0]


def test_levels_asked_for_ahead_are_the_same_everywhere(cluster, tmp_path):
    """With staleness the teacher is asked before it has been told of the round before: it says so, and nothing depends on timing."""
    here, _, rows = train(tmp_path / "local", experiment("accel", staleness=1))
    there, _, streamed = over_ray(tmp_path / "ray", experiment("accel", staleness=1, env_actors=2))
    assert here == there != train(tmp_path / "fresh", experiment("accel"))[0]
    assert [row["teacher/lag"] for row in rows] == [row["teacher/lag"] for row in streamed] == [0, 1, 1, 0, 1, 1, 0]


@pytest.mark.parametrize("staleness", [1, 2])
def test_stale_rounds_are_reproducible_and_bounded(cluster, tmp_path, staleness):
    here, _, rows = train(tmp_path / "local", experiment("coin", staleness=staleness))
    there, _, streamed = over_ray(tmp_path / "ray", experiment("coin", staleness=staleness, env_actors=2))
    assert here == there
    lags = [row["lag"] for row in streamed]
    assert lags == [row["lag"] for row in rows]
    assert max(lags) == staleness
    assert lags[:3] == [min(k, staleness) for k in range(3)]  # the first segment starts on policy
    assert train(tmp_path / "fresh", experiment("coin"))[0] != here  # staleness does change what is learned


@pytest.mark.parametrize("kind", ["gru", "obl", "accel", "repaired"])
def test_a_killed_env_actor_plays_the_lost_round_again(cluster, tmp_path, kind):
    killed = []

    def watch(runner, row):
        if row.get("update") == 2 and not killed:
            killed.append(pid_of(runner.hosts[1]))
            os.kill(killed[0], signal.SIGKILL)

    here, _, _ = train(tmp_path / "local", experiment(kind))
    there, summary, rows = over_ray(tmp_path / "ray", experiment(kind, env_actors=2), watch)
    assert killed and summary["status"] == "finished"
    assert here == there
    assert [row["update"] for row in rows] == list(range(1, 8))


def test_a_killed_learner_is_restored_from_the_last_checkpoint(cluster, tmp_path):
    events = []

    def watch(runner, row):
        events.extend([row["event"]] if "event" in row else [])
        if row.get("update") == 5 and not events:
            os.kill(pid_of(runner.learner), signal.SIGKILL)

    here, _, plain = train(tmp_path / "local", experiment("mfos-self"))
    there, summary, rows = over_ray(tmp_path / "ray", experiment("mfos-self", env_actors=2), watch)
    assert len(events) == 1 and "lost" in events[0]
    assert summary["status"] == "finished" and here == there
    assert [row["update"] for row in rows] == [row["update"] for row in plain]  # what was learned twice is counted once


@pytest.mark.parametrize(("kind", "actor"), [("mfos-self", "meta"), ("accel", "meta"), ("replay", "replay"), ("replay", "learner")])
def test_a_killed_actor_is_restored_too(cluster, tmp_path, kind, actor):
    events = []

    def watch(runner, row):
        events.extend([row["event"]] if "event" in row else [])
        if row.get("update") == 4 and not events:
            os.kill(pid_of(getattr(runner, actor)), signal.SIGKILL)

    here, _, _ = train(tmp_path / "local", experiment(kind))
    there, _, _ = over_ray(tmp_path / "ray", experiment(kind), watch)
    assert events and here == there


def test_a_workers_exception_names_its_place(cluster, tmp_path):
    from interplay.cluster.streaming import RayRunner

    made = experiment("coin", env_actors=2)
    runner = RayRunner(made)
    runner.restore(None)
    tasks = runner.ask()
    runner.weights[0] = ray.put({"wrong": __import__("numpy").zeros(1)})
    with pytest.raises(Exception, match=r"EnvActor\(tiles (0-1\): round 0, seed 3, worlds from 0|2-3\): round 0, seed 3, worlds from 128)"):
        runner.learn(0, runner.play(0, 0, tasks))
    runner.close()
