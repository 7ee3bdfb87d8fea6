"""Seats at which a player is asked for a move, and the dice that belong to them wherever they stand."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interplay.envs import streams
from interplay.envs.core import Spec, Step


@dataclass
class Chairs:
    """Seats of a batch as worlds of one agent: what a network has to know of an `Env`, and no more.

    Attributes:
        ids: `[K]` of the worlds.
        seats: `[K]` in each.
        among: how many seats a world has.
    """

    spec: Spec
    n: int
    out: Step
    seed: int
    device: torch.device
    ids: Tensor
    seats: Tensor
    among: int
    agents: int = 1


def keyed(seed: int, stream: int, ids: Tensor, draw: int, agents: int, device: torch.device) -> Tensor:
    """Uniform numbers `[K, agents]` of worlds with some `ids` `[K]`, in whatever order they stand."""
    first, last = int(ids.min()), int(ids.max())
    return streams.units(seed, stream, first, draw, (last - first + 1, agents), device)[ids - first]


def thrown(env: Any, stream: int, draw: int) -> Tensor:
    """A uniform number for every agent of an `Env`'s worlds `[N, A]`, or for every one of some `Chairs` `[K, 1]`: the same for a seat."""
    if isinstance(env, Chairs):
        return keyed(env.seed, stream, env.ids, draw, env.among, env.device).gather(1, env.seats.unsqueeze(1))
    return streams.units(env.seed, stream, env.first, draw, (env.n, env.agents), env.device)
