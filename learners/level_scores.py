"""What a student's play says of the levels it was played on.

Every figure is of whole episodes: a mean over the turns of an episode, then over the episodes of a level that ended within the stretch.
So a level without a finished episode has no score (NaN).
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from interplay.envs.core import UsageError, did_you_mean
from interplay.learners.returns import gae

Score = Literal["maxmc", "pvl", "l1", "learnability", "regret"]
SCORES: tuple[str, ...] = get_args(Score)


def by_episode(x: Tensor, stop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of `x` `[T, N]` over each world's episodes, `stop` `[T, N]` being their last turns.

    Returns:
        Sums `[E, N]`, lengths `[E, N]` and whether the episode has ended `[E, N]`, E one more than any world has ended.
    """
    ends = stop.cumsum(0)
    number = ends - stop.to(ends.dtype)  # episodes ended before this turn
    count = int(ends[-1].max()) + 1
    sums = torch.zeros(count, x.shape[1], dtype=x.dtype, device=x.device).scatter_add_(0, number, x)
    lengths = torch.zeros(count, x.shape[1], device=x.device).scatter_add_(0, number, torch.ones_like(x, dtype=torch.float32))
    over = torch.arange(count, device=x.device).unsqueeze(1) < ends[-1]
    return sums, lengths, over


def measure(reward: Tensor, value: Tensor, stop: Tensor, gamma: float, lam: float, target: Tensor | None = None) -> dict[str, Tensor]:
    """What levels' scores are made of.

    Args:
        reward: `[T, N]`, each world's first episode starts with the first turn.
        value: `[T, N]` what the student's critic thought.
        stop: `[T, N]` bool, the episode ended with this turn (its future is worth 0).
        gamma, lam: of the advantages (`returns.gae`).
        target: `[T, N]` what was imagined in place of r_t + gamma V_{t+1}; NaN where nothing was.

    Returns:
        By name, `[N]` float32: `episodes` that ended; their mean and greatest `return` and `best`; `solved`, the share with a return
        above 0; the means of `value`, of `pvl` = max(A, 0), of `l1` = |A|. NaN where no episode has ended.
    """
    following = torch.cat([value[1:], torch.zeros_like(value[:1])]) * ~stop
    paid = reward
    if target is not None:
        paid, following = torch.where(target.isnan(), reward, target), following * target.isnan()
    advantage = gae(paid, value, following, stop, gamma, lam)
    sums, _, over = by_episode(reward, stop)
    episodes = over.sum(0)
    mean = lambda x: torch.where(over, x, 0.0).sum(0) / episodes  # 0 / 0 is NaN
    paces = lambda x: mean((s := by_episode(x, stop))[0] / s[1].clamp(min=1))
    best = torch.where(over, sums, -torch.inf).amax(0)
    return {
        "episodes": episodes.to(torch.float32),
        "return": mean(sums),
        "best": torch.where(episodes > 0, best, torch.nan),
        "solved": mean((sums > 0).to(torch.float32)),
        "value": paces(value),
        "pvl": paces(advantage.clamp(min=0)),
        "l1": paces(advantage.abs()),
    }


def score(kind: Score, found: dict[str, Tensor], best: Tensor) -> Tensor:
    """The scores `[N]` of levels; NaN where no episode has ended.

        maxmc:         mean_t (R_max - V_t), R_max the greatest return ever seen on the level (Jiang et al. 2021a)
        pvl:           mean_t max(A_t, 0)   (the same)
        l1:            mean_t |A_t|         (Jiang et al. 2021b)
        regret:        R_max - mean return, what is missed of the best that has been seen (Dennis et al. 2020)
        learnability:  p (1 - p), p the share of episodes that were solved (Tzannetos et al. 2023; Rutherford et al. 2024)

    Args:
        kind: which.
        found: of `measure`.
        best: `[N]`, R_max; numbers below this stretch's best, or NaN, are as if it had not been played before.

    Raises:
        UsageError: the kind is unknown.
    """
    if kind == "maxmc":
        return torch.fmax(best, found["best"]) - found["value"]
    if kind == "regret":
        return torch.fmax(best, found["best"]) - found["return"]
    if kind == "learnability":
        return found["solved"] * (1 - found["solved"])
    if kind in ("pvl", "l1"):
        return found[kind]
    raise UsageError(f"score {kind!r} is unknown{did_you_mean(kind, SCORES)}")
