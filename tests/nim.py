"""Nim, a world of the tests: turns are taken, moves are illegal where a heap is too small, and whoever takes the last stick wins."""

import sys

from interplay.envs import dice
from interplay.envs.core import World
from interplay.envs.rule import rule


def world(heaps: int = 3, most: int = 4, rounds: int = 1000) -> World:
    """`heaps` heaps of 1 to `most` sticks; move `heap * most + k - 1` takes k; a view is the heaps; truncated after `rounds` moves."""
    return World(
        name="nim",
        rules=sys.modules[__name__],
        agents=2,
        actions=heaps * most,
        observation=(heaps,),
        level=[("most", "i4"), ("rounds", "i4")],
        state=[("turn", "i4"), ("heaps", "i4", (heaps,))],
        default={"most": most, "rounds": rounds},
        high=most,
    )


@rule
def reset(w):
    w.turn = 0
    for k in range(w.heaps.shape[0]):
        w.heaps[k] = 1 + dice.below(w, w.most)


@rule
def step(w, action, reward):
    mover = w.turn % 2
    move = action[mover]
    w.heaps[move // w.most] -= move % w.most + 1
    w.turn += 1
    left = 0
    for k in range(w.heaps.shape[0]):
        left += w.heaps[k]
    reward[mover] = 1 if left == 0 else 0
    reward[1 - mover] = -1 if left == 0 else 0
    return left == 0, left > 0 and w.turn >= w.rounds


@rule
def observe(w, p, out):
    for k in range(out.shape[0]):
        out[k] = w.heaps[k]


@rule
def acting(w, p):
    return w.turn % 2 == p


@rule
def legal(w, p, out):
    for k in range(out.shape[0]):
        out[k] = acting(w, p) and w.heaps[k // w.most] > k % w.most
