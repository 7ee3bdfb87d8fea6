"""Worlds by name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from interplay.envs import coin, fruit, hanabi, lever, matrix, maze, public_goods
from interplay.envs.core import UsageError, World, did_you_mean
from interplay.envs.engine import Batch

WORLDS: dict[str, Callable[..., World]] = {
    **{game: partial(matrix.world, game) for game in matrix.CLASSICS},
    "matrix": matrix.world,
    "public-goods": public_goods.world,
    "coin": coin.world,
    "lever": lever.world,
    "maze": maze.world,
    "fruit": fruit.world,
    "hanabi": hanabi.world,
    "hanabi-small": partial(hanabi.world, colors=2, hand_size=2, max_information_tokens=3, max_life_tokens=1, name="hanabi-small"),
    "hanabi-very-small": partial(
        hanabi.world, colors=1, hand_size=2, max_information_tokens=3, max_life_tokens=1, name="hanabi-very-small"
    ),
    "mini-hanabi": partial(hanabi.world, colors=3, ranks=3, hand_size=3, max_information_tokens=5, copies=(2, 2, 1), name="mini-hanabi"),
}


def names() -> list[str]:
    """The registered worlds."""
    return sorted(WORLDS)


def world(name: str, **params: Any) -> World:
    """The world of that name with its parameters; `UsageError` with the nearest name where one is unknown."""
    if name not in WORLDS:
        raise UsageError(f"world {name!r} is unknown{did_you_mean(name, WORLDS)}")
    build = WORLDS[name]
    known = [p for p in inspect.signature(build).parameters if p not in ("game", "name")]
    for param in params:
        if param not in known:
            raise UsageError(f"world {name!r} has no parameter {param!r}{did_you_mean(param, known)}")
    return build(**params)


def make(name: str, num_envs: int = 1, device: str | torch.device = "cpu", seed: int = 0, first: int = 0, **params: Any) -> Batch:
    """N worlds of that name, started.

    Args:
        name: one of `names()`.
        num_envs: how many.
        device: "cpu", "cuda:0", ...
        seed, first: the batch holds worlds `first ... first + num_envs - 1` of the seed.
        params: the world's own parameters, such as `rounds` or `payoff`.
    """
    return Batch(world(name, **params), num_envs, seed=seed, first=first, device=device)
