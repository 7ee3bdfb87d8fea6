"""Distributions over actions: log-probability, entropy, and sampling from given uniform or normal numbers."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ILLEGAL = -1e9  # a logit that no softmax notices; finite, so that 0 * logit stays 0


def masked(logits: Tensor, legal: Tensor | None) -> Tensor:
    """Logits `[..., n]` with those of illegal moves pushed out; rows without any legal move (nobody's turn) are left alone."""
    if legal is None:
        return logits
    return torch.where(legal | ~legal.any(-1, keepdim=True), logits, ILLEGAL)


def categorical_sample(logits: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse-CDF sampling: action `[...]` int64 and its log-probability from logits `[..., n]` and uniform numbers `[...]`."""
    log_p = F.log_softmax(logits, -1)
    edges = log_p.exp().cumsum(-1)[..., :-1]
    action = (unit.unsqueeze(-1) >= edges).sum(-1)
    likely = log_p.argmax(-1)  # rounding may put a unit beside the last legal move's edge: never play an impossible one
    action = torch.where(log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1) > ILLEGAL / 2, action, likely)
    return action, log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1)


def categorical(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of `action` `[...]` and entropy `[...]` under logits `[..., n]`."""
    log_p = F.log_softmax(logits, -1)
    return log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1), -(log_p.exp() * log_p).sum(-1)


def gaussian(mean: Tensor, log_std: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of `action` `[..., d]` and entropy `[...]` of a diagonal Gaussian."""
    z = (action - mean) * torch.exp(-log_std)
    constant = 0.5 * math.log(2 * math.pi)
    logp = (-0.5 * z * z - log_std - constant).sum(-1)
    entropy = (log_std + 0.5 + constant).expand_as(mean).sum(-1)
    return logp, entropy
