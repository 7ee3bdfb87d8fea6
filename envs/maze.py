"""The maze of the literature on environment design (Chevalier-Boisvert et al. 2018; Dennis et al. 2020): find the goal on a walled grid.

The agent turns left, turns right or goes ahead (four more moves of the 7-action variant do nothing); into a wall it stays. Reaching
the goal ends the game and pays 1 - 0.9 t / T for the t-th move, T the time limit. The reward counts the time, so the limit belongs to
the rules: running out of time terminates, with nothing paid.

A view: the walls of 5 x 5 cells, the goal among them, and the heading, as bits (`envs.grid`; `policies.grid_network` makes the
published picture of it). The agent's own cell is shown as empty. A level: walls as bits, goal, start and heading.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from interplay.envs.bits import emit, finish
from interplay.envs.core import Section, UsageError, World, whole
from interplay.envs.grid import (
    CELLS,
    STATE,
    bit,
    moves,
    pack_planes,
    plane_bytes,
    reset,
    thing_seen,
    turn,
    unpack_planes,
    wall_at,
    walls_seen,
)
from interplay.envs.maze_levels import Mazes
from interplay.envs.rule import rule

__all__ = ["observe", "reset", "step", "world"]


def world(size: int = 13, rounds: int = 250, actions: int = 7) -> World:
    """Mazes of `size` x `size` cells without a border, of `rounds` moves at most; by default empty, from corner to corner."""
    n, names = whole("size", size, 2, 101), moves(actions)
    return World(
        name="maze",
        rules=sys.modules[__name__],
        agents=1,
        actions=actions,
        observation=(2 * CELLS + 4,),
        level=[
            ("walls", "u1", (plane_bytes(n),)),
            ("goal", "i2"),
            ("start", "i2"),
            ("heading", "i1"),
            ("side", "i1"),
            ("rounds", "i4"),
        ],
        state=STATE,
        default={"walls": 0, "goal": n * n - 1, "start": 0, "heading": 0, "side": n, "rounds": whole("rounds", rounds, 1, 2**31 - 1)},
        limits={"goal": (0, n * n - 1), "start": (0, n * n - 1), "heading": (0, 3), "side": (n, n), "rounds": (1, 2**31 - 1)},
        check_levels=check_levels,
        action_names=names,
        packed=True,
        sections=(Section("walls", 0, CELLS), Section("goal", CELLS, 2 * CELLS), Section("heading", 2 * CELLS, 2 * CELLS + 4)),
        picture=picture,
    )


@rule
def step(w, action, reward):
    """Turn, or go ahead; the goal pays the more the earlier."""
    reward[0] = 0
    goes, x, y = turn(w, action[0])
    if goes:
        if y * int(w.side) + x == w.goal:
            reward[0] = np.float32(1) - np.float32(0.9) * np.float32(w.turn) / np.float32(w.rounds)
            return True, False
        w.x, w.y = x, y
    return w.turn >= w.rounds, False


@rule
def observe(w, p, out):
    """Walls, goal and heading."""
    n, x, y, heading = int(w.side), int(w.x), int(w.y), int(w.facing)
    to = emit(out, (0, 0, 0), walls_seen(w.walls, n, x, y, heading), CELLS)
    to = emit(out, to, thing_seen(int(w.goal) % n, int(w.goal) // n, x, y, heading), CELLS)
    finish(out, emit(out, to, 1 << heading, 4))


def check_levels(world: World, rows: Any) -> None:
    """A `UsageError` at the first of the records `[K]` whose agent or goal is in a wall, or on the other."""
    for k, w in enumerate(rows):
        for what in ("goal", "start"):
            if bit(w["walls"], int(w[what])):
                raise UsageError(f"level {k}: its {what} (cell {w[what]}) is a wall; allowed are free cells")
        if w["goal"] == w["start"]:
            raise UsageError(f"level {k}: its agent starts on the goal (cell {w['goal']}); allowed are two different free cells")


def pack(world: World, mazes: Mazes) -> Tensor:
    """The levels `[K, level bytes]` uint8 of mazes, with the world's time limit. They are not checked (`maze_levels.check`)."""
    side = world.default["side"]
    if mazes.walls.shape[1:] != (side, side):
        raise UsageError(f"mazes have {mazes.walls.shape[1]} x {mazes.walls.shape[2]} cells; allowed here are {side} x {side}")
    rows = np.zeros(len(mazes.walls), world.record)
    for name, value in world.default.items():
        rows[name] = value
    rows["walls"], rows["goal"], rows["start"], rows["heading"] = pack_planes(mazes.walls), mazes.goal, mazes.start, mazes.heading
    return torch.from_numpy(rows.view(np.uint8).reshape(len(rows), -1)[:, : world.level_bytes].copy())


def unpack(world: World, levels: Tensor) -> Mazes:
    """The mazes of levels `[K, level bytes]`."""
    rows = np.zeros((len(levels), world.record.itemsize), np.uint8)
    rows[:, : world.level_bytes] = levels.numpy()
    rows = rows.view(world.record).reshape(len(rows))
    walls = unpack_planes(rows["walls"], world.default["side"])
    return Mazes(walls, *(rows[name].astype(np.int64) for name in ("goal", "start", "heading")))


def picture(w: Any) -> str:
    """The maze as it stands: `#` walls, `G` the goal, `> v < ^` the agent."""
    n = int(w.side)
    cells = [["#" if wall_at(w.walls, n, x, y) else "." for x in range(n)] for y in range(n)]
    cells[int(w.goal) // n][int(w.goal) % n] = "G"
    cells[int(w.y)][int(w.x)] = ">v<^"[int(w.facing)]
    return "\n".join(map("".join, cells)) + f"\nmove {int(w.turn)} of {int(w.rounds)}"
