"""On a CUDA device: the same bits as on the CPU, from the same rules; and a step captured in a CUDA graph replays right."""

import dataclasses

import numpy as np
import pytest
import torch

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_obl import OBLExperiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.envs import dice, make, names, streams
from interplay.envs.core import Step
from interplay.policies.hand_belief import BeliefConfig
from interplay.policies.q_network import QNetworkConfig
from interplay.policies.rollout import rollout

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

CASES = {
    **{name: (name, {} if "hanabi" in name else {"rounds": 9}) for name in names()},
    "matrix 2x3": ("matrix", {"payoff": np.arange(12.0).reshape(2, 2, 3), "rounds": 9, "stop": 0.1}),
    "coin, own view": ("coin", {"size": 5, "rounds": 9, "egocentric": True}),
    "public-goods of 7": ("public-goods", {"players": 7, "factor": 1.7, "rounds": 9}),
    "lever of three": ("lever", {"players": 3, "rounds": 9}),
    "hanabi of five, permuted": ("hanabi", {"players": 5, "permute": True, "random_start_player": True, "bomb": "minus-one"}),
}


def assert_same(cpu: Step, cuda: Step) -> None:
    for field, one, two in zip(Step._fields, cpu, cuda, strict=True):
        assert torch.equal(one, two.cpu()), field


@pytest.mark.parametrize("n", [1, 1000, 5000])
@pytest.mark.parametrize("case", CASES)
def test_worlds_equal_the_cpu(case, n):
    name, params = CASES[case]
    cpu, cuda = (make(name, num_envs=n, device=device, seed=3, first=17, **params) for device in ("cpu", "cuda"))
    assert_same(cpu.out, cuda.out)
    mask = torch.arange(n) % 2 == 0
    for draw in range(25):
        action = cpu.random_action(draw)
        assert torch.equal(action, cuda.random_action(draw).cpu())
        assert_same(cpu.step(action), cuda.step(action.cuda()))
        if draw == 12:
            assert_same(cpu.reset(mask), cuda.reset(mask.cuda()))
    assert torch.equal(cpu.memory, cuda.memory.cpu())


@pytest.mark.parametrize("name", ["hanabi", "hanabi-small"])
def test_edits_and_views_equal_the_cpu(name):
    """Random hands, given ones (the hand that is held, shifted: some contradict a hint, and are refused), and unpacked views."""
    cpu, cuda = (make(name, num_envs=1000, device=device, seed=3) for device in ("cpu", "cuda"))
    for draw in range(12):
        action = cpu.random_action(draw)
        assert_same(cpu.step(action), cuda.step(action.cuda()))
        change = torch.full((1000, 1 + cpu._worlds["hand"].shape[2]), -1)
        change[:, 0] = draw % 2
        if draw % 4 > 1:
            change[:, 1:] = torch.from_numpy(np.roll(cpu._worlds["hand"][:, draw % 2], 1, axis=1).astype(np.int64))
        mask = torch.arange(1000) % 3 > 0
        done = cpu.edit(mask, change)
        assert torch.equal(done, cuda.edit(mask.cuda(), change.cuda()).cpu()) and done.any()
        assert_same(cpu.out, cuda.out)
        assert torch.equal(cpu.views(cpu.out.obs), cuda.views(cuda.out.obs).cpu())
    assert torch.equal(cpu.memory, cuda.memory.cpu())


def test_levels_and_snapshots_on_the_device():
    cpu, cuda = (make("ipd", num_envs=100, device=device, rounds=5) for device in ("cpu", "cuda"))
    mask, payoff = torch.arange(100) % 3 == 0, np.arange(800.0).reshape(100, 2, 2, 2)
    kept = cuda.snapshot()
    for draw in range(7):
        assert_same(cpu.step(cpu.random_action(draw)), cuda.step(cuda.random_action(draw)))
    cpu.set_level(mask, cpu.pack_levels(payoff=payoff))
    cuda.set_level(mask.cuda(), cuda.pack_levels(payoff=payoff))
    for draw in range(7):
        assert_same(cpu.step(cpu.random_action(draw)), cuda.step(cuda.random_action(draw)))
    assert torch.equal(cpu.memory, cuda.memory.cpu())
    cuda.restore(kept)
    assert torch.equal(make("ipd", num_envs=100, rounds=5).memory, cuda.memory.cpu())


