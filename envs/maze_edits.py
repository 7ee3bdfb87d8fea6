"""Small random changes of mazes, by which ACCEL (Parker-Holder et al. 2022) makes new levels of those that are worth replaying."""

import numpy as np
from numba import njit

from interplay.envs.core import whole
from interplay.envs.maze_generators import key_of
from interplay.envs.maze_kernels import count_free, free_cell, roll
from interplay.envs.maze_levels import Mazes

NOTHING, FLIP, MOVE = range(3)


@njit(cache=True, nogil=True)
def edit(key, first, edits, mazes):
    """Edit every maze in place; edit e takes throws 2 e and 2 e + 1, so that more edits go on where fewer end."""
    n = mazes.walls.shape[1] * mazes.walls.shape[2]
    for k in range(mazes.goal.shape[0]):
        item, cells, start = first + k, mazes.walls[k].reshape(n), mazes.start[k]
        for e in range(edits):
            what = roll(key, 2 * e, item, 3)
            if what == FLIP:
                low, high = min(start, mazes.goal[k]), max(start, mazes.goal[k])
                cell = roll(key, 2 * e + 1, item, n - 2)  # of all cells but two
                cell += 1 if cell >= low else 0
                cell += 1 if cell >= high else 0
                cells[cell] = not cells[cell]
            elif what == MOVE:
                mazes.goal[k] = free_cell(cells, start, roll(key, 2 * e + 1, item, count_free(cells) - 1))


def mutate(mazes: Mazes, edits: int, seed: int = 0, first: int = 0) -> Mazes:
    """Children `[K]` of K mazes, which stay as they are; child k depends on (maze k, edits, seed, first + k) alone.

    Each of `edits` changes is, with equal chances: nothing; a wall is built or torn down on a uniformly random cell that is neither the
    agent's nor the goal's; the goal moves to a uniformly random free cell that is not the agent's (the one where it is counts). This is
    the operator of minimax (Jiang et al. 2023, 20 edits) and JaxUED (Coward et al. 2024, 5).

    Raises:
        UsageError: where a number is outside its range.
    """
    edits = whole("edits", edits, 0, 2**31 - 1)
    first = whole("first", first, 0, 2**32 - len(mazes.goal))
    child = Mazes._make(np.ascontiguousarray(part).copy() for part in mazes)
    edit(key_of(seed, "mutate"), first, edits, child)
    return child
