"""Maze levels: walls, goal, start and heading of many mazes of one size; how they are checked, read and written, and the named ones.

Rows grow downwards. A cell has the number row * n + column; headings are 0 right, 1 down, 2 left, 3 up. There is no border: everything
outside the n x n cells is wall. Agents start on a free cell that is not the goal's.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from interplay.envs.core import UsageError, did_you_mean

WALL, FLOOR, GOAL, AGENT = "#", ".", "G", ">v<^"
KNOWN = f"{WALL} {FLOOR} {GOAL} {' '.join(AGENT)}"


class Mazes(NamedTuple):
    """K mazes of one size. It is a tuple of four: count mazes by `len(mazes.goal)`.

    walls:    `[K, n, n]` bool, [row, column]
    goal:     `[K]` int64, a cell
    start:    `[K]` int64, the agent's first cell
    heading:  `[K]` int64, where the agent first looks
    """

    walls: np.ndarray
    goal: np.ndarray
    start: np.ndarray
    heading: np.ndarray


def join(mazes: Sequence[Mazes]) -> Mazes:
    """All of them, in order; `UsageError` where there are none, or their sizes differ."""
    sizes = sorted({part.walls.shape[1:] for part in mazes})
    if len(sizes) != 1:
        raise UsageError(f"mazes to join have sizes {[list(size) for size in sizes]}; allowed is one size")
    return Mazes._make(np.concatenate(parts) for parts in zip(*mazes, strict=True))


def pick(mazes: Mazes, index: Any) -> Mazes:
    """Some of K mazes, copied: `index` is a number, a slice, numbers `[J]` or truths `[K]`. `UsageError` where there is no such maze."""
    index = index if isinstance(index, slice) else np.atleast_1d(np.asarray(index))
    if not isinstance(index, slice) and not index.size:
        index = np.zeros(0, np.int64)  # NumPy takes an empty list for floats
    try:
        return Mazes._make(part[index].copy() for part in mazes)
    except IndexError as error:
        raise UsageError(f"index of mazes: {error}; there are {len(mazes.goal)}") from None


def check(mazes: Mazes) -> None:
    """A `UsageError` where arrays do not fit together, else at the first maze that cannot be played. Unsolvable ones can."""
    walls, goal, start, heading = mazes
    if walls.dtype != bool or walls.ndim != 3 or walls.shape[1] != walls.shape[2] or not walls.shape[1]:
        raise UsageError(f"walls are {walls.dtype} {list(walls.shape)}; allowed is bool [K, n, n], a square for each level")
    for name, part in zip(Mazes._fields[1:], mazes[1:], strict=True):
        if not np.issubdtype(part.dtype, np.integer) or part.shape != (len(walls),):
            raise UsageError(f"{name} is {part.dtype} {list(part.shape)}; allowed are whole numbers [{len(walls)}], one for each level")
    cells = walls.shape[1] ** 2
    flat, k = walls.reshape(len(walls), cells), np.arange(len(walls))
    outside = lambda part, high: (part < 0) | (part >= high)
    blocked = lambda cell: flat[k, np.where(outside(cell, cells), 0, cell)]
    faults = [
        (outside(goal, cells), "goal", goal, f"is outside; allowed are cells from 0 to {cells - 1}"),
        (outside(start, cells), "agent", start, f"is outside; allowed are cells from 0 to {cells - 1}"),
        (outside(heading, 4), "heading", heading, "is unknown; allowed are 0 right, 1 down, 2 left, 3 up"),
        (blocked(goal), "goal", goal, "is in a wall; allowed are free cells"),
        (blocked(start), "agent", start, "is in a wall; allowed are free cells"),
        (goal == start, "agent", start, "is on the goal; allowed are the other free cells"),
    ]
    wrong = np.array([mask for mask, *_ in faults])
    if wrong.any():
        first = int(wrong.any(0).argmax())
        _, name, part, what = faults[int(wrong[:, first].argmax())]
        raise UsageError(f"level {first}: its {name} {part[first]} {what}")


def parse(drawing: str) -> Mazes:
    """One maze from rows of `#` walls, `.` free cells, `G` the goal and one of `> v < ^`, the agent; blanks around rows do not count.

    Raises:
        UsageError: where rows are not all as long as there are rows, signs are unknown, or there is not one goal and one agent.
    """
    rows = [row.strip() for row in drawing.strip().splitlines()]
    if not rows:
        raise UsageError("the maze has no rows; allowed are squares")
    for y, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise UsageError(f"row {y} has {len(row)} cells and row 0 has {len(rows[0])}; allowed are rows of equal length")
        for x, sign in enumerate(row):
            if sign not in KNOWN.split():
                raise UsageError(f"row {y}, column {x} holds {sign!r}; allowed are {KNOWN}")
    if len(rows) != len(rows[0]):
        raise UsageError(f"the maze has {len(rows)} rows of {len(rows[0])} cells; allowed are squares")
    cells = "".join(rows)
    agents = [cell for cell, sign in enumerate(cells) if sign in AGENT]
    for name, count, signs in (("goals", cells.count(GOAL), GOAL), ("agents", len(agents), " or ".join(AGENT))):
        if count != 1:
            raise UsageError(f"the maze has {count} {name}; allowed is one {signs}")
    walls = np.array([sign == WALL for sign in cells]).reshape(1, len(rows), len(rows))
    return Mazes(walls, *(np.array([value]) for value in (cells.index(GOAL), agents[0], AGENT.index(cells[agents[0]]))))


def text(mazes: Mazes, k: int) -> str:
    """Maze k as `parse` reads it."""
    rows = np.where(mazes.walls[k], WALL, FLOOR)
    rows.flat[mazes.goal[k]] = GOAL
    rows.flat[mazes.start[k]] = AGENT[mazes.heading[k]]
    return "\n".join("".join(row) for row in rows)


# Rows from the top as hexadecimal numbers, the highest of their n bits on the left; start and goals as (x, y). The 13 x 13 mazes are
# those of minimax (Jiang et al. 2023) and JaxUED (Coward et al. 2024), which agree cell for cell with Dennis et al. 2020's.
_RIGHT, _LEFT = 0, 2
_LAYOUTS: dict[str, tuple[str, tuple[int, int], int, list[tuple[int, int]]]] = {
    "SixteenRooms": ("0248 0008 0240 176e 0200 0048 1add 0208 0240 0f6b 0248 0040 0208", (1, 1), _RIGHT, [(11, 11)]),
    "SixteenRooms2": ("0208 0048 0248 1edd 0240 0048 17df 0248 0200 1b6f 0248 0040 0248", (1, 1), _RIGHT, [(11, 11)]),
    "Labyrinth": ("0000 0ffe 0802 0bfa 0a0a 0aea 0aaa 0aaa 088a 0ffa 0082 1ebe 0080", (0, 12), _RIGHT, [(6, 6)]),
    "LabyrinthFlipped": ("0000 0ffe 0802 0bfa 0a0a 0aea 0aaa 0aaa 0a22 0bfe 0820 0faf 0020", (12, 12), _LEFT, [(6, 6)]),
    "Labyrinth2": ("0800 0bfe 0a02 0afa 0a8a 02aa 1eaa 02ea 0a0a 0bfa 0802 0ffe 0000", (0, 0), _RIGHT, [(6, 6)]),
    "StandardMaze": ("0084 0ef6 0800 0ff7 0010 1fbe 0120 0c6f 0522 15ba 1488 16ee 0228", (6, 0), _RIGHT, [(6, 12)]),
    "StandardMaze2": ("0284 0af1 0804 0ff7 0254 1ad4 0a16 0b72 093a 0daa 08aa 0aaa 0220", (0, 6), _RIGHT, [(12, 4)]),
    "StandardMaze3": ("0140 0f5e 0850 03d5 1a14 02d6 0a92 0abb 08a8 0eae 08a2 0baa 0888", (3, 0), _RIGHT, [(12, 6)]),
    "SmallCorridor": (
        " ".join(["0000", *["0aaa"] * 5, "0ffe", *["0aaa"] * 5, "0000"]),
        (0, 6),
        _RIGHT,
        [(x, y) for y in (5, 7) for x in range(2, 11, 2)],
    ),
    "LargeCorridor": (
        " ".join(["00000", *["2aaaa"] * 8, "3fffe", *["2aaaa"] * 8, "00000"]),
        (0, 9),
        _RIGHT,
        [(x, y) for y in (8, 10) for x in range(2, 17, 2)],
    ),
}
NAMES = tuple(_LAYOUTS)


def named(name: str) -> Mazes:
    """The test maze of that name, one of `NAMES`; of the corridors a maze for each place in which the goal may be."""
    if name not in _LAYOUTS:
        raise UsageError(f"maze {name!r} is unknown{did_you_mean(name, NAMES)}")
    rows, (x, y), heading, goals = _LAYOUTS[name]
    n, count = len(rows.split()), len(goals)
    walls = np.array([[int(row, 16) >> (n - 1 - column) & 1 for column in range(n)] for row in rows.split()], bool)
    goal = np.array([down * n + right for right, down in goals])
    return Mazes(np.repeat(walls[None], count, 0), goal, np.full(count, y * n + x), np.full(count, heading))
