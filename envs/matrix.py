"""Iterated matrix games: two players move at once, see both moves, and play the same payoffs again.

Moves are numbered as in the payoff table; in the classic 2x2 games 0 is cooperate and 1 is defect. A player sees a one-hot of
length 1 + m*n: 0 before the first round, then 1 + (own move) * (moves of the other) + (the other's move).
"""

import sys
from numbers import Real
from typing import Any

import numpy as np

from interplay.envs import dice
from interplay.envs.core import UsageError, World, did_you_mean, whole
from interplay.envs.rule import rule

# payoff[player][first player's move][second player's move]
CLASSICS: dict[str, Any] = {
    "ipd": [[[-1, -3], [0, -2]], [[-1, 0], [-3, -2]]],
    "imp": [[[1, -1], [-1, 1]], [[-1, 1], [1, -1]]],
    "chicken": [[[0, -1], [1, -100]], [[0, 1], [-1, -100]]],
    "stag-hunt": [[[4, 1], [3, 2]], [[4, 3], [1, 2]]],
}
NAMES = {
    "ipd": ("cooperate", "defect"),
    "imp": ("heads", "tails"),
    "chicken": ("swerve", "straight"),
    "stag-hunt": ("stag", "hare"),
}


def world(game: str = "ipd", payoff: Any = None, rounds: int = 150, stop: float = 0.0) -> World:
    """An iterated matrix game.

    Args:
        game: one of `CLASSICS`, the prisoner's dilemma by default; a `payoff` goes before it.
        payoff: `[2, m, n]`, to player p when the first plays row a and the second column b; or `[2, k*k]`, the joint moves
            in the order CC, CD, DC, DD of the literature.
        rounds: after so many rounds the game is truncated.
        stop: probability that a round is the last (the game then *terminates*): 1 - gamma makes undiscounted returns the discounted value.
    """
    if game not in CLASSICS:
        raise UsageError(f"game {game!r} is unknown{did_you_mean(game, CLASSICS)}")
    table = payoff_table(CLASSICS[game] if payoff is None else payoff)
    if not isinstance(stop, Real) or not 0.0 <= stop <= 1.0:
        raise UsageError(f"stop is {stop!r}; allowed are probabilities from 0 to 1")
    _, m, n = table.shape
    return World(
        name=game if payoff is None else "matrix",
        rules=sys.modules[__name__],
        agents=2,
        actions=max(m, n),
        observation=(1 + m * n,),
        level=[("payoff", "f4", (2, m, n)), ("stop", "f4"), ("rounds", "i4")],
        state=[("turn", "i4"), ("seen", "i4", (2,))],  # seen: which entry of a player's view is 1
        default={"payoff": table, "stop": stop, "rounds": whole("rounds", rounds, 1, 2**31 - 1)},
        limits={"rounds": (1, 2**31 - 1), "stop": (0, 1)},
        action_names=NAMES[game] if payoff is None else (),
        constant=("legal",) if m == n else (),
    )


def payoff_table(payoff: Any) -> np.ndarray:
    """A user's payoffs as float32 `[2, m, n]`; `UsageError` on a wrong shape or a number that is not finite."""
    try:
        with np.errstate(over="ignore"):  # told below as not finite
            table = np.asarray(payoff, np.float32)
    except (TypeError, ValueError):
        raise UsageError(f"payoff is not a table of numbers: {payoff!r}; allowed are [2, m, n] or [2, k*k]") from None
    if table.ndim == 2 and table.shape[0] == 2 and round(table.shape[1] ** 0.5) ** 2 == table.shape[1]:
        k = round(table.shape[1] ** 0.5)
        table = table.reshape(2, k, k)
    if table.ndim != 3 or table.shape[0] != 2 or min(table.shape) < 1 or max(table.shape) > 64:
        raise UsageError(f"payoff has shape {list(np.shape(payoff))}; allowed are [2, m, n] or [2, k*k], with 1 to 64 moves a player")
    if not np.isfinite(table).all():
        raise UsageError("payoff has entries that are not finite; allowed are finite numbers")
    return table


@rule
def reset(w):
    """Before the first round nobody has moved."""
    w.turn = 0
    w.seen[0] = 0
    w.seen[1] = 0


@rule
def step(w, action, reward):
    """Both move, both are paid."""
    a, b = action[0], action[1]
    payoff = w.payoff
    reward[0] = payoff[0, a, b]
    reward[1] = payoff[1, a, b]
    w.seen[0] = 1 + a * payoff.shape[2] + b
    w.seen[1] = 1 + b * payoff.shape[1] + a
    w.turn += 1
    ended = False
    if w.stop > 0:
        ended = dice.unit(w) < w.stop
    return ended, not ended and w.turn >= w.rounds


@rule
def observe(w, p, out):
    """One-hot of the last joint move, own move first."""
    seen = w.seen[p]
    for k in range(out.shape[0]):
        out[k] = k == seen


@rule
def legal(w, p, out):
    """A player has the moves of its own side of the table."""
    moves = w.payoff.shape[1] if p == 0 else w.payoff.shape[2]
    for k in range(out.shape[0]):
        out[k] = k < moves
