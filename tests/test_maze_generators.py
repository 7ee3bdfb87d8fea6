"""Distributions of mazes: their laws against exact ones, their structure, and independence of the batch."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from interplay.envs.core import UsageError
from interplay.envs.maze_generators import GENERATORS, generate
from interplay.envs.maze_levels import Mazes, check, join, pick

LUCK = 1e-4  # seeds are fixed; below this p-value the numbers are not random
KINDS = [
    ("clutter", 13, {}),
    ("clutter", 6, {"walls": 20, "replace": False}),
    ("uniform", 13, {"walls": 100}),
    ("empty", 4, {}),
    ("perfect", 13, {}),
    ("perfect", 9, {"corners": True}),
    ("four-rooms", 17, {}),
    ("crossings", 9, {}),
    ("crossings", 13, {"rivers": 12}),
]


def agrees(seen: Counter, law: dict) -> bool:
    """Whether counts fit a law {outcome: probability}; no other outcome may have been seen."""
    assert set(seen) <= set(law)
    total = sum(seen.values())
    return bool(stats.chisquare([seen[x] for x in law], [total * p for p in law.values()]).pvalue > LUCK)


def even(outcomes) -> dict:
    """The uniform law."""
    outcomes = list(outcomes)
    return dict.fromkeys(outcomes, 1 / len(outcomes))


def reached(walls: np.ndarray) -> set[tuple[int, int]]:
    """The free cells that hang together with the first free one."""
    n, first = len(walls), tuple(np.argwhere(~walls)[0].tolist())
    seen, todo = {first}, [first]
    while todo:
        y, x = todo.pop()
        for to in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= min(to) and max(to) < n and not walls[to] and to not in seen:
                seen.add(to)
                todo.append(to)
    return seen


def ranks(mazes: Mazes, cells: np.ndarray) -> list[int]:
    """Which of its maze's free cells each of `cells` `[K]` is."""
    return [int((~walls.reshape(-1)[:cell]).sum()) for walls, cell in zip(mazes.walls, cells, strict=True)]


def occupied(draws: int, cells: int) -> np.ndarray:
    """The law of the number of cells hit by draws with replacement."""
    law = np.zeros(cells + 1)
    law[0] = 1
    for _ in range(draws):
        hit = np.arange(cells + 1) / cells
        law = law * hit + np.concatenate([[0], (law * (1 - hit))[:-1]])
    return law


@pytest.mark.parametrize("name, size, params", KINDS)
def test_a_maze_does_not_depend_on_its_batch(name, size, params):
    mazes = generate(name, size, 10, seed=3, **params)
    check(mazes)
    assert mazes.walls.shape == (10, size, size) and {part.dtype for part in mazes[1:]} == {np.dtype(np.int64)}
    pieces = [generate(name, size, count, 3, first, **params) for first, count in ((0, 1), (1, 0), (1, 6), (7, 3))]
    assert all(map(np.array_equal, join(pieces), mazes))
    for other in generate(name, size, 10, 4, **params), generate(name, size, 10, 3, 10, **params):
        assert not all(map(np.array_equal, other, mazes)) or name == "empty"
    last = generate(name, size, 2, 2**32 - 1, 2**32 - 2, **params)
    check(last)


def test_seeds_and_generators_differ():
    one = [generate("empty", 101, 20, seed).goal for seed in range(3)]
    one += [generate("clutter", 101, 20, 0, walls=0).goal, generate("uniform", 101, 20, 0, walls=0).goal]
    assert all((a != b).mean() > 0.9 for a, b in itertools.combinations(one, 2))


@pytest.mark.parametrize("name, size, params", KINDS)
def test_sizes_up_to_101(name, size, params):
    mazes = generate(name, 101, 3, 1, **params)
    check(mazes)
    assert mazes.walls.shape == (3, 101, 101)


