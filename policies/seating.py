"""Which member of a population sits in which seat.

Worlds come in S equal, contiguous groups (seeds). In each group an agent has its own member (`independent`: P = S x A) or all agents
share one (P = S).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def fold(x: Tensor, groups: int, independent: bool) -> Tensor:
    """`[T, B, A, ...]` to rows by member, `[P, T, R, ...]`: R = B / S, times A where the agents share a member."""
    x = x.unflatten(1, (groups, -1))  # [T, S, B/S, A, ...]
    rest = range(4, x.ndim)
    if independent:
        return x.permute(1, 3, 0, 2, *rest).flatten(0, 1)
    return x.transpose(0, 1).flatten(2, 3)


def unfold(y: Tensor, groups: int, agents: int, independent: bool) -> Tensor:
    """Back: `[P, T, R, ...]` to `[T, B, A, ...]`."""
    if independent:
        y = y.unflatten(0, (groups, agents))  # [S, A, T, B/S, ...]
        return y.permute(2, 0, 3, 1, *range(4, y.ndim)).flatten(1, 2)
    return y.unflatten(2, (-1, agents)).transpose(0, 1).flatten(1, 2)


def together(obs: Tensor) -> Tensor:
    """What all agents see, each one's own view first, then those of the agents after it: `[..., A, *f]` to `[..., A, A, *f]`.

    The agents' axis is the third of `[T, B, A, *f]`.
    """
    return torch.stack([obs.roll(-k, 2) for k in range(obs.shape[2])], 3)


def where_moving(ask: Callable[[Tensor], Tensor], x: Tensor, moving: Tensor | None) -> Tensor:
    """`ask(x)`, only for the rows that move, where a lone member is asked on a CPU: in games of turns nobody looks at the others' answers.

    Args:
        ask: row by row, without memory: `[P, T, R, ...]` to `[P, T, R, ...]`.
        x: `[P, T, R, ...]`.
        moving: `[P, T, R]` bool, or None for all.

    Returns:
        As `ask` gives, with zeros where nobody moves.
    """
    if moving is None or len(x) > 1 or x.device.type != "cpu":
        return ask(x)
    at = moving.flatten().nonzero().flatten()
    some = ask(x.flatten(0, 2).index_select(0, at)[None, None])
    out = some.new_zeros(moving.numel(), *some.shape[3:])
    out[at] = some[0, 0]
    return out.view(*moving.shape, *some.shape[3:])
