"""Worlds that stand beside the tests have to be importable by name: numba's cache on disk keeps the rules' module by its name.

Two workers share the tests (`-n 2`): a file stays with one of them, so that what it has set up is set up once. Each has one thread, and
where a test's actors have more, they sleep at a barrier: OpenMP's threads would spin beside a busy core, and rounds take 15 times as long.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when PyTorch is loaded, also by Ray's workers

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

ON_RAY = (
    "test_cli",
    "test_crossplay",
    "test_fleet",
    "test_learners",
    "test_nodes",
    "test_resume",
    "test_rllib",
    "test_streaming",
    "test_scale",
    "test_soak",
    "test_submit",
    "test_sweep",
    "test_telemetry",
)

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own default, 15, leaves actors nothing beside the other worker's tests
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items):
    """Which tests go together; those on Ray first, since they take longest."""
    of = lambda item: item.path.stem
    for item in items:
        item.add_marker(pytest.mark.xdist_group(of(item)))
    items.sort(key=lambda item: of(item) not in ON_RAY)


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine's own."""
    ray = pytest.importorskip("ray")
    from interplay.cluster.connect import connect

    assert connect(None, cpus=8)
    yield
    ray.shutdown()
