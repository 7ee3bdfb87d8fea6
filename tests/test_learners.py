"""Several learners make the update of one, and one of them may die."""

import os
import signal

import pytest
import torch
from runs import experiment, over_ray, pid_of, train

from interplay.cluster import checkpoint
from interplay.envs.core import UsageError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)


def weights(path):
    return checkpoint.load(path / "checkpoints").learner["flat"]


@pytest.mark.parametrize(("kind", "learners"), [("coin", 2), ("gru", 3)])
def test_fifty_updates_of_several_are_those_of_one(cluster, tmp_path, kind, learners):
    """The same global batch, and a sum in another order: weights within 1e-5 after 50 updates, not only close to where they began.

    A teacher who ranks levels would make the batches differ: rounding may turn two ranks round, and then other levels are played.
    """
    settings = {"updates": 50, "checkpoint_every": 25}
    train(tmp_path / "one", experiment(kind, **settings))
    over_ray(tmp_path / "several", experiment(kind, learners=learners, **settings))
    one, several = weights(tmp_path / "one"), weights(tmp_path / "several")
    start = checkpoint.load(tmp_path / "one" / "checkpoints", 0).learner["flat"]
    torch.testing.assert_close(several, one, rtol=0, atol=1e-5)
    assert (one - start).abs().max() > 1e-3


@pytest.mark.parametrize("who", [0, 1])
def test_a_killed_member_takes_nobody_with_it(cluster, tmp_path, who):
    events = []

    def watch(runner, row):
        events.extend([row["event"]] if "event" in row else [])
        if row.get("update") == 5 and not events:
            os.kill(pid_of([runner.learner, *runner.others][who]), signal.SIGKILL)

    made = experiment("coin", learners=2)
    calm, _, _ = over_ray(tmp_path / "calm", made)
    struck, summary, rows = over_ray(tmp_path / "struck", made, watch)
    assert len(events) == 1 and "lost" in events[0]
    assert summary["status"] == "finished" and calm == struck
    assert [row["update"] for row in rows] == list(range(1, 8))


def test_only_ppo_is_shared():
    with pytest.raises(UsageError, match=r"run\.learners is 2; allowed is more than 1 where the learner is PPO"):
        experiment("replay", learners=2).check()
