"""Shortest ways: against a slow search that plays the moves, and the known lengths of the named mazes."""

from collections import deque

import numpy as np
import pytest

from interplay.envs.maze_generators import generate
from interplay.envs.maze_levels import Mazes, join, named, parse, pick
from interplay.envs.maze_paths import best_action, distances, lengths, solvable

STEP = {0: (0, 1), 1: (1, 0), 2: (0, -1), 3: (-1, 0)}  # (row, column) of a heading


def move(walls: np.ndarray, cell: int, heading: int, action: int) -> tuple[int, int]:
    """What an action does: the cell (the goal's too) and heading after it."""
    if action < 2:
        return cell, (heading + (-1, 1)[action]) % 4
    n = len(walls)
    y, x = cell // n + STEP[heading][0], cell % n + STEP[heading][1]
    free = 0 <= y < n and 0 <= x < n and not walls[y, x]
    return (y * n + x if free else cell), heading


def slow(walls: np.ndarray, goal: int, cell: int, heading: int) -> int:
    """The least number of actions, by a search forwards."""
    seen, todo = {(cell, heading)}, deque([(cell, heading, 0)])
    while todo:
        cell, heading, actions = todo.popleft()
        for action in range(3):
            to = move(walls, cell, heading, action)
            if to[0] == goal:
                return actions + 1
            if to not in seen:
                seen.add(to)
                todo.append((*to, actions + 1))
    return -1


def some() -> list[Mazes]:
    """Mazes of all kinds, many of them without a way."""
    return [
        generate("clutter", 3, 10, walls=4),
        generate("clutter", 4, 10, walls=10),
        generate("clutter", 6, 8, walls=25),
        generate("uniform", 5, 10, walls=15),
        generate("perfect", 7, 4),
        generate("crossings", 5, 4, rivers=3),
        parse(">#\n#G"),
        parse(">G\n.."),
    ]


@pytest.mark.parametrize("mazes", some(), ids=lambda mazes: "x".join(map(str, mazes.walls.shape)))
def test_distances_are_those_of_a_slow_search(mazes):
    found = distances(mazes)
    n = mazes.walls.shape[1]
    assert found.shape == (len(mazes.goal), n * n, 4) and found.dtype == np.int32
    for k, (walls, goal, *_) in enumerate(zip(*mazes, strict=True)):
        for cell in range(n * n):
            nobody = walls[cell // n, cell % n] or cell == goal
            for heading in range(4):
                assert found[k, cell, heading] == (-1 if nobody else slow(walls, goal, cell, heading))
    at_start = [slow(walls, goal, start, heading) for walls, goal, start, heading in zip(*mazes, strict=True)]
    assert lengths(mazes).tolist() == at_start and lengths(mazes).dtype == np.int64
    assert solvable(mazes).tolist() == [steps > 0 for steps in at_start]


def test_mazes_without_a_way_are_among_them():
    found = np.concatenate([solvable(mazes) for mazes in some()])
    assert 10 < found.sum() < len(found) - 10


@pytest.mark.parametrize("mazes", some(), ids=lambda mazes: "x".join(map(str, mazes.walls.shape)))
def test_the_best_action_is_the_first_that_gains_a_step(mazes):
    found = distances(mazes)
    count, n = len(mazes.goal), mazes.walls.shape[1]
    for cell in range(n * n):
        for heading in range(4):
            best = best_action(found, np.full(count, cell), np.full(count, heading))
            for k in np.nonzero(found[:, cell, heading] >= 0)[0]:
                after = [move(mazes.walls[k], cell, heading, action) for action in range(3)]
                left = [0 if to[0] == mazes.goal[k] else slow(mazes.walls[k], mazes.goal[k], *to) for to in after]
                assert best[k] == left.index(min(left)) and min(left) == found[k, cell, heading] - 1
            assert (best[found[:, cell, heading] < 0] == 0).all()


LENGTHS = {
    "SixteenRooms": [26],
    "SixteenRooms2": [28],
    "Labyrinth": [113],
    "LabyrinthFlipped": [113],
    "Labyrinth2": [113],
    "StandardMaze": [54],
    "StandardMaze2": [73],
    "StandardMaze3": [54],
    # up or down 6, 12 or 18 cells and along; turns at the start, into the row, into the corridor: counted by hand
    "SmallCorridor": [16, 18, 20, 22, 24] * 2,
    "LargeCorridor": [22, 24, 26, 28, 30, 32, 34, 36] * 2,
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_of_the_named_mazes(name):
    assert lengths(named(name)).tolist() == LENGTHS[name]


def test_who_acts_best_arrives_in_time():
    mazes = join([named(name) for name in list(LENGTHS)[:8]])
    found, cell, heading = distances(mazes), mazes.start.copy(), mazes.heading.copy()
    arrived = np.full(8, -1)
    for t in range(1, 114):
        action = best_action(found, cell, heading)
        for k in np.nonzero(arrived < 0)[0]:
            cell[k], heading[k] = move(mazes.walls[k], cell[k], heading[k], action[k])
            if cell[k] == mazes.goal[k]:
                arrived[k] = t
    assert arrived.tolist() == lengths(mazes).tolist() == [26, 28, 113, 113, 113, 54, 73, 54]


def test_several_agents_in_a_maze():
    mazes = generate("clutter", 5, 3, walls=6)
    found, rng = distances(mazes), np.random.default_rng(0)
    cell, heading = rng.integers(0, 25, (3, 7)), rng.integers(0, 4, (3, 7))
    action = best_action(found, cell, heading)
    alone = [[best_action(found[k : k + 1], cell[k, j : j + 1], heading[k, j : j + 1])[0] for j in range(7)] for k in range(3)]
    assert action.tolist() == alone and action.dtype == np.int64


def test_large_mazes_and_arrays_that_may_not_be_written():
    mazes = generate("perfect", 101, 2, 3, corners=True)
    for part in mazes:
        part.flags.writeable = False
    expected = [slow(walls, goal, start, heading) for walls, goal, start, heading in zip(*mazes, strict=True)]
    assert lengths(mazes).tolist() == expected
    assert distances(mazes)[np.arange(2), mazes.start, mazes.heading].tolist() == expected
    assert len(lengths(pick(mazes, []))) == 0 == len(distances(pick(mazes, [])))
