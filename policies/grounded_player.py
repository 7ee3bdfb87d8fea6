"""Students who learn from what would have happened had the hidden part of their level been as in the world at large.

SAMPLR (Jiang et al. 2022, Grounding Aleatoric Uncertainty): a curriculum may show some hidden facts more often than they occur. So
before each move a student imagines the world with the facts drawn anew from what can be known, theta' ~ P(theta' | tau) under the true
prior; the same move is made there, and what follows, r' + gamma V(tau'), takes the place of what really came (`Trajectory.target`).
It is the idea of Off-Belief Learning with one player.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env
from interplay.envs.engine import Batch
from interplay.policies.grid_network import GridNetwork
from interplay.policies.player import NetworkPlayer
from interplay.policies.seating import fold

# (worlds, unit [N, 1]) -> changes [N, k] as the rules' `edit` reads them: facts drawn from what the player of each world can know
Posterior = Callable[[Batch, Tensor], Tensor]


class GroundedPlayer(NetworkPlayer):
    """Members with memory, of whom some imagine.

    Args:
        network: the members.
        groups: as in `NetworkPlayer`; agents share a group's member.
        gamma: discount.
        posterior: draws the hidden facts.
        grounded: `[S]` bool, which groups imagine.
        draws: worlds that are imagined for a move; their mean is the target (the paper's is one).
        scale: the critics' values are of rewards multiplied by this; targets are not.
    """

    def __init__(
        self, network: GridNetwork, groups: int, gamma: float, posterior: Posterior, grounded: Tensor, draws: int = 1, scale: float = 1.0
    ) -> None:
        super().__init__(network, False, groups=groups)
        self.gamma, self.posterior, self.grounded, self.draws = gamma, posterior, grounded, draws
        self.scale = scale
        self.room: Batch | None = None

    @torch.no_grad()
    def imagine(self, env: Env, action: Tensor, before: Tensor, after: Tensor, draw: int) -> Tensor:
        """Targets of the moves that are about to be made, `[N, A]` float32: NaN for those who do not imagine.

        Args:
            env: worlds in which `action` has not been played yet.
            action: `[N, A]`.
            before, after: memories before and after this turn was seen, `[N, A, H]`.
            draw: the number of the turn.
        """
        assert isinstance(env, Batch)
        if self.room is None or self.room.n != env.n:
            self.room = Batch(env.world, env.n, env.seed, device=env.device)
        unit = streams.units(env.seed, dice.BELIEF, env.first, draw, (env.n, self.draws), env.device)
        worth = torch.stack([self._once(env, self.room, action, after, unit[:, k : k + 1], draw, k) for k in range(self.draws)])
        imagines = self.grounded.to(env.device).repeat_interleave(env.n // self.groups)
        return worth.mean(0).masked_fill(~imagines.unsqueeze(1), torch.nan)

    def _once(self, env: Batch, room: Batch, action: Tensor, after: Tensor, unit: Tensor, draw: int, k: int) -> Tensor:
        """What follows in world k that is imagined for each, `[N, A]`; NaN where the facts could not be changed."""
        key = streams.key_of(env.seed, dice.IMAGINE)
        room.stand(env.memory, torch.full((env.n,), int(dice.philox(key, draw, k)), device=env.device))
        valid = room.edit(torch.ones(env.n, dtype=torch.bool, device=env.device), self.posterior(env, unit))
        out = room.step(action)
        lay = lambda x: fold(x.unsqueeze(0), self.groups, False)
        value = self.network.play(lay(out.obs), lay(out.obs), lay(after).squeeze(1))[1]
        assert value is not None
        following = self._seats(value.unsqueeze(-1), env).squeeze(-1) / self.scale * ~out.terminated.unsqueeze(1)
        return (out.reward + self.gamma * following).masked_fill(~valid.unsqueeze(1), torch.nan)
