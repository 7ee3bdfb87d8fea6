"""The naive learner: follows the gradient of its own return, as if the others stood still. From sampled rounds."""

import torch
from torch import Tensor


def policy_gradient(theta: Tensor, state: Tensor, action: Tensor, reward: Tensor, gamma: float) -> Tensor:
    """REINFORCE for memory-one players, in closed form.

        g[s] = mean over the batch of sum_t 1{s_t = s} (1{a_t = C} - sigmoid(theta_s)) gamma^t (G_t - mean of G_t over the batch)

    Args:
        theta: `[..., 5]` logits of cooperating.
        state, action: `[T, M, ...]` states 0..4 and moves (0 cooperates) of M games in parallel.
        reward: `[T, M, ...]`.
        gamma: discount; G_t is the discounted return from t on.

    Returns:
        An unbiased (up to the baseline's 1/M) estimate of the gradient of the discounted return, `[..., 5]`.
    """
    going = torch.empty_like(reward)
    ahead = torch.zeros_like(reward[0])
    for t in range(len(reward) - 1, -1, -1):
        ahead = going[t] = reward[t] + gamma * ahead
    discount = gamma ** torch.arange(len(reward), dtype=reward.dtype, device=reward.device).view(-1, *[1] * (reward.ndim - 1))
    weight = discount * (going - going.mean(1, keepdim=True))
    score = (action == 0).to(reward.dtype) - torch.sigmoid(theta).expand(*state.shape, 5).gather(-1, state.unsqueeze(-1)).squeeze(-1)
    flat = (score * weight).flatten(2) if reward.ndim > 2 else (score * weight).unsqueeze(-1)
    index = state.flatten(2) if state.ndim > 2 else state.unsqueeze(-1)
    hot = torch.zeros(5, flat.shape[-1], dtype=reward.dtype, device=reward.device)
    hot = hot.scatter_add(0, index.flatten(0, 1), flat.flatten(0, 1))
    return (hot / reward.shape[1]).T.reshape(*reward.shape[2:], 5)
