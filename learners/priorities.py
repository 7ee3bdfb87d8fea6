"""What decides which level of a buffer is played again (Jiang et al. 2021), and in which order sums are taken.

    P(l) = (1 - rho) P_S(l) + rho P_C(l),   P_S(l) = w(l) / sum of w,   P_C(l) = age(l) / sum of ages

A score says how much there is to learn from a level, mostly an estimate of regret; w grows with it, and P_C keeps scores from going
stale. The order of the sums is part of the rule: over slots, from slot 0 on, P = a w + b age + c with a = (1 - rho) / sum of w,
b = rho / sum of ages and c = 0; where all ages are zero, b = 0 and c = rho / count.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numba import njit

from interplay.envs.core import UsageError, did_you_mean, whole

Priority = Literal["rank", "proportional", "top"]


@dataclass(frozen=True)
class BufferConfig:
    """How levels are kept and drawn; the ranks, beta and rho of ACCEL (Parker-Holder et al. 2022).

    Attributes:
        capacity: levels.
        fill: share of the capacity that must be filled before anything is replayed.
        priority: "rank", w = (1 / rank)^(1 / beta), the highest score has rank 1, the lower slot comes first among equal scores;
            "proportional", w = max(score, 0)^(1 / beta), all the same if all are zero; "top", 1 for the first `top` ranks, else 0.
        temperature: beta; the lower, the more the highest scores are preferred.
        staleness: rho, share of the draws that go by age alone.
        top: k of the priority "top".
        unique: whether a level is kept once only.
    """

    capacity: int = 4000
    fill: float = 0.5
    priority: Priority = "rank"
    temperature: float = 0.3
    staleness: float = 0.3
    top: int = 1
    unique: bool = True


def check(config: BufferConfig) -> None:
    """`UsageError` where something cannot be."""
    whole("capacity", config.capacity, 1, 2**31 - 1)
    whole("top", config.top, 1, 2**31 - 1)
    if config.priority not in get_args(Priority):
        raise UsageError(f"priority {config.priority!r} is unknown{did_you_mean(config.priority, get_args(Priority))}")
    for name, number in (("fill", config.fill), ("staleness", config.staleness)):
        if not 0 <= number <= 1:
            raise UsageError(f"{name} is {number}; allowed are numbers from 0 to 1")
    if not 0 < config.temperature < math.inf:
        raise UsageError(f"temperature is {config.temperature}; allowed are finite numbers above 0")


def weights_of_ranks(config: BufferConfig) -> np.ndarray:
    """w of rank 1, 2, ... `[capacity]` float64; `[0]` where ranks do not decide. The last ranks' may underflow to 0."""
    ranks = range(1, config.capacity + 1)
    if config.priority == "rank":
        return np.array([math.pow(1 / rank, 1 / config.temperature) for rank in ranks])
    return np.array([float(rank <= config.top) for rank in ranks] if config.priority == "top" else [])


@njit(cache=True, nogil=True)
def portion(score: float, peak: float, power: float) -> float:
    """w of a score by proportion to the highest one: no power overflows, and that of the highest is 1."""
    return (max(score, 0.0) / peak) ** power if peak > 0.0 else 1.0


@njit(cache=True, nogil=True)
def put(ranked: Any, power: float, order: Any, score: Any, weight: Any, slot: int, value: float) -> None:
    """Give a slot of `order` `[count]` (slots, highest score first) its score, let it rise or sink to its rank, renew the weights."""
    last = len(order) - 1
    at, before = last, max(score[order[0]], 0.0)
    while order[at] != slot:
        at -= 1
    start = at
    score[slot] = value
    while at > 0 and (value > score[order[at - 1]] or (value == score[order[at - 1]] and slot < order[at - 1])):
        order[at] = order[at - 1]
        at -= 1
    while at < last and (value < score[order[at + 1]] or (value == score[order[at + 1]] and slot > order[at + 1])):
        order[at] = order[at + 1]
        at += 1
    order[at] = slot
    if len(ranked):
        for k in range(min(start, at), max(start, at) + 1):
            weight[order[k]] = ranked[k]
        return
    peak = max(score[order[0]], 0.0)
    weight[slot] = portion(value, peak, power)
    if peak != before:
        for i in range(last + 1):
            weight[i] = portion(score[i], peak, power)


@njit(cache=True, nogil=True)
def factors(weight: Any, age: Any, rho: float) -> tuple[float, float, float]:
    """a, b and c of P = a w + b age + c, from the weights and ages `[count]` of the filled slots."""
    total, waited = 0.0, 0
    for i in range(len(age)):
        total += weight[i]
        waited += age[i]
    if waited == 0:
        return (1.0 - rho) / total, 0.0, rho / len(age)
    return (1.0 - rho) / total, rho / waited, 0.0


@njit(cache=True, nogil=True)
def draw(unit: Any, weight: Any, age: Any, rho: float, out: Any) -> None:
    """Draw a slot for each number of `unit` `[n]`: the first where P, summed over slots, exceeds it; all age by 1 but the drawn one."""
    for k in range(len(unit)):
        a, b, c = factors(weight, age, rho)
        edge = 0.0
        for i in range(len(age)):
            p = a * weight[i] + b * age[i] + c
            if p > 0.0:  # the last such slot is drawn where rounding leaves the sum below the number
                out[k] = i
                edge += p
                if unit[k] < edge:
                    break
        for i in range(len(age)):
            age[i] += 1
        age[out[k]] = 0


@njit(cache=True, nogil=True)
def weakest(weight: Any, age: Any, rho: float) -> int:
    """The slot with the smallest P, the lowest such slot."""
    a, b, c = factors(weight, age, rho)
    least, slot = np.inf, 0
    for i in range(len(age)):
        p = a * weight[i] + b * age[i] + c
        if p < least:
            least, slot = p, i
    return slot
