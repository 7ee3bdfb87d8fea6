"""Stochastic Fruit Choice (Jiang et al. 2022, SAMPLR): an apple and a banana lie in the last of some rooms; only one of them pays.

Which one is right is the level's secret, and no view tells. So whoever eats can only go by how often each is right: a curriculum that
shows one of them more often than the truth does misleads. Going onto a fruit eats it and ends the game. Running out of time terminates
too, with nothing paid: were the game cut instead, a student would bootstrap from its last view, and not eating would be worth as much
as eating later. So the limit belongs to the rules. The paper's sizes are not fixed here: rooms, pays and chances are parameters.

A view: walls, apple and banana among 5 x 5 cells, and the heading, as bits (`envs.grid`).
"""

import sys
from numbers import Real
from typing import Any

import numpy as np

from interplay.envs.bits import emit, finish
from interplay.envs.core import Section, UsageError, World, whole
from interplay.envs.grid import CELLS, STATE, bit, moves, pack_planes, plane_bytes, reset, thing_seen, turn, wall_at, walls_seen
from interplay.envs.rule import rule

APPLE, BANANA = 0, 1
PLANES = ("walls", "apple", "banana")
WHERE = [("start", "i2"), ("apple", "i2"), ("banana", "i2"), ("heading", "i1")]
RULES = [("truth", "i1"), ("side", "i1"), ("rounds", "i4"), ("pays", "f4", (2,))]
THINGS = ("start", "apple", "banana")
LARGEST = float(np.finfo(np.float32).max)

__all__ = ["edit", "observe", "reset", "step", "world"]


