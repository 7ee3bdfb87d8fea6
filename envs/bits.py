"""Views of many zeros and ones leave a world as bits, eight to a byte, lowest first; this is where they are packed and unpacked."""

from functools import lru_cache
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs.rule import rule


@rule
def put(out, at, value):
    """Set the bits of a number of at most 8 bits in `out` (uint8, zero there so far) from position `at`."""
    byte, value = at >> 3, int(value) << (at & 7)
    out[byte] |= value & 255
    if value > 255:
        out[byte + 1] |= value >> 8


def packed_bytes(features: int) -> int:
    """Bytes of a view of so many bits: whole 32-bit words."""
    return -(-features // 32) * 4


def _spread(packed: Any, out: Any) -> None:
    width = out.shape[1]
    for i in prange(packed.shape[0]):
        for j in range(width):
            out[i, j] = packed[i, j >> 3] >> (j & 7) & 1


@lru_cache
def _spreader(parallel: bool) -> Any:
    return njit(_spread, parallel=parallel, nogil=True, cache=True, error_model="numpy")


def unpack(packed: Tensor, features: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Zeros and ones `[..., features]` of `dtype` from bits `[..., bytes]` uint8."""
    if packed.device.type != "cpu":
        shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
        return (packed.unsqueeze(-1) >> shifts & 1).flatten(-2)[..., :features].to(dtype)
    rows = packed.reshape(-1, packed.shape[-1])
    out = torch.empty(len(rows), features, dtype=dtype)
    parallel = len(rows) >= 4096 and torch.get_num_threads() > 1
    if parallel:
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    _spreader(parallel)(rows.numpy(), out.numpy())
    return out.view(*packed.shape[:-1], features)
