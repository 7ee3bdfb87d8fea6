"""The engine: autoreset, masks, levels, snapshots, sharding, drivers and the disk cache, for every registered world."""

import dataclasses
import os
import subprocess
import sys
import textwrap

import endless_hanabi
import numba
import numpy as np
import pytest
import torch

from interplay.envs import Batch, UsageError, engine, make, names, world
from interplay.envs.core import Step

# Parameters that make every world end with its fifth step. In Hanabi without tokens each move is a play, which draws: with enough lives a
# game lasts as many moves as cards are left, and one more for everybody.
PLAYS = {"max_information_tokens": 0, "max_life_tokens": 32}
HANABI = {
    "hanabi": {"colors": 5, "ranks": 1, "hand_size": 6},
    "hanabi-small": {"players": 3, "hand_size": 6},
    "hanabi-very-small": {"players": 5, "hand_size": 2},
    "mini-hanabi": {"hand_size": 6},
}
SHORT = {name: {**PLAYS, **HANABI[name]} if name in HANABI else {"rounds": 5} for name in names()}
SHORT["matrix"] = {"payoff": np.arange(12.0).reshape(2, 2, 3), "rounds": 5}


def endless(name: str, **batch) -> Batch:
    """The same that never ends."""
    if name in HANABI:
        return Batch(dataclasses.replace(world(name, **SHORT[name]), rules=endless_hanabi), batch.pop("num_envs"), **batch)
    return make(name, **batch, **{**SHORT[name], "rounds": 2**31 - 1})


@pytest.fixture
def threads():
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def copied(step: Step) -> Step:
    return Step(*(tensor.clone() for tensor in step))


def played(batch: Batch, steps: int, draw: int = 0) -> list[Step]:
    """Random legal play."""
    return [copied(batch.step(batch.random_action(draw + k))) for k in range(steps)]


