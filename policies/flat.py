"""The weights of a population of networks: one tensor, and named views of it.

The tensor `flat` `[P, D]` is what travels to actors, what an optimiser steps, what a checkpoint holds; there is nothing to copy back.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


class FlatWeights:
    """P members' weights.

    Args:
        shapes: of one member's weights, by name; names of biases end in "bias".
        members: P.
        device: where.

    Attributes:
        flat: `[P, D]`.
        weights: views `[P, *shape]` of it, by name.
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]], members: int, device: torch.device | str = "cpu") -> None:
        self.shapes, self.members = shapes, members
        sizes = [math.prod(s) for s in shapes.values()]
        self.flat = torch.zeros(members, sum(sizes), device=device)
        parts = zip(shapes.items(), self.flat.split(sizes, 1), strict=True)
        self.weights = {name: part.unflatten(1, shape).requires_grad_() for (name, shape), part in parts}

    @torch.no_grad()
    def draw(self, seed: int, gain: Callable[[str], float]) -> None:
        """Orthogonal matrices times `gain(name)`, zero where that is 0; biases stay. Member m's depend on (seed, m) alone."""
        for m in range(self.members):
            rng = torch.Generator().manual_seed(seed * 1_000_003 + m)
            for name, shape in self.shapes.items():
                if not name.endswith("bias") and gain(name):
                    self.weights[name][m].copy_(torch.nn.init.orthogonal_(torch.empty(shape), gain(name), generator=rng))

    @torch.no_grad()
    def load(self, flat: Tensor) -> None:
        """Take over weights `[P, D]`."""
        self.flat.copy_(flat)

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a loss that sums over members, as one tensor `[P, D]`."""
        grads = torch.autograd.grad(loss, list(self.weights.values()), materialize_grads=True)
        return torch.cat([g.flatten(1) for g in grads], 1)
