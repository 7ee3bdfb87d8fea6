"""Who sits in the seats of a batch of worlds and acts."""

from typing import Protocol

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env, Step
from interplay.policies.distributions import categorical_sample, gaussian, masked
from interplay.policies.networks import ActorCritic
from interplay.policies.seating import fold, unfold


class Player(Protocol):
    """Acts for all agents of a batch of worlds."""

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over what a learner's `policy()` gave."""
        ...

    def start(self, env: Env) -> Tensor | None:
        """The recurrent state `[N, A, hidden]` before the first turn, or None."""
        ...

    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Actions `[N, A]` (or `[N, A, dims]`), their log-probabilities `[N, A]` and the next recurrent state; `draw` keys the dice."""
        ...


class NetworkPlayer:
    """An actor-critic in every seat: its own member for each agent, or one shared by all.

    The recurrent state holds both towers' memories, because the learner's critic must start a stretch where it stood. A `greedy` player
    takes the likeliest move (or the mean) instead of drawing one.
    """

    def __init__(self, network: ActorCritic, independent: bool, greedy: bool = False) -> None:
        self.network, self.independent, self.greedy = network, independent, greedy

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over `{"flat": [P, D]}`."""
        self.network.load(weights["flat"])

    def start(self, env: Env) -> Tensor | None:
        """Nothing is remembered at the start."""
        width = self.network.carry_width
        return torch.zeros(env.n, env.agents, width, device=env.device) if width else None

    @torch.no_grad()
    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Sample from the actor, keyed by world and draw."""
        net, spec = self.network, env.spec
        obs = fold(shown.obs.unsqueeze(0), 1, self.independent)
        before = (None, None) if carry is None else fold(carry.unsqueeze(0), 1, self.independent).squeeze(1).chunk(2, -1)
        out, actor = net.actor(obs, before[0])
        if actor is not None:
            _, critic = net.critic(fold(net.seen(shown.obs.unsqueeze(0)), 1, self.independent), before[1])
            assert critic is not None
            carry = self._seats(torch.cat([actor, critic], -1), env)
        out = self._seats(out, env)
        if self.greedy:
            best = out if spec.continuous else masked(out, shown.legal if spec.masks else None).argmax(-1)
            return best, torch.zeros(env.n, env.agents, device=env.device), carry
        if spec.continuous:
            log_std = self._seats(net.weights["log_std"].unsqueeze(1), env)
            noise = streams.normals(env.seed, dice.ACT, env.first, draw, tuple(out.shape), env.device)
            action = out + noise * log_std.exp()
            return action, gaussian(out, log_std, action)[0], carry
        unit = streams.units(env.seed, dice.ACT, env.first, draw, (env.n, env.agents), env.device)
        return *categorical_sample(masked(out, shown.legal if spec.masks else None), unit), carry

    def _seats(self, y: Tensor, env: Env) -> Tensor:
        """Rows by member `[P, 1, R or 1, k]` to `[N, A, k]`."""
        rows = env.n * env.agents // y.shape[0]
        return unfold(y.expand(-1, -1, rows, -1), 1, env.agents, self.independent).squeeze(0)
