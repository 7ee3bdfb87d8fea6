"""Keyed random tensors: every number depends on (seed, stream, world, draw, column), never on the batch it is drawn in."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs import dice
from interplay.envs.rule import edition, rule
from interplay.envs.threads import share_threads

PARALLEL = 16384  # numbers from which a second thread pays


@rule
def unit_at(key, draw, column, columns, row):
    """The float32 in [0, 1) in a row and column."""
    return np.float32(dice.philox(key, draw * columns + column, row) >> dice.BYTE) * dice.UNIT


@rule
def choose(word, n):
    """A number in [0, n) from a 32-bit word, and the word's unused fraction: one word serves several small choices."""
    product = np.uint64(word) * np.uint64(n)
    return np.int64(product >> dice.HALF), product & dice.LOW


@rule
def choose_row(key, draw, row, count, out):
    """Uniform choices among `count` for all agents of one world, several from a word while it lasts (bias < 2**-16 each)."""
    used, word = 1 << 16, np.uint64(0)
    for p in range(out.shape[0]):
        if used * count > 1 << 16:
            word, used = dice.philox(key, draw * out.shape[0] + p, row), 1
        out[p], word = choose(word, count)
        used *= count


@rule
def choose_legal(key, draw, row, legal, out):
    """Uniform choices among the legal moves of each agent of one world (0 where there is none)."""
    for p in range(out.shape[0]):
        count = 0
        for k in range(legal.shape[1]):
            count += 1 if legal[p, k] else 0
        left, _ = choose(dice.philox(key, draw * out.shape[0] + p, row), count)
        out[p] = 0
        for k in range(legal.shape[1]):
            if legal[p, k]:
                if left == 0:
                    out[p] = k
                left -= 1


def fill_units(key, draw, first, out):
    """Uniform numbers for every world, on the CPU."""
    for i in prange(out.shape[0]):
        for k in range(out.shape[1]):
            out[i, k] = unit_at(key, draw, k, out.shape[1], first + i)


def fill_choices(key, draw, first, count, out):
    """Choices for every world, on the CPU."""
    for i in prange(out.shape[0]):
        choose_row(key, draw, first + i, count, out[i])


def fill_legal(key, draw, first, legal, out):
    """Legal choices for every world, on the CPU."""
    for i in prange(out.shape[0]):
        choose_legal(key, draw, first + i, legal[i], out[i])


def on_gpu(name: str) -> Any:
    """The same loops as CUDA kernels, a thread a world."""
    from numba import cuda

    def units(key, draw, first, out):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < out.shape[0]:
            for k in range(out.shape[1]):
                out[i, k] = unit_at(key, draw, k, out.shape[1], first + i)

    def choices(key, draw, first, count, out):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < out.shape[0]:
            choose_row(key, draw, first + i, count, out[i])

    def legal(key, draw, first, legal, out):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < out.shape[0]:
            choose_legal(key, draw, first + i, legal[i], out[i])

    return {"units": units, "choices": choices, "legal": legal}[name]


@lru_cache
def compiled(name: str, device: str, parallel: bool) -> Any:
    """One of the loops above for a device."""
    on_cpu = {"units": fill_units, "choices": fill_choices, "legal": fill_legal}
    loop = on_gpu(name) if device == "cuda" else on_cpu[name]
    loop.__qualname__ = f"{name}.{'many' if parallel else 'few'}.{edition(dice)}"  # pyright: ignore[reportArgumentType]
    if device == "cuda":
        from numba import cuda

        return cuda.jit(loop, cache=True)
    return njit(loop, parallel=parallel, nogil=True, cache=True)


def run(name: str, out: Tensor, *arguments: Any) -> Tensor:
    """Fill `out` on its device by the loop of that name."""
    from interplay.envs import engine

    parallel = out.device.type == "cpu" and out.numel() >= PARALLEL and torch.get_num_threads() > 1
    driver = compiled(name, out.device.type, parallel)
    if parallel:
        share_threads()  # few rows may hold many numbers: `launch` counts rows
    engine.launch(driver, len(out), out.device, *arguments, engine.view(out))
    return out


@lru_cache(maxsize=256)
def key_of(seed: int, stream: int) -> np.uint64:
    """The key of one stream of a seed."""
    return np.uint64(dice.stream_key(seed, stream))


def units(seed: int, stream: int, first: int, draw: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Uniform float32 in [0, 1) of `shape` `[N, ...]`; row i belongs to world `first + i`, `draw` numbers the throws."""
    out = torch.empty(shape[0], math.prod(shape[1:]), device=device)
    return run("units", out, key_of(seed, stream), draw, first).view(shape)


def normals(seed: int, stream: int, first: int, draw: int, shape: tuple[int, ...], device: torch.device | str = "cpu") -> Tensor:
    """Standard normal float32 of `shape` `[N, ...]` (Box & Muller 1958), keyed like `units`."""
    radius, angle = units(seed, stream, first, draw, (*shape, 2), device).unbind(-1)
    return torch.sqrt(-2 * torch.log1p(-radius)) * torch.cos(2 * math.pi * angle)


def choices(seed: int, first: int, draw: int, count: int, legal: Tensor | None, out: Tensor) -> Tensor:
    """Fill `out` `[N, A]` int64 with uniform choices among `count` moves, or among those that `legal` `[N, A, count]` allows."""
    from interplay.envs import engine

    key = key_of(seed, dice.PLAY)
    if legal is None:
        return run("choices", out, key, draw, first, count)
    return run("legal", out, key, draw, first, engine.view(legal))


def permutation(seed: int, draw: int, n: int) -> Tensor:
    """A shuffle of 0..n-1, keyed by (seed, draw)."""
    return torch.argsort(units(seed, dice.SHUFFLE, 0, draw, (n, 1)).flatten(), stable=True)
