"""Rules that worlds on a walled grid share: where an agent faces and goes, and what it sees of a plane of cells kept as bits.

A cell has the number y * side + x; headings are 0 right, 1 down, 2 left, 3 up (y grows downwards). A view is 5 x 5 cells, the agent
in the middle of the lowest row, looking up; it sees through walls, and everything outside the grid is wall.
"""

import numpy as np

from interplay.envs.rule import rule

VIEW = 5
CELLS = VIEW * VIEW
LEFT, RIGHT, FORWARD = 0, 1, 2
AHEAD = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])  # (dx, dy) of each heading


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