def world(rooms: int = 1, room: int = 3, rounds: int = 0, actions: int = 3, apple: float = 3.0, banana: float = 10.0) -> World:
    """`rooms` rooms of `room` x `room` cells side by side, with one door between neighbours, across the middle of a square of walls.

    Args:
        rooms, room: the square has rooms * (room + 1) - 1 cells on a side, 101 at most.
        rounds: moves of a game at most; 0 for 2 (room + 1)**2 a room, several times what the longest way takes.
        actions: 3 (left, right, forward), or 7, of which the last four do nothing.
        apple, banana: what the right fruit pays, R_A or R_B; the wrong one pays 0.
    """
    many, wide = whole("rooms", rooms, 1, 16), whole("room", room, 2, 32)
    n = many * (wide + 1) - 1
    if n > 101:
        raise UsageError(f"{many} rooms of {wide} cells make a square of {n} cells on a side; allowed are 101 at most")
    names, last, top, cell = moves(actions), 2**31 - 1, (n - wide) // 2, (0, n * n - 1)
    limit = whole("rounds", rounds, 0, last) or 2 * (wide + 1) ** 2 * many
    return World(
        name="fruit",
        rules=sys.modules[__name__],
        agents=1,
        actions=actions,
        observation=(3 * CELLS + 4,),
        level=[("walls", "u1", (plane_bytes(n),)), *WHERE, *RULES],
        state=STATE,
        default={
            "walls": pack_planes(building(many, wide, np.full((1, many - 1), n // 2)))[0],
            **{"start": top * n, "apple": (top + wide) * n - 1, "banana": (top + wide - 1) * n - 1},
            **{"heading": 2, "truth": APPLE, "side": n, "rounds": limit},
            "pays": np.array([pay("apple", apple), pay("banana", banana)], np.float32),
        },
        limits={
            **{"start": cell, "apple": cell, "banana": cell, "heading": (0, 3)},
            **{"truth": (0, 1), "side": (n, n), "rounds": (1, last), "pays": (0, LARGEST)},
        },
        check_levels=check_levels,
        action_names=names,
        packed=True,
        sections=(
            *(Section(name, k * CELLS, k * CELLS + CELLS) for k, name in enumerate(PLANES)),
            Section("heading", 3 * CELLS, 3 * CELLS + 4),
        ),
        picture=picture,
    )


def truths(world: World, levels: Any) -> np.ndarray:
    """Which fruit is right in levels `[K, level bytes]`, `[K]` int64."""
    rows = np.zeros((len(levels), world.record.itemsize), np.uint8)
    rows[:, : world.level_bytes] = levels.numpy()
    return rows.view(world.record).reshape(len(rows))["truth"].astype(np.int64)


def building(rooms: int, room: int, doors: np.ndarray) -> np.ndarray:
    """Walls `[K, n, n]` bool, [row, column], of rooms in a row whose doors `[K, rooms - 1]` are in these rows."""
    n = rooms * (room + 1) - 1
    walls, top = np.ones((len(doors), n, n), bool), (n - room) // 2
    walls[:, top : top + room] = np.arange(n) % (room + 1) == room
    for wall in range(rooms - 1):
        walls[np.arange(len(doors)), doors[:, wall], (wall + 1) * (room + 1) - 1] = False
    return walls


@rule
def step(w, action, reward):
    """Turn, or go ahead; onto a fruit is eating it."""
    reward[0] = 0
    goes, x, y = turn(w, action[0])
    if goes:
        cell = y * int(w.side) + x
        if cell == w.apple or cell == w.banana:
            eaten = BANANA if cell == w.banana else APPLE
            if eaten == w.truth:
                reward[0] = w.pays[eaten]
            return True, False
        w.x, w.y = x, y
    return w.turn >= w.rounds, False


@rule
def edit(w, change):
    """Fruit `change[0]` (0 apple, 1 banana) is the right one from now on, in this world's later games too; any other number: False.

    No view tells which one it was, so every game so far is as likely as before: fictitious transitions are drawn by this.
    """
    if change[0] != APPLE and change[0] != BANANA:
        return False
    w.truth = change[0]
    return True


@rule
def observe(w, p, out):
    """Walls, fruits and heading; not the truth."""
    n, x, y, heading = int(w.side), int(w.x), int(w.y), int(w.facing)
    to = emit(out, (0, 0, 0), walls_seen(w.walls, n, x, y, heading), CELLS)
    to = emit(out, to, thing_seen(int(w.apple) % n, int(w.apple) // n, x, y, heading), CELLS)
    to = emit(out, to, thing_seen(int(w.banana) % n, int(w.banana) // n, x, y, heading), CELLS)
    finish(out, emit(out, to, 1 << heading, 4))


def check_levels(world: World, rows: Any) -> None:
    """A `UsageError` at the first of the records `[K]` whose agent or fruits are in a wall, or two of them on one cell."""
    for k, w in enumerate(rows):
        for what in THINGS:
            if bit(w["walls"], int(w[what])):
                raise UsageError(f"level {k}: its {what} (cell {w[what]}) is a wall; allowed are free cells")
        for one, other in (("apple", "banana"), ("start", "apple"), ("start", "banana")):
            if w[one] == w[other]:
                raise UsageError(f"level {k}: its {one} and {other} are both cell {w[one]}; allowed are different free cells")


def picture(w: Any) -> str:
    """The rooms as they stand: `#` walls, `A` apple, `B` banana, `> v < ^` the agent; and what is right."""
    n = int(w.side)
    cells = ["#" if wall_at(w.walls, n, x, y) else "." for y in range(n) for x in range(n)]
    cells[int(w.apple)], cells[int(w.banana)], cells[int(w.y) * n + int(w.x)] = "A", "B", ">v<^"[int(w.facing)]
    rows = ["".join(cells[y * n : y * n + n]) for y in range(n)]
    return "\n".join([*rows, f"move {int(w.turn)} of {int(w.rounds)}, {PLANES[1 + int(w.truth)]} is right"])


def pay(name: str, value: Any) -> float:
    """`value`, or a `UsageError` if it is no finite number above 0."""
    if not isinstance(value, Real) or not 0 < float(value) <= LARGEST:
        raise UsageError(f"{name} is {value!r}; allowed are finite numbers above 0")
    return float(value)


def chance(name: str, value: Any) -> float:
    """`value`, or a `UsageError` if it is no probability."""
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise UsageError(f"{name} is {value!r}; allowed are probabilities from 0 to 1")
    return float(value)


def values(q: float = 0.7, apple: float = 3.0, banana: float = 10.0) -> tuple[float, float]:
    """What eating each fruit is worth where the apple is right with probability q: (q R_A, (1 - q) R_B)."""
    q = chance("q", q)
    return q * pay("apple", apple), (1 - q) * pay("banana", banana)


def optimum(q: float = 0.7, apple: float = 3.0, banana: float = 10.0) -> int:
    """The fruit to eat, 0 apple or 1 banana: the one that is worth more (of equals the apple)."""
    worth = values(q, apple, banana)
    return APPLE if worth[APPLE] >= worth[BANANA] else BANANA


def indifference(apple: float = 3.0, banana: float = 10.0) -> float:
    """The q* from which on the apple is the one to eat: q* R_A = (1 - q*) R_B, so q* = R_B / (R_A + R_B)."""
    return pay("banana", banana) / (pay("apple", apple) + pay("banana", banana))
