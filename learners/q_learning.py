"""Recurrent Q-learning for cooperative games: independent (IQL, Tan 1993) and value decomposition (VDN, Sunehag et al. 2018).

The recipe is that of Hu & Foerster 2020 (SAD): R2D2 without burn-in on whole games, double Q (van Hasselt et al. 2016), duelling
heads, n-step returns, prioritised replay. All seats share one network. Since targets are made when a game is drawn, by the present
network, it does not matter how old the policy was that played it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from interplay.learners.chunks import Crew
from interplay.learners.optim import AdamConfig, MemberAdam
from interplay.learners.ppo import earnings
from interplay.learners.replay import Drawn, Games, Store, unpack_moves
from interplay.policies.q_network import QNetwork, best
from interplay.policies.trajectory import Trajectory

Answers = Callable[[Tensor], Tensor]
CHUNK = 2048  # views of a chunk: games of like length share it, so that little is computed for padding


@dataclass(frozen=True)
class QConfig:
    """How Q-learning learns.

    Attributes:
        method: "iql", every agent its own errors; "vdn", one error of the sum over agents.
        gamma: discount.
        n_step: rewards in a target before it is bootstrapped.
        batch: games that make one step.
        capacity: games in replay.
        length: turns of a game that are kept (see `learners.replay`).
        warmup: games in replay before learning starts.
        updates: steps for each trajectory.
        target_every: steps from one copy of the network to the target network to the next.
        anneal: the learning rate falls linearly to 0 over so many updates (of a stage, where there are stages); 0 for never.
        auxiliary: weight of the auxiliary task's loss, where the network has a head for it.
        alpha, beta: of prioritised replay.
        peak: share of the largest error in a priority; the rest is the mean's.
        huber: errors beyond this count linearly.
    """

    method: Literal["iql", "vdn"] = "vdn"
    gamma: float = 0.999
    n_step: int = 3
    batch: int = 128
    capacity: int = 100_000
    length: int = 80
    warmup: int = 10_000
    updates: int = 10
    target_every: int = 2500
    anneal: int = 0
    auxiliary: float = 0.0
    alpha: float = 0.9
    beta: float = 0.6
    peak: float = 0.9
    huber: float = 1.0


def n_step_targets(reward: Tensor, value: Tensor, length: Tensor, truncated: Tensor, gamma: float, n: int) -> tuple[Tensor, Tensor]:
    """Targets y_t = sum_{k < m} gamma^k r_{t+k} + gamma^m V_{t+m}, with m = n or as many turns as there are.

    A game that terminated has all its turns, and V = 0 after them. Of a truncated game the last turn is only bootstrapped from.

    Args:
        reward: `[T, R]`.
        value: `[T, R]`, V_t of the state in which turn t is played.
        length: `[R]` turns of the game, at most T.
        truncated: `[R]` bool.
        gamma: discount.
        n: turns.

    Returns:
        Targets `[T, R]`, and where there is one `[T, R]` bool.
    """
    end, t = length - truncated.to(length.dtype), torch.arange(len(reward), device=length.device).unsqueeze(1)
    valid, target = t < end, torch.zeros_like(reward)
    for k in range(min(n, len(reward))):
        target[: len(reward) - k] += gamma**k * (reward * valid)[k:]
    at = torch.minimum(t + n, end)
    ahead = value.gather(0, at.clamp(max=len(value) - 1)) * ((at < end) | truncated)
    return torch.where(valid, target + gamma ** (at - t).clamp(min=0).to(value.dtype) * ahead, 0), valid


def priorities(error: Tensor, valid: Tensor, peak: float) -> Tensor:
    """peak max|delta| + (1 - peak) mean|delta| over the first dimension of `[K, E]`, where valid (Kapturowski et al. 2019)."""
    size = (error * valid).abs()
    return peak * size.amax(0) + (1 - peak) * size.sum(0) / valid.sum(0).clamp(min=1)


class QLearner:
    """A learner of one network that all seats share.

    Args:
        network: the learner owns its weights.
        config, optim: how to learn.
        replay: where its games are.
        threads: over which chunks are spread; the result does not depend on it.
        answers: of the auxiliary task, `[..., A, slots]` whole numbers (-1: no question) from stored views `[..., A, *stored]`.

    Attributes:
        updates, steps: trajectories that it learned from, and steps that it made.
    """

    def __init__(
        self, network: QNetwork, config: QConfig, optim: AdamConfig, replay: Store, threads: int = 1, answers: Answers | None = None
    ) -> None:
        self.network, self.config, self.spec, self.answers = network, config, network.spec, answers
        self.target = network.twin()
        self.adam, self.crew = MemberAdam(network.flat, optim), Crew(threads)
        self.replay = replay
        self.updates = self.steps = 0

    def policy(self) -> dict[str, Tensor]:
        """The weights `{"flat": [1, D]}`."""
        return {"flat": self.network.flat.detach()}

    def state_dict(self) -> dict[str, Tensor]:
        """Weights of both networks, Adam's moments, steps made, and all of the replay."""
        kept = {f"replay.{name}": x for name, x in self.replay.state_dict().items()}
        weights = {"flat": self.network.flat.detach().clone(), "target": self.target.flat.detach().clone()}
        return weights | {"updates": torch.tensor(self.updates), "steps": torch.tensor(self.steps), **self.adam.state_dict(), **kept}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.network.load(state["flat"])
        self.target.load(state["target"])
        self.updates, self.steps = int(state["updates"]), int(state["steps"])
        self.adam.load_state_dict(state)
        self.replay.load_state_dict({k.removeprefix("replay."): v for k, v in state.items() if k.startswith("replay.")})

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """Keep the games that ended, draw games for all `updates` steps at once, and make them."""
        assert trajectory is not None
        config, first = self.config, self.steps
        added, kept = self.replay.add(trajectory)
        metrics = {"replay/added": float(added), "replay/games": float(kept)}
        if config.anneal:
            self.adam.scale = max(0.0, 1 - self.updates / config.anneal)
        self.updates += 1
        if kept >= config.warmup:
            terms = [self.step(drawn) for drawn in self.replay.draw(config.batch, [first + k for k in range(config.updates)])]
            metrics |= {f"q/{name}": float(torch.stack([x[name] for x in terms]).mean()) for name in terms[0]}
        return metrics | earnings(trajectory)

    def step(self, drawn: Drawn) -> dict[str, Tensor]:
        """One step on a draw of games; returns means over it."""
        device = self.network.flat.device
        gradient, terms, priority = self.gradient(drawn.games.to(device), drawn.weight.to(device))
        self.replay.reprioritise(drawn.slot, priority)
        norm = self.adam.step(gradient).mean()
        self.steps += 1
        if self.steps % self.config.target_every == 0:
            self.target.load(self.network.flat)
        return terms | {"priority": priority.mean(), "gradient_norm": norm}

    def gradient(self, games: Games, weight: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The gradient `[1, D]` of the loss, its terms, and the games' priorities `[E]`.

        Games are sorted by length and cut into chunks of at most `CHUNK` views (on a GPU there is one).
        """
        order = games.length.argsort(stable=True)
        size = max(1, CHUNK // (games.obs.shape[1] * games.obs.shape[2])) if order.device.type == "cpu" else len(order)

        def work(piece: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
            part = games.pick(piece)
            chosen, target, valid, features = self.errors(part)
            loss, priority = self.loss(chosen, target, valid, weight[piece])
            terms = {"loss": loss.detach(), "value": (chosen.detach() * valid).sum(), "count": valid.sum()}
            if self.answers:
                surprise, right, asked = self.guesses(part, features)
                loss = loss + self.config.auxiliary * (weight[piece] * surprise).sum()
                terms |= {"surprise": surprise.detach().sum(), "right": right, "asked": asked}
            return self.network.gradient(loss / len(order)), terms, priority

        gradients, terms, priority = zip(*self.crew.map(work, order.split(size)), strict=True)
        total = {name: torch.stack([x[name] for x in terms]).sum(0) for name in terms[0]}
        means = {"loss": total["loss"] / len(order), "value": total["value"] / total["count"].clamp(min=1)}
        if self.answers:
            means |= {"surprise": total["surprise"] / len(order), "guessed": total["right"] / total["asked"].clamp(min=1)}
        return torch.stack(gradients).sum(0), means, torch.cat(priority)[order.argsort()]

    def loss(self, chosen: Tensor, target: Tensor, valid: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weighted sum over games of their losses, and their priorities `[E]`, from errors `[T, E, K]`.

        sum_e w_e mean_k sum_t huber(Q_t - y_t)        K is 1 (VDN), or the agents (IQL)
        """
        each = F.huber_loss(chosen, target, reduction="none", delta=self.config.huber) * valid
        flat = lambda x: x.detach().transpose(1, 2).flatten(0, 1)
        return (weight * each.sum(0).mean(-1)).sum(), priorities(flat(chosen - target), flat(valid), self.config.peak)

    def guesses(self, games: Games, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy of the auxiliary task `[E]`, summed over a game's turns, mean over its agents and the slots in question; and how
        many answers were right of how many.
        """
        assert self.answers is not None
        answer = self.answers(games.obs).transpose(0, 1)  # [T, E, A, slots]
        inside = torch.arange(len(answer), device=answer.device).unsqueeze(1) < games.length
        answer = answer.masked_fill(~inside.view(*inside.shape, 1, 1), -1)
        guess = self.network.guess(features).view(*answer.shape, -1)
        each = F.cross_entropy(guess.flatten(0, -2), answer.flatten(), ignore_index=-1, reduction="none").view_as(answer)
        slots = (answer >= 0).sum(-1).clamp(min=1)
        right = (guess.argmax(-1) == answer).sum()
        return (each.sum(-1) / slots).mean(-1).sum(0), right, (answer >= 0).sum()

    def errors(self, games: Games) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Q of what was done, its target, and where there is one, `[T, E, K]`: K is 1 for VDN (sums over agents), else the agents. And what
        the network's heads read, `[1, T, E A, H]`.

        The bootstrap is double Q: the network says which move is best, the target network what it is worth. VDN's reward is the mean
        over agents, which is theirs where they share it.
        """
        config, (count, turns, agents) = self.config, games.move.shape
        rows = lambda x: x.transpose(0, 1).flatten(1, 2).unsqueeze(0)  # [1, T, E A, ...]
        obs, moves = rows(games.obs), rows(unpack_moves(games.legal, self.spec.actions))
        features, _ = self.network.remember(obs)
        q = self.network.values(features, moves)
        with torch.no_grad():
            worth = self.target.q(obs, moves)[0].gather(-1, best(q, moves).unsqueeze(-1))
        seats = lambda x: x.view(turns, count, agents)
        chosen = seats(q.gather(-1, rows(games.move).to(torch.int64).unsqueeze(-1)))
        worth, reward = seats(worth), games.reward.transpose(0, 1)
        if config.method == "vdn":
            chosen, worth, reward = chosen.sum(-1, keepdim=True), worth.sum(-1, keepdim=True), reward.mean(-1, keepdim=True)
        heads = chosen.shape[-1]
        each = lambda x: x.repeat_interleave(heads)
        target, valid = n_step_targets(
            reward.flatten(1), worth.flatten(1), each(games.length), each(games.truncated), config.gamma, config.n_step
        )
        return chosen, target.view_as(chosen), valid.view_as(chosen), features
