"""Epsilon-greedy play by a recurrent Q-network that all seats share."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env, Step
from interplay.policies.chairs import thrown
from interplay.policies.distributions import categorical_sample, masked
from interplay.policies.q_network import QNetwork, best, possible, soft
from interplay.policies.seating import fold, unfold


@dataclass(frozen=True)
class ExploreConfig:
    """How often random moves are made: every (world, agent) has one of `count` rates base^(1 + power i / (count - 1)).

    Attributes:
        base: the largest rate.
        power: 1 + power is the exponent of the smallest.
        count: how many rates there are. Horgan et al. 2018; these numbers are of Hu & Foerster 2020.
    """

    base: float = 0.1
    power: float = 7.0
    count: int = 80

    def rates(self, device: torch.device | str = "cpu") -> Tensor:
        """All rates `[count]`, falling."""
        step = torch.arange(self.count, dtype=torch.float64, device=device) / max(1, self.count - 1)
        return (self.base ** (1 + self.power * step)).to(torch.float32)


class QPlayer:
    """Takes the best move, or, with a probability that belongs to the world and the agent, any legal one.

    What it remembers is the GRU's state. A waiting agent's action is 0, which worlds ignore. A `greedy` player never explores. One that
    `tells` also says which move it thinks best (simplified action decoding: see `envs.hanabi`). One with a `temperature` draws in place of
    the best move one with probability ~ exp(q / temperature), also where it is greedy.
    """

    def __init__(
        self,
        network: QNetwork,
        explore: ExploreConfig | None = None,
        greedy: bool = False,
        tells: bool = False,
        temperature: float = 0.0,
    ) -> None:
        self.network, self.explore, self.greedy, self.tells = network, explore or ExploreConfig(), greedy, tells
        self.temperature = temperature

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over `{"flat": [1, D]}`."""
        self.network.load(weights["flat"])

    def start(self, env: Env) -> Tensor:
        """Nothing is remembered at the start: `[N, A, H]` zeros."""
        return torch.zeros(env.n, env.agents, self.network.config.recurrent, device=env.device)

    def rates(self, env: Env) -> Tensor:
        """The probability `[N, A]` of a random move: keyed by world and agent, the same for ever."""
        unit = streams.units(env.seed, dice.INIT, env.first, 0, (env.n, env.agents), env.device)
        return self.explore.rates(env.device)[(unit * self.explore.count).to(torch.int64)]

    def choose(self, q: Tensor, moves: Tensor, unit: Callable[[], Tensor]) -> Tensor:
        """Moves `[...]` by values `[..., n]`: the best, or with a temperature by uniform numbers `[...]`, which are only thrown then."""
        return categorical_sample(masked(q / self.temperature, moves), unit())[0] if self.temperature else best(q, moves)

    @torch.no_grad()
    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Moves `[N, A]`, their log-probabilities and the next state, keyed by world and draw."""
        moves = possible(shown.legal, shown.acting, shown.alive, shown.acting, env.spec.actions)
        rows = lambda x: fold(x.unsqueeze(0), 1, False)
        seats = lambda y: unfold(y, 1, env.agents, False).squeeze(0)
        q, states = self.network.q(rows(shown.obs), rows(moves), None if carry is None else rows(carry)[:, 0])
        q = seats(q)
        likely = lambda action: soft(q, moves, self.temperature).gather(-1, action.unsqueeze(-1)).squeeze(-1)
        favourite = self.choose(q, moves, lambda: thrown(env, dice.CHOOSE, draw))
        if self.greedy:
            action, chance = favourite, likely(favourite)
        else:
            rate = self.rates(env)
            unit = streams.units(env.seed, dice.ACT, env.first, draw, (env.n, env.agents, 2), env.device)
            action, random = explore(favourite, moves[..., :-1], rate, unit)
            chance = (1 - rate) * likely(action) + random
            if self.tells:
                action = action + env.spec.actions * (1 + favourite)
        waits = moves[..., -1]
        return action.masked_fill(waits, 0), chance.masked_fill(waits, 1).log(), seats(states)


def explore(favourite: Tensor, may: Tensor, rate: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
    """The best move `favourite` `[...]`, or with probability `rate` `[...]` any of those that `may` `[..., actions]` be made.

    Args:
        favourite, may, rate: as above.
        unit: two uniform numbers each, `[..., 2]`: whether, and which.

    Returns:
        Moves `[...]`, and the probabilities with which chance alone makes them.
    """
    coin, choice = unit.unbind(-1)
    count = may.sum(-1)
    pick = torch.minimum((choice * count).to(torch.int64), (count - 1).clamp(min=0))
    any_legal = (may.cumsum(-1) > pick.unsqueeze(-1)).to(torch.uint8).argmax(-1)
    action = torch.where(coin < rate, any_legal, favourite)
    return action, rate / count.clamp(min=1)
