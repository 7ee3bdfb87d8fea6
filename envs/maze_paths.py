"""Shortest ways through mazes, counted in actions: breadth-first search backwards from the goal over (cell, heading).

The actions are 0 turn left, 1 turn right, 2 forward; forward into a wall, or off the grid, does nothing, and the forward move that enters
the goal is the last one. So nobody ever stands on the goal.
"""

from typing import Any

import numpy as np
from numba import njit

from interplay.envs.grid import AHEAD, FORWARD, LEFT, RIGHT
from interplay.envs.maze_levels import Mazes
from interplay.envs.rule import rule


@rule
def behind(walls, cell, heading):
    """The free cell from which a forward move comes to `cell`, or -1."""
    n = walls.shape[0]
    y, x = cell // n - AHEAD[heading, 1], cell % n - AHEAD[heading, 0]
    if x < 0 or y < 0 or x >= n or y >= n or walls[y, x]:
        return -1
    return y * n + x


@njit(cache=True, nogil=True)
def search(walls, goal, stop, steps, queue):
    """Fill `steps` `[n * n * 4]` with the actions to the goal from each cell * 4 + heading, -1 where there is no way.

    Ends early where the number for `stop` (-1: none) is known. `queue` `[n * n * 4]` is room to work in.
    """
    steps[:] = -1
    head, tail = 0, 0
    for heading in range(4):
        cell = behind(walls, goal, heading)
        if cell >= 0:
            steps[cell * 4 + heading] = 1
            queue[tail] = cell * 4 + heading
            tail += 1
    while head < tail and (stop < 0 or steps[stop] < 0):
        place = queue[head]
        head += 1
        cell, heading = place >> 2, place & 3
        back = behind(walls, cell, heading)
        ahead = place if back < 0 or back == goal else back * 4 + heading  # `place` itself has its number: it is passed over
        for before in (cell * 4 + ((heading + 1) & 3), cell * 4 + ((heading + 3) & 3), ahead):
            if steps[before] < 0:
                steps[before] = steps[place] + 1
                queue[tail] = before
                tail += 1


@njit(cache=True, nogil=True)
def search_all(mazes, steps):
    """`search` for every maze, into `steps` `[K, n * n * 4]`."""
    queue = np.empty(steps.shape[1], np.int32)
    for k in range(steps.shape[0]):
        search(mazes.walls[k], mazes.goal[k], -1, steps[k], queue)


@njit(cache=True, nogil=True)
def search_starts(mazes, lengths):
    """`search` for every maze, only as far as its start."""
    size = mazes.walls.shape[1] * mazes.walls.shape[2] * 4
    queue, steps = np.empty(size, np.int32), np.empty(size, np.int32)
    for k in range(lengths.shape[0]):
        start = mazes.start[k] * 4 + mazes.heading[k]
        search(mazes.walls[k], mazes.goal[k], start, steps, queue)
        lengths[k] = steps[start]


def distances(mazes: Mazes) -> np.ndarray:
    """The least number of actions `[K, n * n, 4]` int32 from each cell and heading, the one that enters the goal among them.

    It is -1 where there is no way, in walls, and on the goal, where nobody stands.
    """
    count, n, _ = mazes.walls.shape
    steps = np.empty((count, n * n * 4), np.int32)
    search_all(mazes, steps)
    return steps.reshape(count, n * n, 4)


def lengths(mazes: Mazes) -> np.ndarray:
    """The least number of actions `[K]` int64 from the start into the goal; -1 where there is no way."""
    out = np.empty(len(mazes.goal), np.int64)
    search_starts(mazes, out)
    return out


def solvable(mazes: Mazes) -> np.ndarray:
    """Whether there is a way from the start to the goal, `[K]` bool."""
    return lengths(mazes) >= 0


def best_action(distances: np.ndarray, cell: Any, heading: Any) -> np.ndarray:
    """An optimal action, int64, for agents in K mazes at `cell` and `heading`, each `[K]` or `[K, ...]`.

    Of several the lowest number; so 0 where there is no way.
    """
    cell, heading = np.asarray(cell), np.asarray(heading)
    maze = np.arange(len(distances)).reshape(-1, *[1] * (cell.ndim - 1))
    after = distances[maze, cell, heading] - 1
    nearer = lambda turned: distances[maze, cell, turned & 3] == after
    action = np.where(nearer(heading + 3), LEFT, np.where(nearer(heading + 1), RIGHT, FORWARD))
    return np.where(after < -1, LEFT, action)
