"""Adam for a population: one optimiser over the flat weights `[P, D]`, gradients clipped member by member."""

from dataclasses import dataclass

import torch
from torch import Tensor

BETA1, BETA2 = 0.9, 0.999


@dataclass(frozen=True)
class AdamConfig:
    """Kingma & Ba 2015, with gradient clipping.

    Attributes:
        lr: learning rate.
        eps: added to the root of the second moment.
        max_norm: a member's gradient is scaled down to this norm; 0 for no limit.
    """

    lr: float = 1e-3
    eps: float = 1e-5
    max_norm: float = 0.5


class MemberAdam:
    """Steps `flat` `[P, D]` in place. `scale` multiplies the learning rate from now on."""

    def __init__(self, flat: Tensor, config: AdamConfig) -> None:
        self.config, self.scale = config, 1.0
        self.flat = flat.detach()  # the same memory
        self.moments = [torch.zeros_like(self.flat), torch.zeros_like(self.flat)]
        self.steps = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def step(self, gradient: Tensor) -> Tensor:
        """Descend along `gradient` `[P, D]`; returns its norms `[P]` before clipping."""
        norm = gradient.norm(dim=1)
        if self.config.max_norm:
            gradient = gradient * (self.config.max_norm / norm.clamp(min=self.config.max_norm)).unsqueeze(1)
        first, second = self.moments
        self.steps += 1
        first.lerp_(gradient, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = (second / (1 - BETA2**self.steps)).sqrt_().add_(self.config.eps)
        self.flat -= self.config.lr * self.scale / (1 - BETA1**self.steps) * first / root
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and step count."""
        return {"adam.first": self.moments[0].clone(), "adam.second": self.moments[1].clone(), "adam.steps": self.steps.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.moments[0].copy_(state["adam.first"])
        self.moments[1].copy_(state["adam.second"])
        self.steps.copy_(state["adam.steps"])
