"""LOLA-DiCE (Foerster et al. 2018): look through the other's learning steps with derivatives of any order, from sampled rounds.

Each update of both players takes K + 1 stages of play. In stages 1..K the imagined other learns from fresh rounds,

    theta2_{k+1} = theta2_k + alpha_in * grad_{theta2} L2(theta1, theta2_k),      the graph through theta1 kept;

in the last one the player itself does, through all of that: theta1 += alpha_out * grad_{theta1} L1(theta1, theta2_K(theta1)).
The published policy of a stage is thus (theta1, theta2_k) for player 1's look-ahead, and the mirror image for player 2's. What actors
stream is what the learner differentiates: nothing is asked of the world but plain play.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.policies.tabular import log_prob, state_of
from interplay.policies.trajectory import Trajectory


@dataclass(frozen=True)
class DiceConfig:
    """How LOLA-DiCE learns; step sizes of the authors' run script, batch of their published runs.

    Attributes:
        seeds: independent pairs of players, learning side by side.
        batch: games that a pair plays at a time.
        lookahead: K, learning steps of the other that are looked through; 0 is the naive learner.
        lr_out: step size of the player.
        lr_in: step size of the imagined other, shared out over its K steps: alpha_in = lr_in / K.
        gamma: discount.
        magic_box: False replaces the DiCE objective by the plain surrogate sum of log-probabilities times returns, whose second
            derivatives are wrong: LOLA then learns to defect, like a naive learner.
        spread: standard deviation of the initial logits.
    """

    seeds: int = 5
    batch: int = 64
    lookahead: int = 1
    lr_out: float = 0.2
    lr_in: float = 0.3
    gamma: float = 0.96
    magic_box: bool = True
    spread: float = 1.0


def magic_box(x: Tensor) -> Tensor:
    """exp(x - stopgrad(x)): 1 in value, the score function in every derivative (Foerster et al. 2018, eq. 6)."""
    return torch.exp(x - x.detach())


def dice_objective(both: Tensor, reward: Tensor, gamma: float, boxed: bool = True) -> Tensor:
    """A surrogate whose derivatives of any order estimate those of the expected discounted return.

        L = mean_n sum_t gamma^t magic_box(sum_{l <= t} log pi_l) (r_t - mean over the batch of r_t)

    Args:
        both: `[T, N, ...]` log-probabilities of both players' moves, summed over the players.
        reward: `[T, N, ...]` of the player whose objective it is.
        gamma: discount.
        boxed: without the magic box, sum_{l <= t} log pi_l itself: the first derivative is right, mixed second ones are not.

    The mean over the batch at each time is the baseline; the objective has shape `[...]`.
    """
    turns = len(reward)
    discount = gamma ** torch.arange(turns, dtype=reward.dtype, device=reward.device).view(-1, *[1] * (reward.ndim - 1))
    past = both.cumsum(0)
    weight = magic_box(past) if boxed else past
    return (weight * discount * (reward - reward.mean(1, keepdim=True))).sum(0).mean(0)


class DiceLearner:
    """S pairs of memory-one players that look ahead, each pair on `2 x batch` worlds: first player 1's look-ahead, then player 2's.

    `update` consumes one stage of play; every `lookahead + 1` of them make an update of the players. A checkpoint may be taken
    between updates of the players only (`at_rest`): in between, a graph is being built.
    """

    def __init__(self, config: DiceConfig, seed: int = 0) -> None:
        self.config = config
        start = streams.normals(seed, dice.INIT, 0, 0, (config.seeds, 2, 5))
        self.theta = config.spread * start  # [S, 2, 5]
        self.updates = 0
        self._begin()

    def _begin(self) -> None:
        """Start the look-ahead of an update from the players as they are."""
        self.stage = 0
        # [S, 2 looks, 5]: in look p, `own` is player p and `other` is p's idea of player 1 - p
        self.own = self.theta.clone().requires_grad_()
        self.other = self.theta.flip(1).clone().requires_grad_()

    @property
    def at_rest(self) -> bool:
        """Whether the players have just been updated, and no look-ahead has begun."""
        return self.stage == 0

    def policy(self) -> dict[str, Tensor]:
        """Who plays: `{"theta": [2 S, 2, 5]}`, pair 2 s + p is seed s in the look-ahead of player p, in the order of the seats."""
        own, other = self.own.detach(), self.other.detach()
        first = torch.stack([own[:, 0], other[:, 0]], 1)
        second = torch.stack([other[:, 1], own[:, 1]], 1)
        return {"theta": torch.stack([first, second], 1).flatten(0, 1)}

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """Take in one stage of play: `[T, 2 S batch, 2]`."""
        assert trajectory is not None
        config = self.config
        lay = lambda x: x.unflatten(1, (config.seeds, 2, config.batch)).movedim(3, 1)  # [T, batch, S, 2 looks, 2 players]
        state, action, reward = lay(state_of(trajectory.obs)), lay(trajectory.action), lay(trajectory.reward)
        mine = lambda x: torch.stack([x[..., 0, 0], x[..., 1, 1]], -1)  # what concerns the player who looks ahead
        yours = lambda x: torch.stack([x[..., 0, 1], x[..., 1, 0]], -1)
        both = log_prob(self.own, mine(state), mine(action)) + log_prob(self.other, yours(state), yours(action))
        value = lambda r: dice_objective(both, r, config.gamma, config.magic_box).sum()
        if self.stage == 0:
            self.earned = self._earned(reward)
        if self.stage < config.lookahead:
            (step,) = torch.autograd.grad(value(yours(reward)), self.other, create_graph=True)
            self.other = self.other + config.lr_in / config.lookahead * step
            self.stage += 1
            return {}
        (step,) = torch.autograd.grad(value(mine(reward)), self.own)
        self.theta = self.theta + config.lr_out * step
        self.updates += 1
        self._begin()
        return self.earned

    def _earned(self, reward: Tensor) -> dict[str, float]:
        """What the players earn against each other as they are (stage 0): (1 - gamma) sum_t gamma^t r_t, mean over seeds, and the least."""
        discount = self.config.gamma ** torch.arange(len(reward), dtype=reward.dtype).view(-1, 1, 1, 1, 1)
        earned = (1 - self.config.gamma) * (discount * reward).sum(0).mean((0, 2))  # [S, 2 players]
        metrics = {f"reward_per_step/player_{p}": float(earned[:, p].mean()) for p in range(2)}
        return metrics | {"reward_per_step/worst_seed": float(earned.mean(1).min())}

    def state_dict(self) -> dict[str, Tensor]:
        """The players; only between their updates."""
        assert self.at_rest, "a look-ahead is under way"
        return {"theta": self.theta.clone(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.theta, self.updates = state["theta"].clone(), int(state["updates"])
        self._begin()
