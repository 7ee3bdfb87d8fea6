"""Views of many zeros and ones leave a world as bits, eight to a byte, lowest first; this is where they are packed and unpacked."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs.rule import rule
from interplay.envs.threads import share_threads

WORD = 0xFFFFFFFF


@rule
def emit(out, to, value, width):
    """Append the lowest `width` (at most 31) bits of a number to a view, 32-bit words `out`.

    `to` = (bits that wait for their word to be full, how many these are, the next word) is (0, 0, 0) at the start, and returned anew;
    `finish` writes what is left. So every word is written once, and nothing is read back.
    """
    waiting, count, word = to
    waiting |= value << count
    count += width
    if count >= 32:
        out[word] = waiting & WORD
        waiting >>= 32
        count -= 32
        word += 1
    return waiting, count, word


@rule
def finish(out, to):
    """Write the last word, if it has begun."""
    if to[1] > 0:
        out[to[2]] = to[0]


def packed_bytes(features: int) -> int:
    """Bytes of a view of so many bits: whole 32-bit words."""
    return -(-features // 32) * 4


def pack(bits: Tensor) -> Tensor:
    """Truths `[..., n]` as bits `[..., ceil(n / 8)]` uint8, lowest first: `unpack` is the way back."""
    padded = torch.nn.functional.pad(bits.to(torch.uint8), (0, -bits.shape[-1] % 8)).unflatten(-1, (-1, 8))
    return (padded << torch.arange(8, dtype=torch.uint8, device=bits.device)).sum(-1, dtype=torch.uint8)


# The eight bits of every byte, as eight bytes.
SPREAD = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").view(np.uint64)[:, 0]


@lru_cache
def _spreader(parallel: bool) -> Any:
    def spread(packed: Any, out: Any) -> None:
        for i in prange(packed.size):
            out[i] = SPREAD[packed[i]]

    spread.__qualname__ = f"spread.{'many' if parallel else 'few'}"  # numba's cache tells them apart by name
    return njit(spread, parallel=parallel, nogil=True, cache=True, error_model="numpy")


def unpack(packed: Tensor, features: int) -> Tensor:
    """Zeros and ones `[..., features]` uint8 from bits `[..., bytes]` uint8."""
    if packed.device.type != "cpu":
        shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
        return (packed.unsqueeze(-1) >> shifts & 1).flatten(-2)[..., :features]
    flat = packed.reshape(-1)
    out = torch.empty(len(flat), dtype=torch.uint64)
    parallel = len(flat) >= 1 << 18 and torch.get_num_threads() > 1
    if parallel:
        share_threads()
    _spreader(parallel)(flat.numpy(), out.numpy())
    return out.view(torch.uint8).view(*packed.shape[:-1], 8 * packed.shape[-1])[..., :features]
