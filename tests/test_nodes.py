"""Several nodes: one is killed in the middle of training, and the result is unharmed."""

import os
import threading
import time

import pytest
from runs import experiment, train

ray = pytest.importorskip("ray")

HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}


@pytest.mark.timeout(240)
def test_a_lost_node_does_not_change_the_result(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    from interplay.cluster.connect import connect
    from interplay.cluster.streaming import RayRunner

    here, _, _ = train(tmp_path / "local", experiment("gru", updates=12))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": HEALTH})
    try:
        others = [cluster.add_node(num_cpus=3) for _ in range(2)]
        connect(cluster.address)
        made = experiment("gru", env_actors=4, updates=12, act_threads=2)  # a CPU each: more than the head has
        runner, lost, found, went_on = RayRunner(made), [], [], []

        def watch(row):
            if found and "update" in row and not went_on:
                went_on.append(time.monotonic())
            if row.get("update") == 5 and not lost:
                lost.extend(node_of(host) for host in runner.hosts)
                victim = next(node for node in others if node.node_id in lost)
                threading.Thread(target=detect, args=(victim.node_id, found), daemon=True).start()
                cluster.remove_node(victim, allow_graceful=False)

        there, summary, rows = train(tmp_path / "ray", made, runner, watch)
        assert len(set(lost)) > 1, "the actors were all on one node: the test would prove nothing"
        assert summary["status"] == "finished"
        assert [row["update"] for row in rows] == list(range(1, 13))
        assert there == here
        print(f"\n{went_on[0] - found[0]:.1f} s from the detection of the loss to the next update")
        assert went_on[0] - found[0] < 30  # on a quiet machine less than 5: see the README
    finally:
        ray.shutdown()
        cluster.shutdown()


def detect(node, found):
    """Notes when Ray says that a node is dead."""
    while any(known["NodeID"] == node and known["Alive"] for known in ray.nodes()):
        time.sleep(0.05)
    found.append(time.monotonic())


@pytest.mark.timeout(240)
def test_a_run_shrinks_to_the_nodes_that_are_left(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    from interplay.cluster.connect import connect
    from interplay.cluster.streaming import RayRunner

    here, _, _ = train(tmp_path / "local", experiment("gru", updates=12))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": HEALTH})
    try:
        others = [cluster.add_node(num_cpus=1) for _ in range(2)]
        connect(cluster.address)
        made = experiment("gru", env_actors=3, updates=12, act_threads=2)  # a CPU each: one for every node
        runner, sizes = RayRunner(made), []

        def watch(row):
            if "event" in row:
                return
            sizes.append(len(runner.hosts))
            if row["update"] == 5 and len(sizes) == 5:
                cluster.remove_node(others[0], allow_graceful=False)

        there, summary, rows = train(tmp_path / "ray", made, runner, watch)
        assert summary["status"] == "finished"
        assert [row["update"] for row in rows] == list(range(1, 13))
        assert (sizes[0], sizes[-1]) == (3, 2)
        assert there == here
    finally:
        ray.shutdown()
        cluster.shutdown()


def node_of(actor):
    """The node that an actor runs on."""
    return ray.get(actor.__ray_call__.remote(lambda self: __import__("ray").get_runtime_context().get_node_id()))


def test_this_file_leaves_no_address_behind():
    assert "RAY_ADDRESS" not in os.environ
