"""Distributions of mazes: the training sets of the literature on environment design, and its procedural tests.

Maze k of a call depends on (seed, first + k, name, size, params) alone, never on how many are made at once. Unsolvable mazes are kept,
as the field does (`maze_paths.solvable` tells them). Wherever nothing else is said, the agent and then the goal get uniformly random
free cells, different ones, and the agent a random heading.
"""

import inspect
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from interplay.envs.core import UsageError, did_you_mean, whole
from interplay.envs.maze_kernels import fill_clutter, fill_crossings, fill_perfect, fill_rooms, mixed
from interplay.envs.maze_levels import Mazes


def key_of(seed: int, name: str) -> np.uint64:
    """The key of a generator; those of other names give other numbers."""
    return np.uint64(mixed(whole("seed", seed, 0, 2**32 - 1), zlib.crc32(name.encode())))


def blank(size: int, count: int) -> Mazes:
    """Mazes without walls; agents look right from the first cell, goals are there too."""
    zeros = lambda *shape: np.zeros(shape, np.int64)
    return Mazes(np.zeros((count, size, size), bool), zeros(count), zeros(count), zeros(count))


def truth(name: str, value: Any) -> bool:
    """`value`, or a `UsageError` if it is neither True nor False."""
    if not isinstance(value, (bool, np.bool_)):
        raise UsageError(f"{name} is {value!r}; allowed are True and False")
    return bool(value)


def odd(name: str, size: int) -> int:
    """`size`, or a `UsageError` if it is even."""
    if size % 2 == 0:
        raise UsageError(f"size is {size}; allowed for {name!r} are odd numbers from 3 to 101")
    return size


def clutter(key: np.uint64, size: int, count: int, first: int, walls: int = 60, replace: bool = True) -> Mazes:
    """Walls on `walls` random cells, drawn with replacement as in minimax (Jiang et al. 2023), so that there may be fewer, or without."""
    blocks = whole(f"walls (of {size} x {size} cells)", walls, 0, size * size - 2)
    mazes = blank(size, count)
    fill_clutter(key, first, blocks, False, truth("replace", replace), mazes)
    return mazes


def uniform(key: np.uint64, size: int, count: int, first: int, walls: int = 60) -> Mazes:
    """Clutter, with replacement, of a number of walls that is itself uniform in 0 ... `walls` (ACCEL, Parker-Holder et al. 2022)."""
    blocks = whole(f"walls (of {size} x {size} cells)", walls, 0, size * size - 2)
    mazes = blank(size, count)
    fill_clutter(key, first, blocks, True, True, mazes)
    return mazes


def empty(key: np.uint64, size: int, count: int, first: int) -> Mazes:
    """No walls: where ACCEL starts."""
    return clutter(key, size, count, first, 0)


def perfect(key: np.uint64, size: int, count: int, first: int, corners: bool = False) -> Mazes:
    """Perfect mazes: rooms on even rows and columns, joined by the minimum spanning tree of random weights (Kruskal 1956).

    `corners`: start and goal are two different random corners, as in Dennis et al.'s code, and not just any free cells.
    """
    mazes = blank(odd("perfect", size), count)
    fill_perfect(key, first, truth("corners", corners), mazes)
    return mazes


def four_rooms(key: np.uint64, size: int, count: int, first: int) -> Mazes:
    """Four rooms of one size, a random door in each wall between two of them (Sutton et al. 1999; MiniGrid)."""
    mazes = blank(odd("four-rooms", size), count)
    fill_rooms(key, first, mazes)
    return mazes


def crossings(key: np.uint64, size: int, count: int, first: int, rivers: int = 5) -> Mazes:
    """MiniGrid's SimpleCrossing (Chevalier-Boisvert et al. 2018): `rivers` of the odd rows and columns are walls with a gap in each.

    The gaps lie on a path from the start, the first cell, to the goal, the last one; the agent looks right.
    """
    blocks = whole(f"rivers (of size {odd('crossings', size)})", rivers, 0, size - 1)
    mazes = blank(size, count)
    fill_crossings(key, first, blocks, mazes)
    return mazes


GENERATORS: dict[str, Callable[..., Mazes]] = {
    "clutter": clutter,
    "uniform": uniform,
    "empty": empty,
    "perfect": perfect,
    "four-rooms": four_rooms,
    "crossings": crossings,
}


def generate(name: str, size: int, count: int, seed: int = 0, first: int = 0, **params: Any) -> Mazes:
    """Mazes `first ... first + count - 1` of a seed, of `size` x `size` cells (3 to 101), from one of `GENERATORS`.

    Raises:
        UsageError: where the name, a parameter or a value is not known, or there is no room for so many walls.
    """
    if name not in GENERATORS:
        raise UsageError(f"maze generator {name!r} is unknown{did_you_mean(name, GENERATORS)}")
    known = list(inspect.signature(GENERATORS[name]).parameters)[4:]
    for param in params:
        if param not in known:
            raise UsageError(f"{name}: parameter {param!r} is unknown" + (did_you_mean(param, known) if known else "; there are none"))
    size, count = whole("size", size, 3, 101), whole("count", count, 0, 2**31 - 1)
    first = whole("first", first, 0, 2**32 - count)
    return GENERATORS[name](key_of(seed, name), size, count, first, **params)
