"""Naive learning and LOLA with exact gradients, in 2x2 games whose values have a closed form: thousands of games side by side.

Everybody climbs the discounted sum V = E Σ_t γᵗ r_t (in a one-shot game: the expected payoff). A rule gives the direction in which a
player's logits go; where they go is δ times that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs import dice, exact, matrix, streams
from interplay.envs.core import UsageError, did_you_mean, whole
from interplay.policies.scripted import names, scripted
from interplay.policies.trajectory import Trajectory

GAMMA = {"ipd": 0.96, "imp": 0.9, "chicken": 0.0, "stag-hunt": 0.96}  # of LOLA's and M-FOS's experiments
TIT_FOR_TAT = (1.0, -1.0, 1.0, -1.0, 1.0)  # the sides of its logits

Rule = Callable[[Tensor, Tensor, Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class ExactConfig:
    """Who learns what, and how.

    Attributes:
        game: one of `matrix.CLASSICS`.
        players: how the first and the second player learn: "naive", "lola_shaping", "lola_full", or the name of a scripted player,
            which stays as it is.
        games: pairs of players that learn independently of each other (seeds).
        gamma: discount in [0, 1); 0 is a one-shot game, whose policies are one logit. None: that of the literature (IPD 0.96,
            IMP 0.9, chicken one-shot).
        delta: learning rate δ.
        eta: η, the learning rate that LOLA takes the other to have.
    """

    game: str = "ipd"
    players: tuple[str, str] = ("lola_full", "lola_full")
    games: int = 1000
    gamma: float | None = None
    delta: float = 1.0
    eta: float = 1.0


def gradient(value: Tensor, theta: Tensor) -> Tensor:
    """∂value/∂theta, itself differentiable; each game's `value` `[G]` depends on its own row of `theta` `[G, L]` alone."""
    return torch.autograd.grad(value.sum(), theta, create_graph=True)[0]


def naive_step(mine: Tensor, theirs: Tensor, my_value: Tensor, their_value: Tensor, eta: float = 1.0) -> Tensor:
    """Gradient ascent on one's own value, as if the other stood still: ∇₁V¹, `[G, L]`.

    Args, here and in the two rules below:
        mine, theirs: both players' logits `[G, L]`, of which the values were computed.
        my_value, their_value: V¹ and V², `[G]`, differentiable in both.
        eta: the learning rate that the other is taken to have (not used here).
    """
    return torch.autograd.grad(my_value.sum(), mine, retain_graph=True)[0]


def lola_shaping_step(mine: Tensor, theirs: Tensor, my_value: Tensor, their_value: Tensor, eta: float = 1.0) -> Tensor:
    """LOLA as its authors' program has it: ∇₁V¹ + η (∇₂V¹)ᵀ ∇₁∇₂V², `[G, L]`.

    The second term shapes: it changes where the other's naive step ∇₂V² will go, towards where V¹ grows. ∇₂V¹ counts as a constant
    (Foerster et al. 2018, section 4).
    """
    want, go = gradient(my_value, theirs).detach(), gradient(their_value, theirs)
    return naive_step(mine, theirs, my_value + eta * (want * go).sum(-1), their_value)


def lola_full_step(mine: Tensor, theirs: Tensor, my_value: Tensor, their_value: Tensor, eta: float = 1.0) -> Tensor:
    """LOLA as M-FOS's opponents have it: ∇₁[V¹ + η (∇₂V¹)ᵀ∇₂V²], `[G, L]`.

    The whole gradient of V¹(θ¹, θ² + η ∇₂V²) to first order in η (Foerster et al. 2018, section 4; Lu et al. 2022): shaping as above,
    and η (∇₂V²)ᵀ∇₁∇₂V¹, which looks ahead to where the other goes anyway.
    """
    want, go = gradient(my_value, theirs), gradient(their_value, theirs)
    return naive_step(mine, theirs, my_value + eta * (want * go).sum(-1), their_value)


def stay(mine: Tensor, theirs: Tensor, my_value: Tensor, their_value: Tensor, eta: float = 1.0) -> Tensor:
    """A scripted player does not learn: 0, `[G, L]`."""
    return torch.zeros_like(mine)


RULES: dict[str, Rule] = {"naive": naive_step, "lola_shaping": lola_shaping_step, "lola_full": lola_full_step}


def tft_agreement(theta: Tensor) -> Tensor:
    """Share of the logits that are on tit-for-tat's side of ½, `[...]`, of policies `[..., 5]`: 0.5 for random ones, 1 for its likes.

    The papers' "%TFT" is defined nowhere; `tft_all` (every logit) and `tft_mean` (this one's mean) among the metrics are ours.
    """
    return (theta * theta.new_tensor(TIT_FOR_TAT) > 0).float().mean(-1)