def test_agent_goal_and_heading_are_uniform_and_independent():
    mazes = generate("empty", 3, 30_000)
    seen = Counter(zip(mazes.start.tolist(), mazes.goal.tolist(), mazes.heading.tolist(), strict=True))
    assert agrees(seen, even((s, g, h) for s, g in itertools.permutations(range(9), 2) for h in range(4)))


@pytest.mark.parametrize("replace", [True, False])
def test_one_wall_agent_and_goal_are_uniform(replace):
    mazes = generate("clutter", 3, 30_000, 1, walls=1, replace=replace)
    cells = mazes.walls.reshape(-1, 9).argmax(1)
    seen = Counter(zip(cells.tolist(), mazes.start.tolist(), mazes.goal.tolist(), strict=True))
    assert agrees(seen, even(itertools.permutations(range(9), 3)))


@pytest.mark.parametrize("walls", [2, 4, 7])
def test_without_replacement_all_subsets_are_alike(walls):
    cells = generate("clutter", 3, 20_000, 2, walls=walls, replace=False).walls.reshape(-1, 9)
    seen = Counter(tuple(np.nonzero(row)[0].tolist()) for row in cells)
    assert agrees(seen, even(itertools.combinations(range(9), walls)))


def test_with_replacement_walls_coincide():
    number = generate("clutter", 13, 50_000, 3).walls.sum((1, 2))
    law = occupied(60, 169)
    usual = [w for w in range(61) if law[w] > 1e-4]
    seen = np.bincount(number, minlength=61)
    rest, chance = len(number) - seen[usual].sum(), 1 - law[usual].sum()
    assert stats.chisquare([*seen[usual], rest], [*(len(number) * law[usual]), len(number) * chance]).pvalue > LUCK
    pairs = generate("clutter", 3, 30_000, 4, walls=2).walls.reshape(-1, 9)
    law = {c: 2 / 81 for c in itertools.combinations(range(9), 2)} | {(c,): 1 / 81 for c in range(9)}
    assert agrees(Counter(tuple(np.nonzero(row)[0].tolist()) for row in pairs), law)


def test_uniform_draws_the_number_of_walls():
    number = generate("uniform", 3, 30_000, 5, walls=5).walls.sum((1, 2))
    law = np.mean([occupied(draws, 9) for draws in range(6)], 0)
    assert agrees(Counter(number.tolist()), {w: law[w] for w in range(6)})
    cells = generate("uniform", 3, 30_000, 5, walls=2).walls.reshape(-1, 9)  # the number and the places are independent
    law = {(): 1 / 3} | {(c,): (1 / 9 + 1 / 81) / 3 for c in range(9)} | {c: 2 / 243 for c in itertools.combinations(range(9), 2)}
    assert agrees(Counter(tuple(np.nonzero(row)[0].tolist()) for row in cells), law)


