"""The value of a repeated 2x2 game and one player's exact gradient of it, as a scalar rule: a meta-game plays millions of these.

The functions of `exact.py` serve any derivative, in some hundred torch operations; this one serves the one that a naive learner climbs,
in a tenth of a microsecond a game, on the CPU and on the GPU from the same text.
"""

import math
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs.rule import edition, rule

ZERO, ONE = np.float32(0), np.float32(1)
PARALLEL = 16384  # games from which a second thread pays


@rule
def chance(logit):
    """σ(x) and σ(-x), neither of which overflows or loses digits."""
    small = math.exp(-abs(logit))
    large = ONE / (ONE + small)
    small *= large
    if logit >= ZERO:
        return large, small
    return small, large


@rule
def minds(logit1, logit2):
    """Both players' probabilities of cooperating and of defecting in one state."""
    c1, d1 = chance(logit1)
    c2, d2 = chance(logit2)
    return c1, d1, c2, d2


@rule
def moves(weight, mind, end):
    """A row of the game's flow: `weight` spread over the next joint moves CC, CD, DC, DD, and what goes to the end."""
    c1, d1, c2, d2 = mind
    c1, d1 = weight * c1, weight * d1
    return c1 * c2, c1 * d2, d1 * c2, d1 * d2, end


@rule
def bypass(row, share, gone):
    """The row of a state once state `gone` is taken out: what flowed there flows on, in `gone`'s proportions."""
    a, b, c, d, e = row
    return a + share * gone[0], b + share * gone[1], c + share * gone[2], d + share * gone[3], e + share * gone[4]


@rule
def slope(mind, cc, cd, dc, dd):
    """Derivative of the expected next relative value by the second player's logit."""
    c1, d1, c2, d2 = mind
    return (c1 * (cc - cd) + d1 * (dc - dd)) * c2 * d2


@rule
def play(theta1, theta2, payoff, gamma, stop, scale, value, grad):
    """One game: writes both values per step to `value` `[2]`, and scale * ∂(second's value per step)/∂theta2 to `grad` `[5]`.

    The game is a flow from the start over the four joint moves to its end, which it reaches with `stop` = 1-γ from each. States
    are taken out one by one as in Grassmann, Taksar & Heyman (1985), without a subtraction: `k_over` is all that leaves state k towards
    the states still there. Substituting back gives v, the share of the discounted time in each state, and the relative values
    h = (I-γP)⁻¹(r - V): centred on V, since only differences of h matter, which would drown in u = (I-γP)⁻¹r where γ is near 1.
    The gradient is the policy gradient theorem (Sutton et al. 2000): ∂V/∂θ_s = γ v_s Σ_j ∂P_sj/∂θ_s h_j, with 1-γ for γ v_s at the start.
    """
    # First player's view: the second player's CD is DC here.
    p0, p1, p2 = minds(theta1[0], theta2[0]), minds(theta1[1], theta2[2]), minds(theta1[2], theta2[1])
    p3, ps = minds(theta1[3], theta2[3]), minds(theta1[4], theta2[4])
    r0, r1, r2, r3 = moves(gamma, p0, stop), moves(gamma, p1, stop), moves(gamma, p2, stop), moves(gamma, p3, stop)
    start = moves(stop, ps, ZERO)
    over0 = r0[1] + r0[2] + r0[3] + r0[4]
    m10, m20, m30, ms0 = r1[0] / over0, r2[0] / over0, r3[0] / over0, start[0] / over0
    r1, r2, r3, start = bypass(r1, m10, r0), bypass(r2, m20, r0), bypass(r3, m30, r0), bypass(start, ms0, r0)
    over1 = r1[2] + r1[3] + r1[4]
    m21, m31, ms1 = r2[1] / over1, r3[1] / over1, start[1] / over1
    r2, r3, start = bypass(r2, m21, r1), bypass(r3, m31, r1), bypass(start, ms1, r1)
    over2 = r2[3] + r2[4]
    m32, ms2 = r3[2] / over2, start[2] / over2
    r3, start = bypass(r3, m32, r2), bypass(start, ms2, r2)
    over3 = r3[4]
    v3 = start[3] / over3
    v2 = ms2 + v3 * m32
    v1 = ms1 + v2 * m21 + v3 * m31
    v0 = ms0 + v1 * m10 + v2 * m20 + v3 * m30
    value[0] = v0 * payoff[0, 0, 0] + v1 * payoff[0, 0, 1] + v2 * payoff[0, 1, 0] + v3 * payoff[0, 1, 1]
    value[1] = v0 * payoff[1, 0, 0] + v1 * payoff[1, 0, 1] + v2 * payoff[1, 1, 0] + v3 * payoff[1, 1, 1]
    h0 = payoff[1, 0, 0] - value[1]
    h1 = payoff[1, 0, 1] - value[1] + m10 * h0
    h2 = payoff[1, 1, 0] - value[1] + m20 * h0 + m21 * h1
    h3 = (payoff[1, 1, 1] - value[1] + m30 * h0 + m31 * h1 + m32 * h2) / over3
    h2 = (h2 + r2[3] * h3) / over2
    h1 = (h1 + r1[2] * h2 + r1[3] * h3) / over1
    h0 = (h0 + r0[1] * h1 + r0[2] * h2 + r0[3] * h3) / over0
    after = scale * gamma
    grad[0] = after * v0 * slope(p0, h0, h1, h2, h3)
    grad[1] = after * v2 * slope(p2, h0, h1, h2, h3)
    grad[2] = after * v1 * slope(p1, h0, h1, h2, h3)
    grad[3] = after * v3 * slope(p3, h0, h1, h2, h3)
    grad[4] = scale * stop * slope(ps, h0, h1, h2, h3)


