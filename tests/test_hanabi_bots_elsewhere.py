"""Hanabi's rule bots elsewhere: as plain Python, from numba's cache on disk, compiled for a GPU, and on one."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from numba import from_dtype, types

from interplay.envs import make
from interplay.policies import hanabi_bots, hanabi_smartbot
from interplay.policies.hanabi_bots import BOTS, bot

PLAIN = """
import torch, warnings
warnings.simplefilter("error", RuntimeWarning)
from interplay.envs import make
from interplay.policies.hanabi_bots import BOTS, bot
for name in BOTS:
    batch, player = make("hanabi", num_envs=2, seed=2, players=3, permute=True), bot(name)
    carry = player.start(batch)
    for draw in range(25):
        action, _, carry = player.act(batch, batch.out, carry, draw)
        print(name, action.flatten().tolist(), None if carry is None else int(carry.double().sum()))
        carry = None if carry is None else carry * ~batch.step(action).terminated.view(-1, 1, 1)
        if carry is None: batch.step(action)
"""

CACHED = """
import sys
from interplay.envs import make
from interplay.policies.hanabi_bots import bot
for players in map(int, sys.argv[1]):
    batch, player = make("hanabi", num_envs=50, seed=2, players=players), bot("flawed")
    for draw in range(60):
        action = player.act(batch, batch.out, None, draw)[0]
        batch.check(action)
        batch.step(action)
        print(players, action.flatten().tolist())
"""


def told(text, *arguments, **environment):
    """What another process prints."""
    command = [sys.executable, "-c", text, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_plain_python_plays_the_same():
    lines = told(PLAIN)
    assert lines == told(PLAIN, NUMBA_DISABLE_JIT="1")
    assert len(lines) == 25 * len(BOTS)


def test_loops_of_two_processes_do_not_mix(tmp_path):
    """Loops for two games that two processes compiled and a third finds on disk. (Rules that are not inlined would be mixed up.)"""
    two, three, both = (told(CACHED, players, NUMBA_CACHE_DIR=str(tmp_path)) for players in ("2", "3", "23"))
    assert both == two + three


def test_kernels_compile_for_the_gpu(monkeypatch):
    """To PTX for sm_90, in single precision."""
    pytest.importorskip("numba_cuda", reason="needs the `dev` extra: numba-cuda[cu13]")
    import numba.cuda.dispatcher
    from numba import cuda

    monkeypatch.setattr(numba.cuda.dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    array = lambda dtype, dimensions: types.Array(dtype, dimensions, "C")
    worlds, action = array(from_dtype(make("hanabi").world.record), 1), array(types.int64, 2)
    by_rules = (worlds, array(types.int64, 1), array(types.float32, 1), types.uint64, types.int64, action)
    for kernel, arguments in zip(
        hanabi_bots.on_gpu(hanabi_bots, hanabi_smartbot), (by_rules, (worlds, array(types.float32, 3), action)), strict=True
    ):
        ptx, _ = cuda.compile_ptx(kernel, types.void(*arguments), cc=(9, 0))
        assert ".target sm_90" in ptx
        assert ".f64" not in ptx, "double precision slipped in"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", BOTS)
def test_the_gpu_plays_the_same(name):
    batches = [make("hanabi", num_envs=3000, seed=3, players=3, permute=True, device=device) for device in ("cpu", "cuda")]
    player = bot(name)
    carries = [player.start(batch) for batch in batches]
    for draw in range(80):
        actions = []
        for i, batch in enumerate(batches):
            action, _, carry = player.act(batch, batch.out, carries[i], draw)
            out = batch.step(action)
            carries[i] = None if carry is None else carry * ~out.terminated.view(-1, 1, 1)
            actions.append(action.cpu())
        assert torch.equal(*actions)
    assert torch.equal(batches[0].memory, batches[1].memory.cpu())
