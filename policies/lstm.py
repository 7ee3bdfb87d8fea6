"""A long short-term memory with a population axis (Hochreiter & Schmidhuber 1997), and its derivative by hand.

Games of different lengths end at different turns, so some row forgets at nearly every turn: the library's kernel would have to be cut
there. Here a turn is one product and one pass over the gates, and the gradient of the weights is one product for all turns.
"""

from typing import Any

import torch
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from interplay.policies.products import BUFFERS, outer, turned
from interplay.policies.squash import HALF, ONE, rows, tanh


@njit(cache=True, nogil=True, error_model="numpy")
def _cell(x: Any, sums: Any, before: Any, gates: Any, c: Any, h: Any) -> None:
    """Gates `[R, 4 H]` from what inputs and the output before add to them; memory c and output h `[R, H]` from the memory before."""
    width = c.shape[1]
    for r in range(c.shape[0]):
        g, y, s = gates[r], x[r], sums[r]
        for k in range(2 * width):
            g[k] = HALF * tanh(HALF * (y[k] + s[k])) + HALF
        for k in range(2 * width, 3 * width):
            g[k] = tanh(y[k] + s[k])
        for k in range(3 * width, 4 * width):
            g[k] = HALF * tanh(HALF * (y[k] + s[k])) + HALF
        for k in range(width):
            c[r, k] = g[width + k] * before[r, k] + g[k] * g[2 * width + k]
        for k in range(width):
            h[r, k] = g[3 * width + k] * tanh(c[r, k])


@njit(cache=True, nogil=True, error_model="numpy")
def _cell_back(gates: Any, before: Any, c: Any, dh: Any, dc: Any) -> None:
    """Gradients of the sums in place of the gates, from those of output and memory, `dh` and `dc` `[R, H]`; `dc` becomes that before."""
    width = c.shape[1]
    for r in range(c.shape[0]):
        g = gates[r]
        for k in range(width):
            i, f, n, o = g[k], g[width + k], g[2 * width + k], g[3 * width + k]
            squashed = tanh(c[r, k])
            d = dc[r, k] + dh[r, k] * o * (ONE - squashed * squashed)
            g[k] = d * n * i * (ONE - i)
            g[width + k] = d * before[r, k] * f * (ONE - f)
            g[2 * width + k] = d * i * (ONE - n * n)
            g[3 * width + k] = dh[r, k] * squashed * o * (ONE - o)
            dc[r, k] = d * f


def cell(x: Tensor, sums: Tensor, before: Tensor, gates: Tensor, c: Tensor, h: Tensor) -> None:
    """`_cell` for a population: `[P, R, 4 H]` and `[P, R, H]`, on any device."""
    if gates.device.type == "cpu":
        _cell(*rows(x, sums, before, gates, c, h))
        return
    torch.add(x, sums, out=gates)
    i, f, n, o = gates.chunk(4, -1)
    for gate in (i, f, o):
        gate.sigmoid_()
    n.tanh_()
    torch.addcmul(i * n, f, before, out=c)
    torch.mul(o, torch.tanh(c), out=h)


def cell_back(gates: Tensor, before: Tensor, c: Tensor, dh: Tensor, dc: Tensor) -> None:
    """`_cell_back` for a population, on any device."""
    if gates.device.type == "cpu":
        _cell_back(*rows(gates, before, c, dh, dc))
        return
    i, f, n, o = (x.clone() for x in gates.chunk(4, -1))
    squashed = torch.tanh(c)
    d = dc + dh * o * (1 - squashed * squashed)
    parts = (d * n * i * (1 - i), d * before * f * (1 - f), d * i * (1 - n * n), dh * squashed * o * (1 - o))
    torch.cat(parts, -1, out=gates)
    dc.copy_(d * f)


class Scanned(torch.autograd.Function):
    """`scan` with its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, carry: Tensor, keep: Tensor | None) -> Tensor:
        """As `scan`."""
        members, turns, count, width = *x.shape[:3], x.shape[3] // 4
        x = x.transpose(0, 1).contiguous()  # [T, P, R, 4 H]
        gates, states = torch.empty_like(x), x.new_empty(turns, 2, members, count, width)
        before = torch.empty_like(states)  # output and memory that a turn begins with
        h, c = (part.contiguous() for part in carry.chunk(2, -1))
        for t in range(turns):
            if keep is None:
                before[t, 0], before[t, 1] = h, c
            else:
                stays = keep[:, t].unsqueeze(-1)
                torch.mul(h, stays, out=before[t, 0])
                torch.mul(c, stays, out=before[t, 1])
            sums = turned(before[t, 0], weight.transpose(1, 2))
            cell(x[t], sums, before[t, 1], gates[t], states[t, 1], states[t, 0])
            BUFFERS.back(sums)
            h, c = states[t, 0], states[t, 1]
        ctx.save_for_backward(weight)
        ctx.kept = gates, states, before, keep
        return states.permute(2, 0, 3, 1, 4).flatten(3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """Back through the turns; no gradient reaches the carry."""
        (weight,) = ctx.saved_tensors
        gates, states, before, keep = ctx.kept
        del ctx.kept  # the gates' memory is used again: a second time fails
        out = grads[0].unflatten(-1, (2, -1)).permute(1, 3, 0, 2, 4)  # [T, 2, P, R, H]
        dh, dc = torch.zeros_like(states[0, 0]), torch.zeros_like(states[0, 1])
        for t in range(len(gates) - 1, -1, -1):
            dh += out[t, 0]
            dc += out[t, 1]
            cell_back(gates[t], before[t, 1], states[t, 1], dh, dc)
            BUFFERS.back(dh)
            dh = turned(gates[t], weight)
            if keep is not None:
                stays = keep[:, t].unsqueeze(-1)
                dh *= stays
                dc *= stays
        flat = lambda y: y.transpose(0, 1).flatten(1, 2)  # [T, P, R, k] to [P, T R, k]
        return gates.transpose(0, 1), outer(flat(before[:, 0]), flat(gates)), None, None


def scan(x: Tensor, weight: Tensor, carry: Tensor, keep: Tensor | None) -> Tensor:
    """An LSTM over T turns.

    Args:
        x: `[P, T, R, 4 H]`, what the inputs add to the gates (in, forget, new, out), with their bias.
        weight: `[P, H, 4 H]`, of the output before.
        carry: `[P, R, 2 H]`, output and memory before the first turn; it is not differentiated.
        keep: `[P, T, R]` bool, False where a game starts with that turn, so that nothing is remembered; None for all True.

    Returns:
        Output and memory after each turn, `[P, T, R, 2 H]`. It can be differentiated once.
    """
    return Scanned.apply(x, weight, carry, keep)  # type: ignore[no-any-return]
