"""The meta-game of M-FOS (Lu et al. 2022), a composite world: one meta-step is a whole game of the shaper against a learner.

A shaper's view is what was just played, sigmoid of [its own five logits, the other's five]; its action is the five logits it plays next;
its reward is what it earns a step in that game. The naive learner then takes one gradient step on its own return. A meta-episode has T
meta-steps and starts with a learner drawn from N(0, 1) and one game against a random policy.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from interplay.envs import dice, registry, streams
from interplay.envs.core import Spec, Step, UsageError
from interplay.envs.exact import mirrored, values
from interplay.envs.matrix import CLASSICS
from interplay.envs.memory_one import value_and_gradient
from interplay.learners.exact import lola_full_step
from interplay.learners.naive import policy_gradient
from interplay.policies.tabular import MemoryOnePlayer, state_of


@dataclass(frozen=True)
class MetaGameConfig:
    """The game inside, and who learns in it.

    Attributes:
        game: a 2x2 game of `envs.matrix`.
        gamma: discount of the inner game.
        lr: step size of the learning opponent.
        episode: T, meta-steps of a meta-episode.
        opponent: who is shaped: a naive learner, or one that does LOLA.
        samples: 0 plays the inner game by its closed form; otherwise so many sampled games of `rounds` rounds.
        rounds: length of a sampled inner game.
    """

    game: Literal["ipd", "imp", "stag-hunt"] = "ipd"
    gamma: float = 0.96
    lr: float = 1.0
    episode: int = 100
    opponent: Literal["naive", "lola"] = "naive"
    samples: int = 0
    rounds: int = 100


class MetaGame:
    """N meta-games.

    Args:
        config: the game.
        n: how many.
        shapers: 1, or 2 for meta-self-play: then each shaper has its own learner to shape, unless they `meet`.
        seed, first: as everywhere: meta-game i is number `first + i` of the seed.
    """

    spec = Spec((10,), 5, continuous=True)

    def __init__(self, config: MetaGameConfig, n: int, shapers: int = 1, seed: int = 0, first: int = 0, device: str = "cpu") -> None:
        if config.samples and config.opponent == "lola":
            raise UsageError("meta_game.opponent is 'lola' with meta_game.samples > 0; LOLA opponents need the closed form, samples 0")
        self.config, self.n, self.agents, self.seed, self.first = config, n, shapers, seed, first
        self.device = torch.device(device)
        self.payoff = torch.tensor(CLASSICS[config.game], dtype=torch.float32, device=self.device)
        self.meet = False  # whether the two shapers play each other
        self.episodes = 0
        new = lambda *dims: torch.zeros(n, *dims, device=self.device)
        flag = lambda *dims: torch.zeros(n, *dims, dtype=torch.bool, device=self.device)
        self.other = new(shapers, 5)
        self.turn = torch.zeros(n, dtype=torch.int64, device=self.device)
        true = flag(shapers).fill_(True)
        self.out = Step(
            new(shapers, 10),
            new(shapers),
            flag(),
            flag(),
            new(shapers, 10),
            torch.ones(n, shapers, 5, dtype=torch.bool),
            true,
            true.clone(),
        )
        self.earned, self.played = torch.zeros((), device=self.device), 0
        self._worlds = self._player = None
        if config.samples:
            games = n * shapers * config.samples
            start = first * shapers * config.samples
            self._worlds = registry.make(config.game, games, device, seed, start, rounds=config.rounds)
            self._player = MemoryOnePlayer(config.samples, start, dice.INNER)
        self.reset()

    def configure(self, options: dict[str, Any]) -> None:
        """Take over a task's options: `{"meet": bool}`."""
        self.meet = bool(options.get("meet", False)) and self.agents == 2

    def step(self, action: Tensor) -> Step:
        """Play the games with the shapers' logits `[N, A, 5]`; then the others learn."""
        out = self.out
        out.reward.copy_(self._play(action, out.obs))
        self.turn += 1
        out.truncated.copy_(self.turn >= self.config.episode)
        out.final_obs.copy_(torch.where(out.truncated.view(-1, 1, 1), out.obs, out.final_obs))
        if bool(out.truncated.any()):
            self._restart(out.truncated)
        return out

    def reset(self, mask: Tensor | None = None) -> Step:
        """Start meta-episodes under the mask."""
        self._restart(torch.ones_like(self.out.truncated) if mask is None else mask)
        return self.out

    def _restart(self, mask: Tensor) -> None:
        """Fresh learners, and one game of a random policy against each, under the mask."""
        drawn = streams.normals(self.seed, dice.META, self.first, self.episodes, (self.n, self.agents, 2, 5), self.device)
        self.episodes += 1
        under = mask.view(-1, 1, 1)
        kept, seen = self.other.clone(), self.out.obs.clone()
        self.other.copy_(drawn[:, :, 0])
        before = self.earned.clone(), self.played
        self._play(drawn[:, :, 1].contiguous(), seen)
        self.earned, self.played = before
        self.other.copy_(torch.where(under, self.other, kept))
        self.out.obs.copy_(torch.where(under, seen, self.out.obs))
        self.turn[mask] = 0

    def _play(self, action: Tensor, seen: Tensor) -> Tensor:
        """One game of each shaper: returns what the shapers earn `[N, A]`, writes what they see, lets the others learn."""
        if self.meet:
            seen.copy_(torch.sigmoid(torch.cat([action, action.flip(1)], -1)))
            mine, yours, _ = self._exact(action[:, 0].contiguous(), action[:, 1].contiguous())
            return torch.stack([mine, yours], 1)
        seen.copy_(torch.sigmoid(torch.cat([action, self.other], -1)))
        theta, other = action.reshape(-1, 5), self.other.view(-1, 5)
        mine, yours, step = self._sampled(theta, other) if self.config.samples else self._exact(theta, other)
        if self.config.opponent == "lola":
            step = self._lola(theta, other)
        other += step
        self.earned += yours.mean()
        self.played += 1
        return mine.view(self.n, self.agents)

    def _exact(self, theta: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Values a step of both players, and the naive step of the second: up its own discounted return."""
        return value_and_gradient(theta, other, self.payoff, self.config.gamma, self.config.lr / (1 - self.config.gamma))

    def _lola(self, theta: Tensor, other: Tensor) -> Tensor:
        """The step of a second player that looks through the shaper's naive step."""
        mine, theirs = other.clone().requires_grad_(), theta.detach().clone().requires_grad_()
        value, their_value = (v / (1 - self.config.gamma) for v in values(mine, theirs, mirrored(self.payoff), self.config.gamma))
        return self.config.lr * lola_full_step(mine, theirs, value, their_value, self.config.lr).detach()

    def _sampled(self, theta: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same, estimated from `samples` games of `rounds` rounds each, streamed by the kernel world."""
        worlds, player, config = self._worlds, self._player, self.config
        assert worlds is not None and player is not None
        shown = worlds.reset()
        player.theta = torch.stack([theta, other], 1)
        lay = lambda x: x.view(-1, config.samples).T
        states, actions, rewards = [], [], []
        draw = (self.episodes * (config.episode + 1) + int(self.turn[0])) * config.rounds
        for t in range(config.rounds):
            state = state_of(shown.obs)
            action = player.move(worlds, player.logits(worlds, state), draw + t)
            shown = worlds.step(action)
            states.append(lay(state[:, 1]))
            actions.append(lay(action[:, 1]))
            rewards.append(shown.reward.clone())
        reward = torch.stack(rewards)
        yours = torch.stack([lay(r[:, 1]) for r in rewards])
        gradient = policy_gradient(other, torch.stack(states), torch.stack(actions), yours, config.gamma)
        earned = reward.mean(0).view(-1, config.samples, 2).mean(1)
        return earned[:, 0], earned[:, 1], config.lr * gradient

    def outcome(self) -> dict[str, float]:
        """What the learners earned a step since the last call; resets the count."""
        found = {"reward_per_step/learner": float(self.earned) / self.played} if self.played else {}
        self.earned, self.played = torch.zeros_like(self.earned), 0
        return found

    def snapshot(self) -> dict[str, Tensor]:
        """The whole state, copied."""
        state = {"other": self.other.clone(), "turn": self.turn.clone(), "obs": self.out.obs.clone()}
        return state | {"episodes": torch.full((self.n,), self.episodes)}

    def restore(self, state: dict[str, Tensor]) -> Step:
        """Go back to a snapshot."""
        self.other.copy_(state["other"])
        self.turn.copy_(state["turn"])
        self.out.obs.copy_(state["obs"])
        self.episodes = int(state["episodes"][0])
        return self.out
