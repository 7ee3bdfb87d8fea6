"""Every world under numba's CUDA simulator, bit-equal to the compiled CPU loops.

The simulator runs kernels as plain Python, where small integers do not widen as they do when compiled: a rule that relies on either
shows here. It has to be switched on before numba is imported, so this file runs itself once in another process.
"""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from interplay.envs import dice, engine, make, names, streams
from interplay.envs.core import Step

WORLDS, STEPS = 4, 40
# Every registered world with its defaults; short games; sizes whose arithmetic would leave the fields' small types.
CASES = {
    **{name: (name, {}) for name in names()},
    "matrix 2x3": ("matrix", {"payoff": np.arange(12.0).reshape(2, 2, 3), "rounds": 5, "stop": 0.2}),
    "matrix 12x12": ("matrix", {"payoff": np.arange(288.0).reshape(2, 12, 12), "rounds": 7}),
    "public-goods of 64": ("public-goods", {"players": 64, "rounds": 7, "factor": 1.7}),
    "coin, short": ("coin", {"rounds": 9}),
    "coin 64x64": ("coin", {"size": 64, "rounds": 3, "egocentric": True}),
    "lever 300": ("lever", {"pays": np.linspace(-1, 1, 300), "rounds": 3, "players": 3}),
    "hanabi of five, permuted": ("hanabi", {"players": 5, "permute": True, "random_start_player": True, "max_life_tokens": 1}),
    "mini-hanabi, minus one": ("mini-hanabi", {"bomb": "minus-one", "max_life_tokens": 1}),
    "maze 101x101": ("maze", {"size": 101, "rounds": 17}),
    "fruit in the last of eight rooms": ("fruit", {"rooms": 8, "rounds": 17, "actions": 7}),
}
BLOCK = (1, WORLDS + 1)  # a thread too many: kernels have to leave it idle


def batch_of(case):
    name, params = CASES[case]
    return make(name, num_envs=WORLDS, seed=11, first=2, **params)


def throws(case):
    """For each step what chooses among the legal moves `[N, A, actions]` of that step."""
    rng = np.random.default_rng(sorted(CASES).index(case))
    for _ in range(STEPS):
        yield lambda legal: (rng.random(legal.shape) * legal).argmax(-1)


def edits(batch, worlds, step):
    """Every tenth step, where a world can be edited, changes that are done or refused: the right fruit; hands that are random, and the one
    that is held, shifted.
    """
    if batch.world.name == "fruit" and step % 10 == 5:
        yield np.arange(WORLDS) < WORLDS - 1, (np.arange(WORLDS)[:, None] + step // 10) % 3
    elif hasattr(batch.world.rules, "edit") and step % 10 == 5:
        hand = worlds["hand"][:, step // 10 % 2].astype(np.int64)
        change = np.where(np.arange(WORLDS)[:, None] % 2 == 0, -1, np.roll(hand, 1, axis=1))
        yield np.arange(WORLDS) < WORLDS - 1, np.insert(change, 0, step // 10 % 2, axis=1)


def seen(memory, out, **more):
    """A copy of all that a world shows and is, packed views as bytes."""
    plain = lambda x: x.view(np.uint8) if x.dtype == np.uint32 else x
    return {name: plain(np.asarray(value)).copy() for name, value in {"memory": memory, **out._asdict(), **more}.items()}


def compiled(case):
    """What the CPU's loops make of a case: after a reset of every other world, then after each step and each edit."""
    batch = batch_of(case)
    batch.reset(torch.arange(WORLDS) % 2 == 0)
    yield seen(batch.memory, batch.out)
    for step, choose in enumerate(throws(case)):
        yield seen(batch.memory, batch.step(torch.from_numpy(choose(batch.out.legal.numpy()))))
        for mask, change in edits(batch, batch._worlds, step):
            done = batch.edit(torch.from_numpy(mask), torch.from_numpy(change))
            yield seen(batch.memory, batch.out, done=done)


def simulated(case):
    """The same by the CUDA kernels."""
    from numba import cuda

    batch = batch_of(case)
    memory, out = batch.memory.numpy().copy(), engine.shown(batch.world, Step(*(tensor.clone() for tensor in batch.out)))
    play, reset, edit = (cuda.jit(kernel)[BLOCK] for kernel in engine.on_gpu(batch.world.rules, batch.world.optional))
    worlds = memory.view(batch.world.record).reshape(WORLDS)
    reset(worlds, np.arange(WORLDS) % 2 == 0, out)
    yield seen(memory, out)
    for step, choose in enumerate(throws(case)):
        play(worlds, choose(out.legal), out)
        yield seen(memory, out)
        for mask, change in edits(batch, worlds, step):
            done = np.zeros(WORLDS, bool)
            edit(worlds, mask, change, done, out)
            yield seen(memory, out, done=done)


def drawn(run):
    """The kernels of `streams`; `run(name, out, *arguments)` fills `out`."""
    key, legal = streams.key_of(3, dice.PLAY), np.random.default_rng(0).random((WORLDS, 3, 6)) < 0.5
    return {
        "units": run("units", np.zeros((WORLDS, 5), np.float32), key, 7, 100),
        "choices": run("choices", np.zeros((WORLDS, 12), np.int64), key, 7, 100, 5),
        "legal": run("legal", np.zeros((WORLDS, 3), np.int64), key, 7, 100, legal),
    }


def run_simulated(name, out, *arguments):
    from numba import cuda

    cuda.jit(streams.on_gpu(name))[BLOCK](*arguments, out)
    return out


def run_compiled(name, out, *arguments):
    streams.compiled(name, "cpu", False)(*arguments, out)
    return out


def simulate(path):
    """The other process: every case into one file."""
    from numba import cuda
    from numba.cuda.simulator.kernel import _get_kernel_context

    # The simulator replaces a `cuda` among a kernel's globals; ours is a free variable, so ask for the running kernel ourselves.
    cuda.grid = lambda dimensions: _get_kernel_context().grid(dimensions)
    found, warned = {}, {}
    for case in [*CASES, "streams"]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            shown = [drawn(run_simulated)] if case == "streams" else simulated(case)
            found |= {f"{case}/{i}/{name}": value for i, fields in enumerate(shown) for name, value in fields.items()}
        warned[case] = "; ".join(sorted({f"{w.filename}:{w.lineno}: {w.message}" for w in caught}))
    np.savez(path, **found, **{f"{case}/warned": text for case, text in warned.items()})


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulator") / "shown.npz"
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, __file__, str(path)], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return np.load(path)


@pytest.mark.parametrize("case", CASES)
def test_kernels_equal_the_cpu(case, simulator):
    assert str(simulator[f"{case}/warned"]) == "", "integers wrapped in plain Python"
    ended, done, steps = 0, [], -1
    for i, fields in enumerate(compiled(case)):
        for name, value in fields.items():
            np.testing.assert_array_equal(simulator[f"{case}/{i}/{name}"], value, f"{name} after step {i}")
        if "done" in fields:
            done += fields["done"].tolist()
        else:
            ended, steps = ended + fields["terminated"].sum() + fields["truncated"].sum(), steps + 1
    assert steps == STEPS
    assert any(done) == ("hanabi" in case or "fruit" in case)
    assert ended or not CASES[case][1], "no game ended"


def test_streams_equal_the_cpu(simulator):
    assert str(simulator["streams/warned"]) == ""
    for name, value in drawn(run_compiled).items():
        np.testing.assert_array_equal(simulator[f"streams/0/{name}"], value, name)


if __name__ == "__main__":
    simulate(sys.argv[1])
