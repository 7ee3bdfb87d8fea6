"""Returns and advantages: pure functions of a trajectory's rewards and values, time-major `[T, ...]`."""

import torch
from torch import Tensor


def vtrace(
    reward: Tensor, value: Tensor, following: Tensor, stop: Tensor, ratio: Tensor | None, gamma: float, lam: float, clip: float = 1.0
) -> Tensor:
    """Advantages A_t = v_t - V(s_t) of V-trace targets (Espeholt et al. 2018, eq. 1, with a trace decay lambda).

        v_t = V(s_t) + rho_t * delta_t + gamma * c_t * (1 - stop_t) * (v_{t+1} - V(s_{t+1}))
        delta_t = r_t + gamma * V(s_{t+1}) - V(s_t),   rho_t = min(clip, ratio_t),   c_t = lambda * min(1, ratio_t)

    On policy (`ratio` None or 1) this is generalised advantage estimation (Schulman et al. 2016).

    Args:
        reward, value: `[T, ...]`, r_t and V(s_t).
        following: `[T, ...]` value of what follows turn t: V(s_{t+1}) of the same game, 0 where the game terminated, the value of the
            final observation where it was truncated.
        stop: `[T, ...]` bool, the game ended with turn t in either way: no trace crosses it.
        ratio: `[T, ...]` pi(a_t) / mu(a_t), or None on policy.
    """
    delta = reward + gamma * following - value
    trace = gamma * lam * (~stop).to(reward.dtype)
    if ratio is not None:
        delta = ratio.clamp(max=clip) * delta
        trace = trace * ratio.clamp(max=1.0)
    out, ahead = torch.empty_like(delta), torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        ahead = torch.addcmul(delta[t], trace[t], ahead, out=out[t])
    return out


def gae(reward: Tensor, value: Tensor, following: Tensor, stop: Tensor, gamma: float, lam: float) -> Tensor:
    """Generalised advantage estimates: `vtrace` on policy."""
    return vtrace(reward, value, following, stop, None, gamma, lam)
