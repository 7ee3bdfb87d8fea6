"""Which member of a population sits in which seat.

Worlds come in S equal, contiguous groups (seeds). In each group an agent has its own member (`independent`: P = S x A) or all agents
share one (P = S).
"""

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
