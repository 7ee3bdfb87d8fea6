"""Returns and advantages: pure functions of a trajectory's rewards and values, time-major `[T, ...]`."""

import torch
from torch import Tensor


def vtrace(
    reward: Tensor,
    value: Tensor,
    following: Tensor,
    stop: Tensor,
    ratio: Tensor | None,
    gamma: float,
    lam: float | Tensor,
    clip: float = 1.0,
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
        gamma: discount.
        lam: lambda, one for all or `[T, ...]`.
        clip: of the importance weight of a turn's own error.
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


def own_turns(reward: Tensor, value: Tensor, following: Tensor, stop: Tensor, moved: Tensor, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Values for games of turns, where an agent's critic is only asked, and only learns, when it is its move.

    While an agent waits, V_t = r_t + gamma * V_{t+1}: its error is zero, and rewards reach back to its last move, discounted for every
    turn. The last move before the stretch ends is not usable, since what follows is not known; its own value ends the traces.

    Args:
        reward, value, following, stop: `[T, ...]`, as in `vtrace`.
        moved: `[T, ...]` bool, it was the agent's move.
        gamma: discount.

    Returns:
        Value and following to give to `vtrace` (with lambda 1 where `moved` is False), and where a move can be learned from, `[T, ...]`.
    """
    value, following, usable = value.clone(), following.clone(), torch.empty_like(moved)
    ahead, known = following[-1], stop[-1]
    for t in range(len(reward) - 1, -1, -1):
        following[t] = torch.where(stop[t], following[t], ahead)
        known = stop[t] | known
        usable[t] = moved[t] & known
        waited = reward[t] + gamma * following[t]
        ahead = torch.where(moved[t], value[t], waited)
        value[t] = torch.where(usable[t], value[t], waited)
        known = moved[t] | known
    return value, following, usable