def on_cpu(theta1, theta2, payoff, gamma, stop, scale, value, grad):
    """All games, on the CPU."""
    for i in prange(theta1.shape[0]):
        play(theta1[i], theta2[i], payoff, gamma, stop, scale, value[i], grad[i])


def on_gpu() -> Any:
    """The same loop as a CUDA kernel, a thread a game."""
    from numba import cuda

    def games(theta1, theta2, payoff, gamma, stop, scale, value, grad):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < theta1.shape[0]:
            play(theta1[i], theta2[i], payoff, gamma, stop, scale, value[i], grad[i])

    return games


@lru_cache
def driver(device: str, parallel: bool) -> Any:
    """The compiled loop for a device."""
    loop = on_gpu() if device == "cuda" else on_cpu
    loop.__qualname__ = f"games.{'many' if parallel else 'few'}.{edition(sys.modules[__name__])}"
    if device == "cuda":
        from numba import cuda

        return cuda.jit(loop, cache=True)
    return njit(loop, parallel=parallel, nogil=True, cache=True)


def value_and_gradient(theta1: Tensor, theta2: Tensor, payoff: Any, gamma: float, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Values per step and the second player's gradient of its own: v1 `[N]`, v2 `[N]`, grad2 `[N, 5]`, all float32.

    v = (1-γ) Σ_t γᵗ E r_t, grad2 = scale * ∂v2/∂theta2; equal to `exact.values` under autograd. With `scale` = lr / (1-γ), grad2 is the
    whole step that a naive learner of the discounted sum takes. For the first player's gradient exchange the seats: call it with
    (theta2, theta1, `exact.mirrored(payoff)`).

    Args:
        theta1, theta2: logits `[N, 5]` float32 in their owners' views, order [CC, CD, DC, DD, start].
        payoff: `[2, 2, 2]`, payoff[player][first player's move][second player's move]; on a GPU pass a tensor that lives there.
        gamma: discount in [0, 1).
        scale: factor of the gradient.
    """
    from interplay.envs import engine

    n, device = theta1.shape[0], theta1.device
    table = torch.as_tensor(payoff, dtype=torch.float32, device=device).reshape(2, 2, 2).contiguous()
    value, grad = torch.empty(n, 2, device=device), torch.empty(n, 5, device=device)
    tensors = [engine.view(x.detach().contiguous()) for x in (theta1, theta2, table)]
    numbers = (np.float32(gamma), np.float32(1 - gamma), np.float32(scale))
    loop = driver(device.type, device.type == "cpu" and n >= PARALLEL and engine.many(n))
    engine.launch(loop, n, device, *tensors, *numbers, engine.view(value), engine.view(grad))
    return value[:, 0], value[:, 1], grad
