"""How a scalar rule is compiled: `@rule` on a function of one world's record makes it callable by the engine on the CPU and on the GPU."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba import njit


def rule(function: Any) -> Any:
    """`njit` for rules, tuned for a record and views into big arrays.

    Rules never create arrays, so reference counts are off (`_nrt`; with them a matrix game was 3.4 times slower); whole-number
    division follows NumPy, without a test for zero (the Coin Game: 1.5 times); small rules are inlined into the loop over worlds.
    """
    return njit(_nrt=False, error_model="numpy", forceinline=True)(function)  # pyright: ignore[reportCallIssue]


@lru_cache
def edition(rules: Any) -> str:
    """A short hash of the text of the rules and of this folder: part of a compiled loop's name, so that numba's cache sees edits."""
    assert rules.__file__
    texts = {Path(rules.__file__), *Path(__file__).parent.glob("*.py")}
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(texts))).hexdigest()[:12]
