"""Rules that worlds on a walled grid share: where an agent starts, faces and goes, and what it sees of planes of cells kept as bits.

A cell has the number y * side + x; headings are 0 right, 1 down, 2 left, 3 up (y grows downwards). A view is 5 x 5 cells, the agent
in the middle of the lowest row, looking up; it sees through walls, and everything outside the grid is wall.
"""

from typing import Any

import numpy as np

from interplay.envs.core import UsageError
from interplay.envs.rule import rule

VIEW = 5
CELLS = VIEW * VIEW
LEFT, RIGHT, FORWARD = 0, 1, 2
AHEAD = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])  # (dx, dy) of each heading
ACTIONS = ("left", "right", "forward", "pick up", "drop", "toggle", "done")
# Of an agent's world. All fields are signed: in plain Python (the debugger, the simulator) a difference of unsigned ones would wrap.
STATE: list[tuple[Any, ...]] = [("turn", "i4"), ("x", "i2"), ("y", "i2"), ("facing", "i1")]


def moves(actions: int) -> tuple[str, ...]:
    """The names of an agent's moves: 3, or the 7 of the literature, of which the last four do nothing; else a `UsageError`."""
    if actions not in (3, 7):
        raise UsageError(f"actions is {actions!r}; allowed are 3 (left, right, forward) and 7")
    return ACTIONS[:actions]


def plane_bytes(side: int) -> int:
    """Bytes of a plane of side x side bits."""
    return -(-side * side // 8)


def pack_planes(cells: np.ndarray) -> np.ndarray:
    """Planes `[K, side, side]` of truths as bits `[K, bytes]` uint8, lowest first."""
    return np.packbits(cells.reshape(len(cells), cells.shape[1] * cells.shape[2]), axis=1, bitorder="little")


def unpack_planes(packed: np.ndarray, side: int) -> np.ndarray:
    """Truths `[K, side, side]` from `pack_planes`."""
    return np.unpackbits(packed, axis=1, count=side * side, bitorder="little").reshape(-1, side, side).astype(bool)


@rule
def bit(plane, k):
    """Bit k of a plane."""
    return (int(plane[k >> 3]) >> (k & 7)) & 1


@rule
def wall_at(walls, side, x, y):
    """Whether there is a wall; outside the grid there is."""
    if x < 0 or y < 0 or x >= side or y >= side:
        return 1
    return bit(walls, y * side + x)


@rule
def turned(heading, action):
    """The heading after a move."""
    if action == LEFT:
        return (heading + 3) & 3
    if action == RIGHT:
        return (heading + 1) & 3
    return heading


@rule
def reset(w):
    """The agent stands at the level's `start` and faces its `heading`, before the first move."""
    n = int(w.side)
    w.turn = 0
    w.x, w.y, w.facing = int(w.start) % n, int(w.start) // n, w.heading


@rule
def turn(w, action):
    """Count a move, and turn the agent. Returns whether it goes ahead, onto a cell that is no wall, and that cell's (x, y).

    Where it stands is left as it is: what is on the cell may end the game before it gets there.
    """
    w.turn += 1
    w.facing = turned(int(w.facing), action)
    if action != FORWARD:
        return False, 0, 0
    x, y = int(w.x) + AHEAD[w.facing, 0], int(w.y) + AHEAD[w.facing, 1]
    return not wall_at(w.walls, int(w.side), x, y), x, y


@rule
def walls_seen(walls, side, x, y, heading):
    """The walls of a view as `CELLS` bits, row by row from the far left."""
    fx, fy, rx, ry = AHEAD[heading, 0], AHEAD[heading, 1], AHEAD[(heading + 1) & 3, 0], AHEAD[(heading + 1) & 3, 1]
    seen = 0
    for i in range(VIEW):
        cx, cy = x + (VIEW - 1 - i) * fx - VIEW // 2 * rx, y + (VIEW - 1 - i) * fy - VIEW // 2 * ry
        for j in range(VIEW):
            seen |= wall_at(walls, side, cx + j * rx, cy + j * ry) << (VIEW * i + j)
    return seen


@rule
def thing_seen(tx, ty, x, y, heading):
    """The cell of a view in which the thing at (tx, ty) lies, as `CELLS` bits with one or none set."""
    dx, dy = tx - x, ty - y
    ahead = dx * AHEAD[heading, 0] + dy * AHEAD[heading, 1]
    aside = dx * AHEAD[(heading + 1) & 3, 0] + dy * AHEAD[(heading + 1) & 3, 1] + VIEW // 2
    if ahead < 0 or ahead >= VIEW or aside < 0 or aside >= VIEW:
        return 0
    return 1 << (VIEW * (VIEW - 1 - ahead) + aside)