def equal(one: Step, two: Step, *, rows: slice = slice(None)) -> bool:
    return all(torch.equal(a[rows], b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", names())
def test_shapes_and_types(name):
    batch = make(name, num_envs=3)
    n, a, world = 3, batch.agents, batch.world
    assert [(tuple(t.shape), t.dtype) for t in batch.out] == [
        ((n, a, *world.stored), torch.uint8),
        ((n, a), torch.float32),
        ((n,), torch.bool),
        ((n,), torch.bool),
        ((n, a, *world.stored), torch.uint8),
        ((n, a, world.actions), torch.bool),
        ((n, a), torch.bool),
        ((n, a), torch.bool),
    ]
    assert batch.memory.shape == (n, world.record.itemsize)
    views = batch.views(batch.out.obs)
    assert views.shape == (n, a, *world.observation) and views.dtype == torch.uint8
    assert views.max() <= world.high
    assert batch.spec.observation == world.observation and batch.spec.actions == world.actions


@pytest.mark.parametrize("name", names())
def test_same_step_autoreset(name):
    """The last view of an ended game is kept, for ended games only; `obs` is the first view of the next."""
    batch, twin = make(name, num_envs=7, seed=2, **SHORT[name]), endless(name, num_envs=7, seed=2)
    mask = torch.arange(7) % 2 == 1
    for each in (batch, twin):  # odd worlds lag three steps behind
        played(each, 3)
        each.reset(mask)
    batch.out.final_obs.fill_(77)
    for k in range(2):
        action = batch.random_action(100 + k)
        twin.step(action)
        shown = batch.step(action)
    ended = shown.terminated | shown.truncated
    assert torch.equal(ended, ~mask)
    assert torch.equal(shown.final_obs[ended], twin.out.obs[ended])
    assert (shown.final_obs[~ended] == 77).all()
    assert torch.equal(shown.obs[~ended], twin.out.obs[~ended])
    assert torch.equal(shown.reward, twin.out.reward)
    restarted = copied(twin.reset(ended)).obs
    assert torch.equal(shown.obs[ended], restarted[ended])


@pytest.mark.parametrize(
    "name, params, terminated, truncated",
    [
        ("ipd", {"rounds": 3}, False, True),
        ("coin", {"rounds": 3}, False, True),
        ("public-goods", {"rounds": 3}, False, True),
        ("lever", {"rounds": 3}, True, False),
        ("ipd", {"rounds": 3, "stop": 1.0}, True, False),
    ],
)
def test_termination_is_not_truncation(name, params, terminated, truncated):
    """A time limit truncates; the rules (a lever game's last round, a stop by chance, even in the last round) terminate."""
    batch = make(name, num_envs=2, **params)
    for shown in played(batch, 1 if params.get("stop") else 3):
        last = shown
    assert last.terminated.tolist() == [terminated] * 2
    assert last.truncated.tolist() == [truncated] * 2


def test_stop_in_the_last_round_terminates_only():
    batch = make("ipd", num_envs=500, rounds=1, stop=0.5)
    for shown in played(batch, 5):
        assert (shown.terminated ^ shown.truncated).all()
        assert 150 < shown.terminated.sum() < 350


@pytest.mark.parametrize("name", names())
def test_snapshots_replay(name):
    batch = make(name, num_envs=50, seed=9, **SHORT[name])
    played(batch, 7)
    kept, view = batch.snapshot(), copied(batch.out)
    first = played(batch, 20, draw=7)
    memory = batch.memory.clone()
    shown = batch.restore(kept)
    assert all(torch.equal(getattr(shown, field), getattr(view, field)) for field in ("obs", "legal", "acting", "alive"))
    second = played(batch, 20, draw=7)
    assert all(equal(one._replace(final_obs=two.final_obs), two) for one, two in zip(first, second, strict=True))
    assert torch.equal(batch.memory, memory)
    for one, two in zip(first, second, strict=True):
        ended = one.terminated | one.truncated
        assert torch.equal(one.final_obs[ended], two.final_obs[ended])
    # The snapshot is a copy: play has not changed it, and another batch goes on from it.
    other = endless(name, num_envs=50, seed=1)
    other.restore(kept)
    assert torch.equal(other.memory, kept["worlds"])


@pytest.mark.parametrize("name", ["ipd", "coin", "lever", "hanabi-small"])
def test_shards_play_as_the_whole(name):
    params = {**SHORT[name], "stop": 0.1} if name == "ipd" else SHORT[name]
    whole = make(name, num_envs=4096, seed=3, first=8, **params)
    shards = [make(name, num_envs=1024, seed=3, first=8 + 1024 * k, **params) for k in range(4)]
    for draw in range(12):
        shown = whole.step(whole.random_action(draw))
        for k, shard in enumerate(shards):
            assert equal(shown, shard.step(shard.random_action(draw)), rows=slice(1024 * k, 1024 * (k + 1)))
    assert torch.equal(whole.memory, torch.cat([shard.memory for shard in shards]))


def test_seeds_and_worlds_differ():
    one, two = make("coin", num_envs=64, seed=0), make("coin", num_envs=64, seed=1)
    assert not torch.equal(one.out.obs, two.out.obs)
    assert len(one.out.obs.flatten(1).unique(dim=0)) > 40


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core")
@pytest.mark.parametrize("name", names())
def test_serial_equals_parallel(name, threads):
    results = []
    for count in (1, 2):
        threads(count)
        assert engine.many(engine.MANY) == (count == 2)
        batch = make(name, num_envs=engine.MANY, seed=4, **SHORT[name])
        results.append(([*played(batch, 8), copied(batch.out)], batch.memory))
        assert torch.get_num_threads() == count, "a parallel loop changed torch's threads"
    (serial, memory), (parallel, other) = results
    assert all(equal(one, two) for one, two in zip(serial, parallel, strict=True))
    assert torch.equal(memory, other)


@pytest.mark.parametrize("name", names())
def test_reset_under_a_mask(name):
    batch = endless(name, num_envs=20, seed=6)
    played(batch, 4)
    before, view = batch.memory.clone(), copied(batch.out)
    mask = torch.arange(20) % 3 == 0
    shown = batch.reset(mask)
    assert torch.equal(batch.memory[~mask], before[~mask])
    assert torch.equal(shown.obs[~mask], view.obs[~mask])
    assert (batch.memory[mask] != before[mask]).any(1).all()
    begun = batch._worlds["last" if name in HANABI else "turn"]
    assert (begun[mask.numpy()] == 0).all()


def test_set_level_changes_the_worlds_under_the_mask_only():
    batch = make("ipd", num_envs=6, rounds=50)
    played(batch, 3)
    before, view = batch.memory.clone(), copied(batch.out)
    mask = torch.tensor([True, False, True, False, False, False])
    payoff = np.arange(6)[:, None, None, None] * 100 + np.arange(8).reshape(2, 2, 2)
    shown = batch.set_level(mask, batch.pack_levels(payoff=payoff, rounds=2))
    assert torch.equal(batch.memory[~mask], before[~mask])
    assert torch.equal(shown.obs[~mask], view.obs[~mask])
    assert shown.obs[mask, :, 0].all()
    reward = batch.step(torch.tensor([[0, 1]] * 6)).reward
    assert reward.tolist() == [[1, 5], [-3, 0], [201, 205], *[[-3, 0]] * 3]
    ended = batch.step(torch.tensor([[0, 1]] * 6)).truncated
    assert torch.equal(ended, mask)
    # The level outlives the end of a game.
    assert batch.step(torch.tensor([[0, 1]] * 6)).reward[2].tolist() == [201, 205]


def test_levels_are_packed_from_values_or_arrays():
    batch = make("public-goods", num_envs=4, factor=2.0, rounds=9)
    own = batch.levels()
    assert torch.equal(batch.pack_levels(), own)
    packed = batch.pack_levels(factor=torch.tensor([0.5, 1, 1.5, 2]))
    assert torch.equal(packed[3], own[3]) and not torch.equal(packed[0], own[0])
    batch.set_level(torch.ones(4, dtype=torch.bool), packed)
    assert batch._worlds["factor"].tolist() == [0.5, 1, 1.5, 2]
    assert batch._worlds["rounds"].tolist() == [9] * 4
    assert batch.step(torch.ones(4, 4, dtype=torch.int64)).reward[:, 0].tolist() == [0.5, 1, 1.5, 2]


def test_mistaken_levels_are_told():
    batch = make("public-goods", num_envs=4)
    with pytest.raises(UsageError, match="level field 'turn' is unknown; allowed are factor, rounds"):
        batch.pack_levels(turn=3)
    with pytest.raises(UsageError, match=r"levels have shape \[4, 7\]; allowed is \[4, 8\]"):
        batch.set_level(torch.ones(4, dtype=torch.bool), torch.zeros(4, 7, dtype=torch.uint8))


@pytest.mark.parametrize(
    "action, message",
    [
        ([[0, 0], [2, 0], [0, 0]], r"world 5, agent 0: action 2 is not legal; allowed are \[0, 1\]"),
        ([[0, 0], [0, 2], [0, 3]], r"world 6, agent 1: action 3 is not legal; allowed are \[0, 1, 2\]"),
        ([[-1, 0], [0, 2], [0, 3]], r"world 4, agent 0: action -1 is not legal"),
        ([[0, 0], [0, 0]], r"actions have shape \[2, 2\]; allowed is \[3, 2\]"),
        ([[0], [0], [0]], r"actions have shape \[3, 1\]; allowed is \[3, 2\]"),
    ],
)
def test_check_names_the_first_mistake_and_changes_nothing(action, message):
    batch = make("matrix", num_envs=3, first=4, payoff=np.zeros((2, 2, 3)))
    played(batch, 2)
    memory, view = batch.memory.clone(), copied(batch.out)
    with pytest.raises(UsageError, match=message):
        batch.check(torch.tensor(action))
    assert torch.equal(batch.memory, memory)
    assert equal(batch.out, view)


def test_check_lets_legal_actions_pass():
    batch = make("matrix", num_envs=3, payoff=np.zeros((2, 2, 3)))
    batch.check(torch.tensor([[1, 2], [0, 0], [1, 1]]))


def test_random_actions_are_legal_and_keyed_by_the_draw():
    batch = make("matrix", num_envs=500, payoff=np.zeros((2, 2, 3)))
    one = batch.random_action(0).clone()
    assert one[:, 0].unique().tolist() == [0, 1] and one[:, 1].unique().tolist() == [0, 1, 2]
    batch.check(one)
    assert not torch.equal(batch.random_action(1), one)
    assert torch.equal(batch.random_action(0), one)


PLAYER = """
    import sys, torch
    from interplay.envs import Batch, World, engine, streams
    import tiny

    world = World("tiny", tiny, 2, 2, (1,), [("bonus", "f4")], [("turn", "i4")], {"bonus": 0.5})
    batch = Batch(world, 4)
    reward = batch.step(batch.random_action(0)).reward
    loops = [*engine.drivers(tiny, (), "cpu", False)[:2], streams.compiled("choices", "cpu", False)]
    hits = [sum(loop.stats.cache_hits.values()) for loop in loops]
    misses = [sum(loop.stats.cache_misses.values()) for loop in loops]
    print(reward.unique().tolist(), hits, misses)
"""
TINY = """
    from interplay.envs.rule import rule

    @rule
    def reset(w):
        w.turn = 0

    @rule
    def step(w, action, reward):
        for p in range(2):
            reward[p] = 1 + w.bonus
        w.turn += 1
        return False, False

    @rule
    def observe(w, p, out):
        out[0] = w.turn > 0
"""


def test_compiled_loops_are_found_by_other_processes_and_edits_are_seen(tmp_path):
    """Process 1 compiles, process 2 hits numba's cache on disk, process 3 sees that the rules were edited."""
    (tmp_path / "play.py").write_text(textwrap.dedent(PLAYER))
    rules = tmp_path / "tiny.py"
    rules.write_text(textwrap.dedent(TINY))

    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run([sys.executable, "play.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run() == "[1.5] [0, 0, 0] [1, 1, 1]"
    assert run() == "[1.5] [1, 1, 1] [0, 0, 0]"
    rules.write_text(textwrap.dedent(TINY).replace("1 + w.bonus", "2 + w.bonus"))
    assert run() == "[2.5] [0, 0, 1] [1, 1, 0]"
