"""Products of float32 matrices with a population axis, for forward and backward passes by hand.

On a CPU PyTorch multiplies with MKL, which leaves AVX-512 alone where it is not Intel's: 93 of the 210 GFLOP/s of a Zen 5 core. There
oneDNN, which PyTorch has too, multiplies with all but small weights, since a call of it costs some 15 microseconds more. The choice
looks at the weights alone, so that a row's numbers do not depend on how many others there are.

Fresh memory is dear: what lies between two layers is lent and given back. On a GPU the plain operations are used.
"""

from pathlib import Path

import torch
from torch import Tensor

LARGE = 1 << 14  # weights of a layer, from which on oneDNN pays for 128 rows
NARROW = 16  # a product with fewer columns is faster transposed
MANY = 8  # buffers of a shape that are kept


def _wide() -> bool:
    """Whether this CPU has AVX-512 that MKL does not use."""
    about = Path("/proc/cpuinfo")
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not about.exists() or "GenuineIntel" in about.read_text():
        return False
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


WIDE = _wide()


class Buffers:
    """Memory that is lent and given back: what is never given back is simply collected."""

    def __init__(self, largest: int) -> None:
        self.largest, self.free = largest, dict[tuple[int, ...], list[Tensor]]()

    def lend(self, *shape: int) -> Tensor:
        """A float32 tensor with anything in it."""
        try:
            return self.free.setdefault(shape, []).pop()
        except IndexError:
            return torch.empty(shape)

    def back(self, *buffers: Tensor) -> None:
        """Give tensors back that nobody looks at any more; those of a shape that nobody has asked for are collected."""
        for x in buffers:
            free = self.free.get(tuple(x.shape))
            usable = x.device.type == "cpu" and x.is_contiguous() and x.numel() <= self.largest
            if free is not None and len(free) < MANY and usable:
                free.append(x)


BUFFERS = Buffers(largest=1 << 22)


def _pays(x: Tensor, weights: int) -> bool:
    return WIDE and weights >= LARGE and x.device.type == "cpu"


def _linear(x: Tensor, w: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
    """`after(x w^T + bias)` for each member of `[P, R, m]` and `[P, n, m]`, by oneDNN."""
    one = lambda p: torch.ops.mkldnn._linear_pointwise(x[p], w[p], None if bias is None else bias[p, 0], after, [], "")
    return one(0).unsqueeze(0) if len(x) == 1 else torch.stack([one(p) for p in range(len(x))])


def affine(x: Tensor, w: Tensor, b: Tensor, relu: bool = False) -> Tensor:
    """`x w + b`, with zero in place of what is below it where `relu`; a buffer that may be given back.

    Args:
        x: `[P, R, m]`.
        w: `[P, m, n]`.
        b: `[P, 1, n]`.

    Returns:
        `[P, R, n]`.
    """
    (members, m, n), rows = w.shape, x.shape[1]
    if _pays(x, m * n):
        return _linear(x, w.transpose(1, 2), b, "relu" if relu else "none")
    y = torch.baddbmm(b, x, w, out=BUFFERS.lend(members, rows, n))
    return y.relu_() if relu else y


def narrow(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """As `affine`, fast where there are few columns too; not contiguous then."""
    if w.shape[2] >= NARROW:
        return affine(x, w, b)
    return torch.bmm(w.transpose(1, 2), x.transpose(1, 2)).transpose(1, 2) + b


def turned(g: Tensor, w: Tensor) -> Tensor:
    """`g w^T`, the gradient of a layer's input `[P, R, m]` from that of its output `[P, R, n]` and weights `[P, m, n]`; a buffer."""
    members, m, n = w.shape
    if _pays(g, m * n):
        return _linear(g, w, None)
    times = torch.mul if n == 1 else torch.bmm  # an outer product is no matrix product
    room = BUFFERS.lend(members, g.shape[1], m) if g.device.type == "cpu" else None
    return times(g, w.transpose(1, 2), out=room)


def outer(x: Tensor, g: Tensor) -> Tensor:
    """`x^T g`, the gradient of a layer's weights `[P, m, n]` from its input `[P, R, m]` and that of its output `[P, R, n]`."""
    m, n = x.shape[2], g.shape[2]
    if _pays(x, m * n):
        return _linear(x.transpose(1, 2), g.transpose(1, 2), None)
    if n < min(NARROW, m):
        return torch.bmm(g.transpose(1, 2), x).transpose(1, 2)
    return torch.bmm(x.transpose(1, 2), g)