@pytest.mark.parametrize("size, count", [(3, 50), (5, 50), (13, 50), (101, 2)])
def test_perfect_mazes_are_spanning_trees(size, count):
    rooms = ((size + 1) // 2) ** 2
    for walls in generate("perfect", size, count, 6).walls:
        assert not walls[::2, ::2].any() and walls[1::2, 1::2].all()
        doors = (~walls).sum() - rooms
        assert doors == rooms - 1 and len(reached(walls)) == rooms + doors  # connected, with one edge less than rooms: a tree


def kruskal(side: int) -> dict[frozenset, float]:
    """The law of the tree: the next wall to fall is any of those between rooms that do not hang together yet, all alike."""
    rooms = list(itertools.product(range(side), repeat=2))
    edges = [(a, b) for a, b in itertools.combinations(rooms, 2) if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1]
    layer = {frozenset(): (1.0, {room: room for room in rooms})}
    for _ in range(len(rooms) - 1):
        following: dict[frozenset, tuple[float, dict]] = {}
        for tree, (chance, group) in layer.items():
            useful = [(a, b) for a, b in edges if group[a] != group[b]]
            for a, b in useful:
                grown = tree | {(a[0] + b[0], a[1] + b[1])}  # the cell of the wall between them
                merged = {room: group[a] if g == group[b] else g for room, g in group.items()}
                before = following.get(grown, (0.0, merged))[0]
                following[grown] = before + chance / len(useful), merged
        layer = following
    return {tree: chance for tree, (chance, _) in layer.items()}


@pytest.mark.parametrize("size, trees", [(3, 4), (5, 192)])
def test_perfect_mazes_follow_kruskals_law(size, trees):
    law = kruskal((size + 1) // 2)
    assert len(law) == trees and sum(law.values()) == pytest.approx(1)
    walls = generate("perfect", size, 40_000, 7).walls
    doors = [frozenset((int(y), int(x)) for y, x in np.argwhere(~w) if (y + x) % 2) for w in walls]
    assert agrees(Counter(doors), law) and len(set(doors)) == trees


def test_perfect_starts_and_goals():
    mazes = generate("perfect", 7, 12_000, 8, corners=True)
    seen = Counter(zip(mazes.start.tolist(), mazes.goal.tolist(), strict=True))
    assert agrees(seen, even(itertools.permutations((0, 6, 42, 48), 2)))
    assert agrees(Counter(mazes.heading.tolist()), even(range(4)))
    other = generate("perfect", 7, 12_000, 8)
    assert np.array_equal(other.walls, mazes.walls)
    seen = Counter(zip(ranks(other, other.start), ranks(other, other.goal), strict=True))  # among the 31 free cells
    assert agrees(seen, even(itertools.permutations(range(31), 2)))


@pytest.mark.parametrize("name, size, free, layouts", [("perfect", 3, 7, 4), ("four-rooms", 3, 8, 1), ("four-rooms", 5, 20, 16)])
def test_places_do_not_depend_on_the_walls(name, size, free, layouts):
    mazes = generate(name, size, 30_000, 12)
    walls = [w.tobytes() for w in mazes.walls]
    assert len(set(walls)) == layouts
    for x, count in ((ranks(mazes, mazes.start), free), (ranks(mazes, mazes.goal), free), (mazes.heading.tolist(), 4)):
        assert agrees(Counter(zip(walls, x, strict=True)), even(itertools.product(set(walls), range(count))))


def test_four_rooms():
    walls = generate("four-rooms", 5, 16_000, 9).walls
    cross = np.zeros((5, 5), bool)
    cross[2] = cross[:, 2] = True
    assert not walls[:, ~cross].any() and walls[:, 2, 2].all()
    doors = Counter(tuple(sorted((int(y), int(x)) for y, x in np.argwhere(~w & cross))) for w in walls)
    halves = [[(2, 0), (2, 1)], [(2, 3), (2, 4)], [(0, 2), (1, 2)], [(3, 2), (4, 2)]]
    assert agrees(doors, even(tuple(sorted(d)) for d in itertools.product(*halves)))
    mazes = generate("four-rooms", 17, 200, 9)
    assert all(w.sum() == 29 and len(reached(w)) == 17 * 17 - 29 for w in mazes.walls)


def crossing_law(size: int, count: int) -> dict[bytes, float]:
    """MiniGrid's recipe with all that it may draw: rivers, a shuffled list of directions, a cell for every gap."""
    law: Counter = Counter()
    rivers = [(kind, at) for kind in "hv" for at in range(1, size, 2)]
    for chosen in itertools.combinations(rivers, count):
        lines = {kind: [-1, *(at for k, at in chosen if k == kind), size] for kind in "hv"}
        walls = np.zeros((size, size), bool)
        walls[lines["h"][1:-1]] = True
        walls[:, lines["v"][1:-1]] = True
        orders = list(itertools.permutations(kind for kind, _ in chosen))
        for order in orders:
            open_gaps(law, walls, lines, order, {"h": 0, "v": 0}, 1.0 / len(orders))
    total = sum(law.values())
    return {maze: p / total for maze, p in law.items()}


def open_gaps(law, walls, lines, order, room, chance):
    if not order:
        law[walls.tobytes()] += chance
        return
    kind, other = order[0], "v" if order[0] == "h" else "h"
    river = lines[kind][room[kind] + 1]
    cells = range(lines[other][room[other]] + 1, lines[other][room[other] + 1])
    for cell in cells:
        opened = walls.copy()
        opened[(river, cell) if kind == "h" else (cell, river)] = False
        open_gaps(law, opened, lines, order[1:], room | {kind: room[kind] + 1}, chance / len(cells))


@pytest.mark.parametrize("size, rivers", [(3, 2), (5, 1), (5, 2), (5, 3), (5, 4)])
def test_crossings_follow_minigrids_law(size, rivers):
    walls = generate("crossings", size, 20_000, 10, rivers=rivers).walls
    assert agrees(Counter(w.tobytes() for w in walls), crossing_law(size, rivers))


def test_crossings_of_the_usual_size():
    mazes = generate("crossings", 9, 3000, 11)
    full = [(w.sum(1) == 8, w.sum(0) == 8) for w in mazes.walls]  # a river has one gap; other rows have at most four walls
    chosen = Counter((*np.nonzero(rows)[0].tolist(), *(-np.nonzero(columns)[0]).tolist()) for rows, columns in full)
    assert agrees(chosen, even(itertools.combinations([1, 3, 5, 7, -1, -3, -5, -7], 5)))
    for (rows, columns), walls in zip(full, mazes.walls, strict=True):
        assert not walls[np.ix_(~rows, ~columns)].any() and (8, 8) in reached(walls)
    assert not generate("crossings", 9, 1, rivers=0).walls.any()
    assert (mazes.start == 0).all() and (mazes.goal == 80).all() and (mazes.heading == 0).all()


@pytest.mark.parametrize(
    "name, size, params, message",
    [
        ("cluter", 13, {}, "maze generator 'cluter' is unknown; did you mean 'clutter'"),
        ("clutter", 13, {"wall": 3}, "clutter: parameter 'wall' is unknown; did you mean 'walls'"),
        ("empty", 13, {"walls": 3}, "empty: parameter 'walls' is unknown; there are none"),
        ("clutter", 13, {"key": 3}, "parameter 'key' is unknown"),
        ("clutter", 7, {}, r"walls \(of 7 x 7 cells\) is 60; allowed are whole numbers from 0 to 47"),
        ("uniform", 3, {"walls": 8}, r"is 8; allowed are whole numbers from 0 to 7"),
        ("clutter", 13, {"walls": -1}, "is -1"),
        ("clutter", 13, {"replace": 1}, "replace is 1; allowed are True and False"),
        ("perfect", 13, {"corners": "yes"}, "corners is 'yes'"),
        ("perfect", 12, {}, "size is 12; allowed for 'perfect' are odd numbers"),
        ("four-rooms", 4, {}, "size is 4; allowed for 'four-rooms'"),
        ("crossings", 10, {}, "size is 10; allowed for 'crossings'"),
        ("crossings", 5, {}, r"rivers \(of size 5\) is 5; allowed are whole numbers from 0 to 4"),
        ("empty", 2, {}, "size is 2; allowed are whole numbers from 3 to 101"),
        ("empty", 103, {}, "size is 103"),
        ("empty", 13, {"count": -1}, "count is -1"),
        ("empty", 13, {"seed": -1}, "seed is -1"),
        ("empty", 13, {"first": 2**32 - 4}, "first is 4294967292; allowed are whole numbers from 0 to 4294967291"),
    ],
)
def test_mistakes(name, size, params, message):
    with pytest.raises(UsageError, match=message):
        generate(name, size, **{"count": 5, **params})


def test_every_generator_is_tested():
    assert {name for name, *_ in KINDS} == set(GENERATORS)
    assert len(pick(generate("empty", 3, 0), []).goal) == 0
