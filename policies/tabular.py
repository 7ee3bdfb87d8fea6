"""Memory-one players of iterated 2x2 games: five logits of cooperating, after CC, CD, DC, DD (own move first), and at the start."""

import torch
import torch.nn.functional as F
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env, Step

STATES = ("CC", "CD", "DC", "DD", "start")


def state_of(obs: Tensor) -> Tensor:
    """The index `[...]` in `STATES` from a matrix game's view `[..., 5]` (start first)."""
    return (obs.argmax(-1) + 4) % 5


def log_prob(theta: Tensor, state: Tensor, action: Tensor) -> Tensor:
    """log pi(action | state) under logits `theta` `[..., 5]`; `state` and `action` `[T, ...]` (action 0 cooperates)."""
    logit = theta.expand(*state.shape, 5).gather(-1, state.unsqueeze(-1)).squeeze(-1)
    return F.logsigmoid(torch.where(action == 0, logit, -logit))


class MemoryOnePlayer:
    """Tabular players in both seats of a 2x2 game.

    Weights are `{"theta": [G, 2, 5]}`: world i is played by pair `(i - origin) // per_pair`; `stream` keys the dice.
    """

    def __init__(self, per_pair: int, origin: int = 0, stream: int = dice.ACT) -> None:
        self.per_pair, self.origin, self.stream = per_pair, origin, stream
        self.theta = torch.zeros(0)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over the logits of all pairs."""
        self.theta = weights["theta"]

    def start(self, env: Env) -> None:
        """A memory-one player remembers nothing beyond what it sees."""

    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, None]:
        """Cooperate with the probability of the state, keyed by world and draw."""
        logit = self.logits(env, state_of(shown.obs))
        action = self.move(env, logit, draw)
        return action, F.logsigmoid(torch.where(action == 0, logit, -logit)), None

    def logits(self, env: Env, state: Tensor) -> Tensor:
        """The players' logits `[N, 2]` in their states `[N, 2]`."""
        pair = (torch.arange(env.first, env.first + env.n, device=env.device) - self.origin) // self.per_pair
        return self.theta.view(-1)[(pair.unsqueeze(1) * 2 + torch.arange(2, device=env.device)) * 5 + state]

    def move(self, env: Env, logit: Tensor, draw: int) -> Tensor:
        """Moves `[N, 2]` from logits of cooperating."""
        return (streams.units(env.seed, self.stream, env.first, draw, (env.n, 2), env.device) >= torch.sigmoid(logit)).long()
