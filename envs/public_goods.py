"""The public-goods game: the tragedy of the commons among n players.

Each round everybody keeps one coin (0) or gives it (1). What is given is multiplied by `factor` and shared among all. With
1 < factor < n giving helps the group and costs the giver.
"""

import sys
from numbers import Real

import numpy as np

from interplay.envs.core import UsageError, World, whole
from interplay.envs.rule import rule


def world(players: int = 4, factor: float = 2.0, rounds: int = 100) -> World:
    """The iterated game of `players` players; an agent sees its own last move and how many of the others gave."""
    n = whole("players", players, 2, 64)
    if not isinstance(factor, Real) or not 0.0 < factor < 1e6:
        raise UsageError(f"factor is {factor!r}; allowed are numbers above 0, and below 1e6 (a dilemma lies between 1 and {n})")
    return World(
        name="public-goods",
        rules=sys.modules[__name__],
        agents=n,
        actions=2,
        observation=(3 + n,),
        level=[("factor", "f4"), ("rounds", "i4")],
        state=[("turn", "i4"), ("gave", "i1", (n,)), ("total", "i4")],
        default={"factor": factor, "rounds": whole("rounds", rounds, 1, 2**31 - 1)},
        limits={"rounds": (1, 2**31 - 1)},
        action_names=("keep", "give"),
    )


@rule
def reset(w):
    """Nobody has moved."""
    w.turn = 0
    w.total = 0
    for p in range(w.gave.shape[0]):
        w.gave[p] = -1


@rule
def step(w, action, reward):
    """Collect, multiply, share."""
    n = w.gave.shape[0]
    total = 0
    for p in range(n):
        w.gave[p] = action[p]
        total += action[p]
    w.total = total
    share = w.factor * np.float32(total) / np.float32(n)
    for p in range(n):
        reward[p] = share + np.float32(1 - action[p])
    w.turn += 1
    return False, w.turn >= w.rounds


@rule
def observe(w, p, out):
    """One-hot of the own last move (none, kept, gave), then one-hot of how many others gave (all zero before the first round)."""
    out[:] = 0
    out[1 + w.gave[p]] = 1
    if w.turn > 0:
        out[3 + w.total - w.gave[p]] = 1