@pytest.mark.parametrize("first, draw", [(0, 0), (100, 12345)])
def test_streams_equal_the_cpu(first, draw):
    shape = (3000, 2, 3)
    key = (5, dice.ACT, first, draw, shape)
    assert torch.equal(streams.units(*key), streams.units(*key, device="cuda").cpu())
    # cos and log1p are torch's, and differ between devices in the last bits
    torch.testing.assert_close(streams.normals(*key), streams.normals(*key, device="cuda").cpu(), rtol=1e-4, atol=1e-5)
    for count in (2, 5, 10):
        new = lambda device: torch.zeros(3000, 4, dtype=torch.int64, device=device)
        one, two = (streams.choices(5, first, draw, count, None, new(device)) for device in ("cpu", "cuda"))
        assert torch.equal(one, two.cpu())
        legal = streams.units(6, dice.ACT, 0, 0, (3000, 4, count)) < 0.5
        one = streams.choices(5, first, draw, count, legal, new("cpu"))
        assert torch.equal(one, streams.choices(5, first, draw, count, legal.cuda(), new("cuda")).cpu())


@pytest.mark.parametrize("name", ["ipd", "coin"])
def test_a_step_in_a_cuda_graph(name):
    """Launches go onto torch's current stream and wait for nothing: a captured step replays, autoresets included."""
    cpu, cuda = (make(name, num_envs=3000, device=device, seed=1, rounds=4) for device in ("cpu", "cuda"))
    action = torch.zeros(3000, cuda.agents, dtype=torch.int64, device="cuda")
    cpu.step(action.cpu())
    cuda.step(action)  # compiled and loaded before the capture
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    before = cuda.memory.clone()
    with torch.cuda.graph(graph):
        cuda.step(action)
    assert torch.equal(cuda.memory, before), "a capture plays nothing"
    for draw in range(10):
        action.copy_(cpu.random_action(draw))
        graph.replay()
        assert_same(cpu.step(action.cpu()), cuda.out)
    assert torch.equal(cpu.memory, cuda.memory.cpu())


def test_steps_run_on_the_current_stream():
    batch, side = make("coin", num_envs=3000, device="cuda", rounds=4), torch.cuda.Stream()
    cpu = make("coin", num_envs=3000, rounds=4)
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for draw in range(10):
            batch.step(batch.random_action(draw))
    torch.cuda.current_stream().wait_stream(side)
    for draw in range(10):
        cpu.step(cpu.random_action(draw))
    assert_same(cpu.out, batch.out)


def test_imagined_targets_equal_the_cpus():
    """Off-Belief Learning's acting: the same worlds and hands, targets to rounding, at level 1 and with a learned belief."""
    network, belief = QNetworkConfig((32,), 16, True, "v0"), BeliefConfig((16,), 8, 16)
    made = OBLExperiment(run=RunConfig(tile=256), world=WorldConfig("hanabi-small"), network=network, belief=belief)
    found = []
    for device in ("cpu", "cuda"):
        one = dataclasses.replace(made, run=dataclasses.replace(made.run, device=device))
        env, player = one.env(0), one.player()
        player.load({name: x.to(device) for name, x in made.learner().policy().items()})
        for stage in (0, 2):
            player.stage = stage
            found.append(rollout(env, player, 8, 8 * stage, player.start(env))[0].to("cpu"))
    for cpu, cuda in zip(found[:2], found[2:], strict=True):
        same = (cpu.action == cuda.action).flatten(1).all(1)  # greedy moves between almost equal values may differ by rounding
        assert same[0] and torch.equal(cpu.obs[0], cuda.obs[0])
        assert torch.allclose(cpu.target[0], cuda.target[0], atol=1e-4, equal_nan=True)
