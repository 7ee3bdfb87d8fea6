"""The lever game (Hu et al. 2020, Other-Play): all pull at once; the same lever pays what is written on it, different ones nothing.

Nine levers pay 1.0 and one pays 0.9: self-play picks one of the nine arbitrarily, the only choice that works with a stranger is the
tenth.
"""

import sys
from typing import Any

import numpy as np

from interplay.envs.core import UsageError, World, whole
from interplay.envs.rule import rule

PAYS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9)


def world(pays: Any = PAYS, rounds: int = 1, players: int = 2) -> World:
    """The game for `players` players, one-shot by default; an agent sees its own last lever and that of each other player."""
    try:
        with np.errstate(over="ignore"):  # told below as not finite
            table = np.asarray(pays, np.float32)
    except (TypeError, ValueError):
        raise UsageError(f"pays is not a list of numbers: {pays!r}") from None
    if table.ndim != 1 or not 2 <= len(table) <= 1024 or not np.isfinite(table).all():
        raise UsageError(f"pays has shape {list(table.shape)} or entries that are not finite; allowed are 2 to 1024 finite numbers")
    n, k = whole("players", players, 2, 16), len(table)
    return World(
        name="lever",
        rules=sys.modules[__name__],
        agents=n,
        actions=k,
        observation=(1 + n * k,),
        level=[("pays", "f4", (k,)), ("rounds", "i4")],
        state=[("turn", "i4"), ("pulled", "i2", (n,))],
        default={"pays": table, "rounds": whole("rounds", rounds, 1, 2**31 - 1)},
        limits={"rounds": (1, 2**31 - 1)},
        action_names=tuple(f"lever {i}" for i in range(k)),
    )


@rule
def reset(w):
    """No lever has been pulled."""
    w.turn = 0
    for p in range(w.pulled.shape[0]):
        w.pulled[p] = -1


@rule
def step(w, action, reward):
    """Everybody pulls; agreement pays."""
    agree = True
    for p in range(w.pulled.shape[0]):
        w.pulled[p] = action[p]
        agree = agree and action[p] == action[0]
    for p in range(w.pulled.shape[0]):
        reward[p] = w.pays[action[0]] if agree else np.float32(0)
    w.turn += 1
    return w.turn >= w.rounds, False


@rule
def observe(w, p, out):
    """1 before the first round; then a one-hot of the lever of each player, myself first."""
    out[:] = 0
    n, k = w.pulled.shape[0], w.pays.shape[0]
    if w.turn == 0:
        out[0] = 1
        return
    for j in range(n):
        out[1 + j * k + w.pulled[(p + j) % n]] = 1
