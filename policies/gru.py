"""A gated recurrent unit with a population axis (Cho et al. 2014), and its derivative by hand on a CPU.

    r = sigmoid(x_r + W_r h + b_r)      z = sigmoid(x_z + W_z h + b_z)
    n = tanh(x_n + r (W_n h + b_n))     h' = n + z (h - n)

where x is what the inputs add. On a CPU a turn is one product and one pass over the gates, and the gradient of the weights is one
product for all turns, where the library takes a product and a dozen passes a turn each way. On a GPU its fused kernel runs.
"""

from typing import Any

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from interplay.policies.dense import perceptron
from interplay.policies.products import BUFFERS, affine, outer, turned
from interplay.policies.squash import HALF, ONE, rows, tanh


@njit(cache=True, nogil=True, error_model="numpy")
def _cell(x: Any, sums: Any, n: Any, h: Any, after: Any) -> None:
    """One turn: r and z in place of their sums `[R, 3 H]`, n `[R, H]`, and the state after it `[R, H]`, from x `[R, 3 H]` and h."""
    width = h.shape[1]
    for i in range(h.shape[0]):
        s, y = sums[i], x[i]
        for k in range(2 * width):
            s[k] = HALF * tanh(HALF * (s[k] + y[k])) + HALF
        for k in range(width):
            n[i, k] = tanh(y[2 * width + k] + s[k] * s[2 * width + k])
        for k in range(width):
            after[i, k] = n[i, k] + s[width + k] * (h[i, k] - n[i, k])


@njit(cache=True, nogil=True, error_model="numpy")
def _cell_back(gates: Any, n: Any, h: Any, dh: Any, dx: Any, dsums: Any) -> None:
    """Gradients of x and of the sums, `[R, 3 H]`, from that of the state after, `dh` `[R, H]`; `dh` becomes what of it passes z."""
    width = h.shape[1]
    for i in range(h.shape[0]):
        g, d, s = gates[i], dx[i], dsums[i]
        for k in range(width):
            r, z, m, e = g[k], g[width + k], n[i, k], dh[i, k]
            dn = e * (ONE - z) * (ONE - m * m)
            dr, dz = dn * g[2 * width + k] * r * (ONE - r), e * (h[i, k] - m) * z * (ONE - z)
            d[k] = dr
            d[width + k] = dz
            d[2 * width + k] = dn
            s[k] = dr
            s[width + k] = dz
            s[2 * width + k] = dn * r
            dh[i, k] = e * z


class Scanned(torch.autograd.Function):
    """The turns of `scan`, with their derivative: from what inputs add `[P, T, R, 3 H]` to states `[P, T, R, H]`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, carry: Tensor, keep: Tensor | None) -> Tensor:
        """`weight` `[P, 3 H, H]` and `bias` `[P, 1, 3 H]` are those of the state."""
        members, turns, count, width = *x.shape[:3], carry.shape[-1]
        x = x.transpose(0, 1).contiguous()  # [T, P, R, 3 H]
        gates, n = list[Tensor](), BUFFERS.lend(turns, members, count, width)
        states = x.new_empty(turns + 1, members, count, width)
        states[0] = carry
        before = states[:-1] if keep is None else torch.empty_like(n)
        for t in range(turns):
            if keep is not None:
                torch.mul(states[t], keep[:, t].unsqueeze(-1), out=before[t])
            gates.append(affine(before[t], weight.transpose(1, 2), bias))
            _cell(*rows(x[t], gates[t], n[t], before[t], states[t + 1]))
        ctx.save_for_backward(weight)
        ctx.kept = gates, n, before, keep
        return states[1:].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Back through the turns; no gradient reaches the carry."""
        (weight,) = ctx.saved_tensors
        gates, n, before, keep = ctx.kept
        del ctx.kept  # its memory is given back: a second time fails
        dx = n.new_empty(*n.shape[:3], 3 * n.shape[3])
        dsums, dh = BUFFERS.lend(*dx.shape), torch.zeros_like(n[0])
        for t in range(len(n) - 1, -1, -1):
            dh += grads[0][:, t]
            _cell_back(*rows(gates[t], n[t], before[t], dh, dx[t], dsums[t]))
            more = turned(dsums[t], weight.transpose(1, 2))
            dh += more
            BUFFERS.back(more, gates[t])
            if keep is not None:
                dh *= keep[:, t].unsqueeze(-1)
        flat = lambda y: y.transpose(0, 1).flatten(1, 2)  # [T, P, R, k] to [P, T R, k]
        dweight, dbias = outer(flat(dsums), flat(before)), flat(dsums).sum(1, keepdim=True)
        BUFFERS.back(n, dsums)
        return dx.transpose(0, 1), dweight, dbias, None, None


def scan(x: Tensor, carry: Tensor, keep: Tensor | None, weights: list[Tensor]) -> Tensor:
    """A GRU over T turns.

    Args:
        x: `[P, T, R, features]`.
        carry: `[P, R, H]`, the states before the first turn; not differentiated on a CPU.
        keep: `[P, T, R]` bool, False where a game starts with that turn, so that nothing is remembered; None for all True.
        weights: `[P, 3 H, features]`, `[P, 3 H, H]` and two biases `[P, 3 H]`, of inputs and states, in the order r, z, n.

    Returns:
        The states after each turn `[P, T, R, H]`. It can be differentiated once on a CPU.
    """
    if x.device.type != "cpu":
        return _fused(x, carry, keep, weights)
    w, u, b, c = weights
    added = perceptron(x.flatten(1, 2), [w.transpose(1, 2), b.unsqueeze(1)], "relu", True).unflatten(1, x.shape[1:3])
    return Scanned.apply(added, u, c.unsqueeze(1), carry, keep)  # type: ignore[no-any-return]


def _fused(x: Tensor, carry: Tensor, keep: Tensor | None, weights: list[Tensor]) -> Tensor:
    """The library's kernel, for a member and a stretch of turns without a reset at a time: worlds of fixed length reset together."""
    cuts = [0]
    if keep is not None:
        cuts += [t for t in (~keep).flatten(2).any(-1).any(0).nonzero().flatten().tolist() if t > 0]
    outs = []
    for m in range(x.shape[0]):
        h, states, member = carry[m], [], [w[m] for w in weights]
        for a, b in zip(cuts, [*cuts[1:], x.shape[1]], strict=True):
            if keep is not None:
                h = h * keep[m, a].unsqueeze(-1)
            y, h = torch._VF.gru(x[m, a:b], h.unsqueeze(0), member, True, 1, 0.0, False, False, False)  # type: ignore[attr-defined]
            states.append(y)
            h = h[0]
        outs.append(torch.cat(states))
    return torch.stack(outs)
