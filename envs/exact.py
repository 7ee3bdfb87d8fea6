"""Exact values of repeated 2x2 games between players that look back one round, as differentiable torch functions of whole batches.

A policy is five logits in the order [CC, CD, DC, DD, start], own move first for *both* players: the logit of cooperating (move 0) after
that round, and in the first round. The logits stand in the last axis, any axes before it are the batch.
"""

from typing import Any

import torch
from torch import Tensor

OTHER_VIEW = (0, 2, 1, 3, 4)  # one player's CD is the other's DC


def forests(j_out: Tensor, k_out: Tensor, jk: Tensor, kj: Tensor) -> Tensor:
    """Ways for two states to drain: both by themselves, k through j, j through k."""
    return j_out * (k_out + kj) + jk * k_out


def spanning_trees(flow: Tensor) -> Tensor:
    """For each of four states, the sum over the 16 trees that lead to it of the products of their three transitions: `[4, ...]`.

    `flow` `[4, 4, ...]` holds the transitions [to, from]. All four are found at once: with r = 0..3 for the root, i, j and k are the
    states after it in a ring. State i goes to the root, or to j, or to k; j and k drain into what is left.
    """
    flows = [row.unbind(0) for row in flow.unbind(0)]
    # Neither index_select nor a list as an index: they wake OpenMP's threads, which beside a busy core cost a hundred times all else.
    edge = lambda start, end: torch.stack([flows[(r + end) % 4][(r + start) % 4] for r in range(4)])
    ir, ij, ik = edge(1, 0), edge(1, 2), edge(1, 3)
    jr, ji, jk = edge(2, 0), edge(2, 1), edge(2, 3)
    kr, ki, kj = edge(3, 0), edge(3, 1), edge(3, 2)
    to_root = ir * forests(jr + ji, kr + ki, jk, kj)
    return to_root + ij * forests(jr, kr, jk, kj + ki) + ik * forests(jr, kr, jk + ji, kj)


def joint(theta1: Tensor, theta2: Tensor) -> Tensor:
    """Probabilities of CC, CD, DC, DD, `[4, ...]`, from both players' logits `[...]`.

    σ(-θ) stands for 1 - σ(θ): it keeps its precision where a player is nearly sure.
    """
    c1, d1, c2, d2 = theta1.sigmoid(), (-theta1).sigmoid(), theta2.sigmoid(), (-theta2).sigmoid()
    return torch.stack([c1 * c2, c1 * d2, d1 * c2, d1 * d2])


def occupancy(theta1: Tensor, theta2: Tensor, gamma: float) -> Tensor:
    """Share of the discounted time spent in CC, CD, DC, DD (first player's view): `[4, ...]`, the batch *last*; sums to 1.

    v = (1-γ) Σ_t γᵗ s₀ᵀPᵗ = (1-γ) s₀ᵀ(I-γP)⁻¹ is the stationary distribution of the game that begins anew with probability 1-γ after
    each round, γP + (1-γ) 1 s₀ᵀ. By the Markov chain tree theorem (Leighton & Rivest 1986), v_s is proportional to the sum over the
    spanning trees rooted at s of the product of their three transitions. Nothing is ever subtracted, so in float32 every entry is right
    to 1e-6, whatever the policies and γ. A ratio of determinants (Press & Dyson 2012) loses its last digit there, and
    `torch.linalg.solve`, a few digits in the gradient; both are slower.

    Args:
        theta1, theta2: logits `[..., 5]`, each in its owner's view.
        gamma: discount in [0, 1]. At 1 it is the long-run share, for policies that have one (not two that never leave where they are).
    """
    mine, theirs = torch.broadcast_tensors(theta1, theta2)
    their = theirs.unbind(-1)
    moves = joint(mine.movedim(-1, 0), torch.stack([their[state] for state in OTHER_VIEW]))
    trees = spanning_trees(gamma * moves[:, :4] + (1 - gamma) * moves[:, 4:])
    return trees / trees.sum(0)


def expected(share: Tensor, payoff: Any) -> tuple[Tensor, Tensor]:
    """Both players' mean payoffs `[...]` where the joint moves have the shares `[4, ...]`."""
    table = torch.as_tensor(payoff, dtype=share.dtype, device=share.device).reshape(2, 4, *[1] * (share.dim() - 1))
    return (share * table[0]).sum(0), (share * table[1]).sum(0)


def values(theta1: Tensor, theta2: Tensor, payoff: Any, gamma: float) -> tuple[Tensor, Tensor]:
    """Both players' values of the repeated game per step, (1-γ) E Σ_t γᵗ r_t: two `[...]`, differentiable as often as one likes.

    Divided by 1-γ it is the discounted sum, which LOLA's exact learners climb (Foerster et al. 2018, section 4).

    Args:
        theta1, theta2: logits `[..., 5]`; their dtype and device are those of the result.
        payoff: `[2, 2, 2]`, payoff[player][first player's move][second player's move].
        gamma: discount in [0, 1], see `occupancy`.
    """
    return expected(occupancy(theta1, theta2, gamma), payoff)


def one_shot_values(theta1: Tensor, theta2: Tensor, payoff: Any) -> tuple[Tensor, Tensor]:
    """Both players' expected payoffs of a single round, two `[...]`; policies are one logit `[..., 1]`, `payoff` as in `values`."""
    return expected(joint(theta1.squeeze(-1), theta2.squeeze(-1)), payoff)


def mirrored(payoff: Any) -> Tensor:
    """The same game with the seats exchanged, `[2, 2, 2]`: `values(a, b, payoff)` are `values(b, a, mirrored(payoff))` reversed."""
    return torch.as_tensor(payoff).flip(0).transpose(1, 2).contiguous()
