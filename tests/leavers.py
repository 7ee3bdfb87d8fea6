"""A world of the tests whose players leave one by one: all move at once; staying pays 1, leaving 5, the bonus of every other turn 2."""

import sys

from interplay.envs import dice
from interplay.envs.core import World
from interplay.envs.rule import rule

STAY, LEAVE, BONUS = range(3)


def world(players: int = 3, rounds: int = 6) -> World:
    """A view is: bonus or none, a coin toss, and who is still there, myself first. Terminated when all have left."""
    return World(
        name="leavers",
        rules=sys.modules[__name__],
        agents=players,
        actions=3,
        observation=(3 + players,),
        level=[("rounds", "i4")],
        state=[("turn", "i4"), ("toss", "i4"), ("gone", "i1", (players,))],
        default={"rounds": rounds},
        action_names=("stay", "leave", "bonus"),
    )


@rule
def reset(w):
    w.turn = 0
    w.toss = dice.below(w, 2)
    for p in range(w.gone.shape[0]):
        w.gone[p] = 0


@rule
def step(w, action, reward):
    here = 0
    for p in range(w.gone.shape[0]):
        reward[p] = 0
        if not w.gone[p]:
            reward[p] = 5 if action[p] == LEAVE else (2 if action[p] == BONUS else 1)
            w.gone[p] = action[p] == LEAVE
        here += 1 - w.gone[p]
    w.turn += 1
    w.toss = dice.below(w, 2)
    return here == 0, here > 0 and w.turn >= w.rounds


@rule
def observe(w, p, out):
    n = w.gone.shape[0]
    out[w.turn % 2] = 1
    out[1 - w.turn % 2] = 0
    out[2] = w.toss
    for k in range(n):
        out[3 + k] = 1 - w.gone[(p + k) % n]


@rule
def alive(w, p):
    return w.gone[p] == 0


@rule
def legal(w, p, out):
    out[STAY] = True
    out[LEAVE] = w.gone[p] == 0
    out[BONUS] = w.gone[p] == 0 and w.turn % 2 == 0
