"""Numba's parallel loops have as many threads as PyTorch."""

import numba
import torch


def share_threads() -> None:
    """Give numba's parallel loops as many threads as torch has."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