def near_half(theta: Tensor, within: float = 0.1) -> Tensor:
    """Whether all probabilities of a policy `[..., L]` are within so much of ½, `[...]` bool: matching pennies' equilibrium."""
    return ((theta.sigmoid() - 0.5).abs() <= within).all(-1)


class ExactLearner:
    """G games of two players; every `update` each player takes a step, both at once. It needs no trajectories.

    Args:
        config: who learns what, and how.
        seed, first: logits start from N(0, 1); game g is game `first + g` of the seed, and starts the same in any batch
            that holds it.
        device: where the games live.
    """

    def __init__(self, config: ExactConfig, seed: int = 0, first: int = 0, device: torch.device | str = "cpu") -> None:
        if config.game not in matrix.CLASSICS:
            raise UsageError(f"game {config.game!r} is unknown{did_you_mean(config.game, matrix.CLASSICS)}")
        self.config, self.gamma = config, GAMMA[config.game] if config.gamma is None else config.gamma
        if not 0 <= self.gamma < 1:
            raise UsageError(f"gamma is {self.gamma!r}; allowed are numbers from 0 to below 1")
        self.payoff = torch.tensor(matrix.CLASSICS[config.game], dtype=torch.float32, device=device)
        logits = 5 if self.gamma else 1
        games = whole("games", config.games, 1, 2**31 - 1)
        self.theta = streams.normals(seed, dice.INIT, first, 0, (games, 2, logits), device)
        self.rules = [self._seat(p, name) for p, name in enumerate(config.players)]
        self.updates = 0

    def _seat(self, p: int, name: str) -> Rule:
        """The rule of player p; a scripted one is given its logits."""
        if name in RULES:
            return RULES[name]
        if name not in names():
            raise UsageError(f"player {name!r} is unknown{did_you_mean(name, [*RULES, *names()])}")
        game = {"payoff": matrix.CLASSICS[self.config.game], "gamma": self.gamma}
        table = scripted(name, **(game if name == "zd-extort" else {}))
        self.theta[:, p] = torch.logit(table)[-self.theta.shape[-1] :]  # a one-shot player has the start's logit alone
        return stay

    def occupancy(self) -> Tensor:
        """Share of the discounted rounds in which CC, CD, DC, DD are played, `[4, G]`."""
        return self._occupancy(self.theta[:, 0], self.theta[:, 1])

    def _occupancy(self, theta1: Tensor, theta2: Tensor) -> Tensor:
        if self.gamma:
            return exact.occupancy(theta1, theta2, self.gamma)
        return exact.joint(theta1.squeeze(-1), theta2.squeeze(-1))

    def update(self, trajectory: Trajectory | None = None) -> dict[str, float]:
        """Both players take a step; the metrics are of the players as they were before it."""
        one, two = (self.theta[:, p].clone().requires_grad_() for p in range(2))
        share = self._occupancy(one, two)
        per_step = exact.expected(share, self.payoff)
        v1, v2 = (v / (1 - self.gamma) for v in per_step)
        steps = (self.rules[0](one, two, v1, v2, self.config.eta), self.rules[1](two, one, v2, v1, self.config.eta))
        metrics = self._metrics(share.detach(), [v.detach() for v in per_step])
        self.theta = self.theta + self.config.delta * torch.stack(steps, 1)
        self.updates += 1
        return metrics

    def _metrics(self, share: Tensor, per_step: list[Tensor]) -> dict[str, float]:
        """Means over games: rewards and their spread, cooperation, likeness to tit-for-tat, nearness to even odds."""
        found: dict[str, Tensor] = {}
        cooperates = (share[0] + share[1], share[0] + share[2])
        for p, reward in enumerate(per_step):
            theta = self.theta[:, p]
            found[f"reward_per_step/player_{p}"] = reward.mean()
            found[f"reward_sd/player_{p}"] = reward.std(correction=0)
            found[f"cooperation/player_{p}"] = cooperates[p].mean()
            found[f"near_half/player_{p}"] = near_half(theta).float().mean()
            if self.gamma:
                agreement = tft_agreement(theta)
                found[f"tft_mean/player_{p}"] = agreement.mean()
                found[f"tft_all/player_{p}"] = (agreement == 1).float().mean()
        return dict(zip(found, torch.stack(list(found.values())).tolist(), strict=True))

    def policy(self) -> dict[str, Tensor]:
        """The players' logits `{"theta": [G, 2, 5]}` (`[G, 2, 1]` in a one-shot game)."""
        return {"theta": self.theta}

    def state_dict(self) -> dict[str, Tensor]:
        """The players' logits and the number of updates made."""
        return {"theta": self.theta.clone(), "updates": torch.tensor(self.updates)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.theta, self.updates = state["theta"].to(self.theta.device, copy=True), int(state["updates"])
