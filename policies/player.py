"""Who sits in the seats of a batch of worlds and acts."""

from typing import Protocol

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env, Step
from interplay.policies.distributions import categorical_sample, gaussian, masked
from interplay.policies.grid_network import GridNetwork
from interplay.policies.networks import ActorCritic
from interplay.policies.seating import fold, unfold, where_moving


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

    The recurrent state holds both towers' memories, because the learner's critic must start a stretch where it stood.

    Args:
        network: the members.
        independent: each agent has its own member (else all agents of a group share one).
        greedy: take the likeliest move (or the mean) instead of drawing one.
        groups: S populations: the worlds come in S equal contiguous groups (`policies.seating`).

    Attributes:
        judged: `[N, A]` what the critics of networks with memory thought when they acted last.
    """

    def __init__(self, network: ActorCritic | GridNetwork, independent: bool, greedy: bool = False, groups: int = 1) -> None:
        self.network, self.independent, self.greedy, self.groups = network, independent, greedy, groups
        self.judged: Tensor | None = None

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
        lay = lambda x: fold(x.unsqueeze(0), self.groups, self.independent)
        obs = lay(shown.obs)
        if carry is None:
            out = where_moving(lambda x: net.actor(x)[0], obs, lay(shown.acting) if spec.turns else None)
        else:
            seen = obs if net.views == 1 else fold(net.seen(shown.obs.unsqueeze(0)), self.groups, self.independent)
            out, value, after = net.play(obs, seen, lay(carry).squeeze(1))
            assert value is not None and after is not None
            self.judged, carry = self._seats(value.unsqueeze(-1), env).squeeze(-1), self._seats(after, env)
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
        return unfold(y.expand(-1, -1, rows, -1), self.groups, env.agents, self.independent).squeeze(0)
