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
from numba import njit

from interplay.envs import dice
from interplay.envs.core import UsageError, did_you_mean, whole
from interplay.envs.maze_levels import Mazes
from interplay.envs.rule import rule


@njit(cache=True, nogil=True)
def mixed(seed, label):
    """The key of one use of a seed's dice for levels; the label is a 32-bit number."""
    return dice.philox(dice.stream_key(seed, dice.META), label, dice.META)


def key_of(seed: int, name: str) -> np.uint64:
    """The key of a generator; those of other names give other numbers."""
    return np.uint64(mixed(whole("seed", seed, 0, 2**32 - 1), zlib.crc32(name.encode())))


@rule
def roll(key, draw, item, n):
    """A whole number in [0, n) for throw `draw` of level `item` (bias at most n / 2**32)."""
    return np.int64((dice.philox(key, draw, item) * np.uint64(n)) >> dice.HALF)


@rule
def free_cell(cells, but, number):
    """The free cell of that number, counted from 0; `but` (-1: none) does not count."""
    for cell in range(cells.shape[0]):
        if not cells[cell] and cell != but:
            if number == 0:
                return cell
            number -= 1
    return -1


@rule
def count_free(cells):
    """How many cells are free."""
    free = 0
    for cell in range(cells.shape[0]):
        free += 0 if cells[cell] else 1
    return free


@rule
def place(cells, key, draw, item, mazes, k):
    """Agent, goal and heading of maze k at random, by throws `draw ... draw + 2`."""
    free = count_free(cells)
    mazes.start[k] = free_cell(cells, -1, roll(key, draw, item, free))
    mazes.goal[k] = free_cell(cells, mazes.start[k], roll(key, draw + 1, item, free - 1))
    mazes.heading[k] = roll(key, draw + 2, item, 4)


@njit(cache=True, nogil=True)
def fill_clutter(key, first, walls, varied, replace, mazes):
    """Walls on random cells; `varied`: their number is uniform in 0 ... walls."""
    n = mazes.walls.shape[1] * mazes.walls.shape[2]
    for k in range(mazes.goal.shape[0]):
        item, cells, draw, blocks = first + k, mazes.walls[k].reshape(n), 0, walls
        if varied:
            blocks, draw = roll(key, 0, item, walls + 1), 1
        for j in range(n - blocks, n):
            if replace:
                cells[roll(key, draw, item, n)] = True
            else:  # a uniform subset without rejections (R. Floyd, CACM 1987)
                cell = roll(key, draw, item, j + 1)
                cells[j if cells[cell] else cell] = True
            draw += 1
        place(cells, key, draw, item, mazes, k)


@rule
def root(parent, room):
    """The room that stands for all that are joined with this one."""
    while parent[room] != room:
        parent[room] = parent[parent[room]]
        room = parent[room]
    return room


@rule
def spanning_tree(walls, key, item, parent, edges):
    """Kruskal's tree of the rooms for a random order of the walls between them; returns the number of throws."""
    m, joined, draw = (walls.shape[0] + 1) // 2, 0, 0
    across = m * (m - 1)  # walls with a room on their left and right; as many have one above and below
    walls[:] = True
    walls[::2, ::2] = False
    for room in range(parent.shape[0]):
        parent[room] = room
    for e in range(edges.shape[0]):
        edges[e] = e
    while joined < m * m - 1:
        other = draw + roll(key, draw, item, edges.shape[0] - draw)  # the shuffle goes only as far as it is needed
        edge = edges[other]
        edges[other] = edges[draw]
        draw += 1
        if edge < across:
            row, column, down, right = edge // (m - 1), edge % (m - 1), 0, 1
        else:
            row, column, down, right = (edge - across) // m, (edge - across) % m, 1, 0
        one, two = root(parent, row * m + column), root(parent, (row + down) * m + column + right)
        if one != two:
            parent[one] = two
            walls[2 * row + down, 2 * column + right] = False
            joined += 1
    return draw


@njit(cache=True, nogil=True)
def fill_perfect(key, first, corners, mazes):
    """Spanning trees; `corners`: start and goal are two different corners."""
    n = mazes.walls.shape[1]
    m = (n + 1) // 2
    parent, edges = np.empty(m * m, np.int64), np.empty(2 * m * (m - 1), np.int64)
    for k in range(mazes.goal.shape[0]):
        item = first + k
        draw = spanning_tree(mazes.walls[k], key, item, parent, edges)
        place(mazes.walls[k].reshape(n * n), key, draw, item, mazes, k)
        if corners:
            one = roll(key, draw, item, 4)
            two = (one + 1 + roll(key, draw + 1, item, 3)) % 4
            mazes.start[k] = (n - 1) * (one // 2 * n + one % 2)
            mazes.goal[k] = (n - 1) * (two // 2 * n + two % 2)


@njit(cache=True, nogil=True)
def fill_rooms(key, first, mazes):
    """Two walls that cross in the middle, each with a door on either side."""
    n = mazes.walls.shape[1]
    middle = n // 2
    for k in range(mazes.goal.shape[0]):
        walls, item = mazes.walls[k], first + k
        walls[middle, :] = True
        walls[:, middle] = True
        for half in range(2):
            side = half * (middle + 1)
            walls[middle, side + roll(key, 2 * half, item, middle)] = False
            walls[side + roll(key, 2 * half + 1, item, middle), middle] = False
        place(walls.reshape(n * n), key, 4, item, mazes, k)


@rule
def choose_rivers(rivers, count, key, item):
    """Mark `count` of the odd rows (`rivers[0]`) and columns (`rivers[1]`), all subsets alike (R. Floyd, CACM 1987)."""
    half = rivers.shape[1] // 2
    rivers[:] = False
    for j in range(2 * half - count, 2 * half):
        river = roll(key, 2 * half - 1 - j, item, j + 1)
        if rivers[river // half, 2 * (river % half) + 1]:
            river = j
        rivers[river // half, 2 * (river % half) + 1] = True


@rule
def last_before(river, cell):
    """The last cell of a row or column before the next river, from `cell` on."""
    while cell + 1 < river.shape[0] and not river[cell + 1]:
        cell += 1
    return cell


@rule
def open_path(walls, rivers, count, key, draw, item):
    """Cross the rivers on a random path to the right and down, all orders alike, each at a random cell of the room before it."""
    top, left, down = 0, 0, 0
    for row in range(rivers.shape[1]):
        down += 1 if rivers[0, row] else 0
    for ahead in range(count, 0, -1):
        bottom, end = last_before(rivers[0], top), last_before(rivers[1], left)
        if roll(key, draw, item, ahead) < down:
            walls[bottom + 1, left + roll(key, draw + 1, item, end - left + 1)] = False
            top, down = bottom + 2, down - 1
        else:
            walls[top + roll(key, draw + 1, item, bottom - top + 1), end + 1] = False
            left = end + 2
        draw += 2


@njit(cache=True, nogil=True)
def fill_crossings(key, first, count, mazes):
    """Rivers with one gap each, from corner to corner."""
    n = mazes.walls.shape[1]
    rivers = np.empty((2, n), np.bool_)
    for k in range(mazes.goal.shape[0]):
        walls, item = mazes.walls[k], first + k
        choose_rivers(rivers, count, key, item)
        for cell in range(n):
            if rivers[0, cell]:
                walls[cell, :] = True
            if rivers[1, cell]:
                walls[:, cell] = True
        open_path(walls, rivers, count, key, count, item)
        mazes.goal[k] = n * n - 1


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
