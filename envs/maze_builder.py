"""The world of a teacher who builds mazes (Dennis et al. 2020, PAIRED): it places walls one by one, then the goal, last the agent.

An action is a cell. A wall on a wall changes nothing; goal and agent clear the cell they are put on; an agent put on the goal goes to a
random free cell, facing anywhere. What is built is seen whole, with the number of pieces placed and 50 random bits that change from maze
to maze, so that the same teacher builds different ones. The last piece placed, the world stands still: what a maze was worth is told by
those who play it.
"""

import sys
from typing import Any

import numpy as np
from torch import Tensor

from interplay.envs import dice, maze
from interplay.envs.bits import emit, finish
from interplay.envs.core import Section, World, whole
from interplay.envs.engine import Batch
from interplay.envs.grid import bit, plane_bytes, unpack_planes
from interplay.envs.maze_levels import Mazes
from interplay.envs.rule import rule

NOISE = 50
PIECE = 24  # bits of a view that are written at once
NOWHERE = -1


def world(size: int = 13, walls: int = 60) -> World:
    """Mazes of `size` x `size` cells; `walls` are placed, then goal and agent."""
    n, pieces = whole("size", size, 2, 101), whole("walls", walls, 0, 1000) + 2
    cells = n * n
    parts, at, sections = {"walls": cells, "goal": cells, "placed": pieces + 1, "noise": NOISE}, 0, []
    for name, width in parts.items():
        sections.append(Section(name, at, at + width))
        at += width
    return World(
        name="maze-builder",
        rules=sys.modules[__name__],
        agents=1,
        actions=cells,
        observation=(at,),
        level=[("side", "i1"), ("pieces", "i4")],
        state=[
            ("walls", "u1", (plane_bytes(n),)),
            ("goal", "i2"),
            ("start", "i2"),
            ("heading", "i1"),
            ("placed", "i4"),
            ("noise", "u4", (2,)),
        ],
        default={"side": n, "pieces": pieces},
        limits={"side": (n, n), "pieces": (pieces, pieces)},
        packed=True,
        sections=tuple(sections),
    )


@rule
def reset(w):
    """An empty grid, and fresh noise."""
    for k in range(w.walls.shape[0]):
        w.walls[k] = 0
    w.goal, w.start, w.heading, w.placed = NOWHERE, NOWHERE, 0, 0
    for k in range(2):
        w.noise[k] = dice.word(w)


@rule
def clear(walls, cell):
    """Take a wall away."""
    walls[cell >> 3] = int(walls[cell >> 3]) & ~(1 << (cell & 7)) & 0xFF


@rule
def step(w, action, reward):
    """Place the next piece."""
    cell, cells = int(action[0]), int(w.side) * int(w.side)
    reward[0] = 0
    if w.placed < w.pieces - 2:
        w.walls[cell >> 3] = int(w.walls[cell >> 3]) | 1 << (cell & 7)
    elif w.placed == w.pieces - 2:
        clear(w.walls, cell)
        w.goal = cell
    elif w.placed == w.pieces - 1:
        if cell == w.goal:
            cell = free(w, cells)
        clear(w.walls, cell)
        w.start, w.heading = cell, dice.below(w, 4)
    if w.placed < w.pieces:
        w.placed += 1
    return False, False


@rule
def free(w, cells):
    """A random free cell that is not the goal; any other cell where there is none."""
    count = 0
    for k in range(cells):
        count += 1 if k != w.goal and not bit(w.walls, k) else 0
    if count == 0:
        return (int(w.goal) + 1 + dice.below(w, cells - 1)) % cells
    left = dice.below(w, count)
    for k in range(cells):
        if k != w.goal and not bit(w.walls, k):
            if left == 0:
                return k
            left -= 1
    return 0


@rule
def observe(w, p, out):
    """Walls, goal, pieces placed, noise."""
    cells, to = int(w.side) * int(w.side), (0, 0, 0)
    for k in range(0, cells, 8):
        to = emit(out, to, int(w.walls[k >> 3]), min(8, cells - k))
    goal = int(w.goal)
    for k in range(0, cells, PIECE):
        to = emit(out, to, 1 << (goal - k) if k <= goal < k + PIECE else 0, min(PIECE, cells - k))
    placed = int(w.placed)
    for k in range(0, int(w.pieces) + 1, PIECE):
        to = emit(out, to, 1 << (placed - k) if k <= placed < k + PIECE else 0, min(PIECE, int(w.pieces) + 1 - k))
    for k in range(2):
        to = emit(out, to, int(w.noise[k]) & 0x1FFFFFF, NOISE // 2)
    finish(out, to)


def built(batch: Batch, target: World) -> Tensor:
    """The levels `[N, level bytes]` of a maze world that a batch of builders has finished."""
    w: Any = batch.memory.cpu().numpy().view(batch.world.record).reshape(batch.n)
    walls = unpack_planes(np.ascontiguousarray(w["walls"]), batch.world.default["side"])
    return maze.pack(target, Mazes(walls, *(w[name].astype(np.int64) for name in ("goal", "start", "heading"))))
