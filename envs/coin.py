"""The Coin Game (Lerer & Peysakhovich 2017): a coin of your own colour costs nobody, one of the other's costs them 2.

The corrected rules of LOLA's authors: two agents on a torus, four moves, one coin; whoever stands on it takes it, and where both do,
both take it (no colour is favoured); a new coin has the other colour and appears where nobody stands; agents start apart.
"""

import sys

import numpy as np

from interplay.envs import dice
from interplay.envs.core import World, whole
from interplay.envs.rule import rule

MOVES = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])


def world(size: int = 3, rounds: int = 150, egocentric: bool = False) -> World:
    """The Coin Game on a `size` x `size` torus.

    Planes of a view: red, blue, red coin, blue coin; `egocentric`: me, the other, my coin, the other's coin, shifted so that I stand
    in the middle.
    """
    n = whole("size", size, 2, 64)
    return World(
        name="coin",
        rules=sys.modules[__name__],
        agents=2,
        actions=4,
        observation=(4, n, n),
        level=[("rounds", "i4"), ("side", "i1"), ("egocentric", "i1")],
        state=[("turn", "i4"), ("at", "i1", (2, 2)), ("coin", "i1", (2,)), ("owner", "i1")],
        default={"side": n, "rounds": whole("rounds", rounds, 1, 2**31 - 1), "egocentric": bool(egocentric)},
        limits={"rounds": (1, 2**31 - 1), "side": (n, n), "egocentric": (0, 1)},
        action_names=("down", "up", "right", "left"),
    )


@rule
def reset(w):
    """Two agents on two squares, a coin of either colour."""
    n = int(w.side)
    w.turn = 0
    w.owner = dice.below(w, 2)
    square = dice.below(w, n * n)
    other = (square + 1 + dice.below(w, n * n - 1)) % (n * n)
    w.at[0, 0], w.at[0, 1] = square // n, square % n
    w.at[1, 0], w.at[1, 1] = other // n, other % n
    place(w)


@rule
def place(w):
    """Put the coin on a square where nobody stands: the k-th free one, so that one roll is enough."""
    n = int(w.side)
    # int(): in plain Python (the debugger, the simulator) arithmetic on one-byte fields would overflow; compiled code widens them
    red, blue = int(w.at[0, 0]) * n + int(w.at[0, 1]), int(w.at[1, 0]) * n + int(w.at[1, 1])
    low, high = min(red, blue), max(red, blue)
    square = dice.below(w, n * n - (1 if red == blue else 2))
    if square >= low:
        square += 1
    if low != high and square >= high:
        square += 1
    w.coin[0], w.coin[1] = square // n, square % n


@rule
def holds(w, p):
    """Does agent p stand on the coin?"""
    return w.at[p, 0] == w.coin[0] and w.at[p, 1] == w.coin[1]


@rule
def step(w, action, reward):
    """Both move; coins are taken; a taken coin comes back in the other colour."""
    n = int(w.side)
    reward[0] = 0
    reward[1] = 0
    for p in range(2):
        for k in range(2):
            w.at[p, k] = (w.at[p, k] + MOVES[action[p], k] + n) % n
    taken = False
    for p in range(2):
        if holds(w, p):
            taken = True
            reward[p] += 1
            if p != w.owner:
                reward[w.owner] -= 2
    if taken:
        w.owner = 1 - w.owner
        place(w)
    w.turn += 1
    return False, w.turn >= w.rounds


@rule
def observe(w, p, out):
    """Four planes with one or no square set."""
    out[:] = 0
    n = int(w.side)
    me, dx, dy = 0, 0, 0
    if w.egocentric:
        me, dx, dy = p, n // 2 + n - int(w.at[p, 0]), n // 2 + n - int(w.at[p, 1])
    for k in range(2):
        q = (me + k) % 2
        out[k, (int(w.at[q, 0]) + dx) % n, (int(w.at[q, 1]) + dy) % n] = 1
    out[2 + (w.owner + me) % 2, (int(w.coin[0]) + dx) % n, (int(w.coin[1]) + dy) % n] = 1
