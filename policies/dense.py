"""Multi-layer perceptrons with a population axis, and their derivatives by hand, written for a core's cache.

A CPU spends most of a plain forward and backward pass on fresh memory for what lies between two layers, on the library's tanh, and on
products with few columns (the heads'), which run at a tenth of the speed of their transposes. So buffers are lent and given back, and
narrow products are turned (`policies.products`), and tanh is a quotient of polynomials. On a GPU the plain operations are used.
"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from interplay.policies.products import BUFFERS, affine, narrow, outer, turned
from interplay.policies.squash import tanh_, tanh_slope_

Activation = Literal["tanh", "relu"]

BLOCK = 2048  # rows of a pass that is not differentiated, so that what lies between its layers stays in the cache


def forward(x: Tensor, weights: tuple[Tensor, ...], activation: Activation, head: bool) -> tuple[Tensor, list[Tensor]]:
    """The last layer's output and the hidden ones', these in lent buffers."""
    layers = list(zip(weights[::2], weights[1::2], strict=True))
    hidden = []
    for w, b in layers[: len(layers) - head]:
        x = affine(x, w, b, relu=activation == "relu")
        if activation == "tanh":
            tanh_(x.numpy().reshape(-1))
        hidden.append(x)
    return narrow(x, *layers[-1]) if head else x.clone(), hidden


class Differentiated(torch.autograd.Function):
    """`perceptron` with its derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, head: bool, *weights: Tensor) -> Tensor:
        """As `perceptron`."""
        y, hidden = forward(x, weights, activation, head)
        ctx.save_for_backward(x, *weights)
        ctx.hidden, ctx.activation, ctx.head = hidden, activation, head
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The gradients of input and weights; gives the buffers back."""
        x, *weights = ctx.saved_tensors
        seen, g, out = [x, *ctx.hidden], grads[0], list[Tensor | None]()
        if not ctx.head:
            seen, g = seen[:-1], _slope(BUFFERS.lend(*g.shape).copy_(g), ctx.hidden[-1], ctx.activation)
        for k in reversed(range(len(seen))):
            out[:0] = [outer(seen[k], g), g.sum(1, keepdim=True)]
            if not k and not ctx.needs_input_grad[0]:
                break
            before, g = g, turned(g, weights[2 * k])
            if before is not grads[0]:
                BUFFERS.back(before)
            if k:
                _slope(g, seen[k], ctx.activation)
        BUFFERS.back(*ctx.hidden)
        del ctx.hidden  # a second time fails
        return g if ctx.needs_input_grad[0] else None, None, None, *out


def _slope(g: Tensor, y: Tensor, activation: Activation) -> Tensor:
    if activation == "tanh":
        tanh_slope_(g.numpy().reshape(-1), y.numpy().reshape(-1))
    else:
        torch.ops.aten.threshold_backward.grad_input(g, y, 0, grad_input=g)
    return g


def perceptron(x: Tensor, weights: list[Tensor], activation: Activation, head: bool) -> Tensor:
    """P multi-layer perceptrons.

    Args:
        x: `[P, R, m]` float32.
        weights: of each layer W `[P, m, n]` and b `[P, 1, n]`, in turn.
        activation: after every layer, or every one but the last.
        head: whether the last layer is plain.

    Returns:
        `[P, R, n]`. It can be differentiated once.
    """
    if x.device.type != "cpu":
        for k in range(0, len(weights), 2):
            x = torch.baddbmm(weights[k + 1], x, weights[k])
            if not head or k < len(weights) - 2:
                x = torch.tanh(x) if activation == "tanh" else torch.relu(x)
        return x
    if torch.is_grad_enabled():
        return Differentiated.apply(x, activation, head, *weights)  # type: ignore[no-any-return]
    blocks = []
    for block in x.split(BLOCK, 1):
        y, hidden = forward(block, tuple(weights), activation, head)
        BUFFERS.back(*hidden)
        blocks.append(y)
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, 1)
