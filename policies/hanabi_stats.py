"""How literally a policy of Hanabi reads hints: what it knew of the cards that it played (Hu et al. 2021)."""

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import World
from interplay.policies.hanabi_belief import Reader

KNOWN = ("none", "colour", "rank", "both")  # what had been named of a card when it was played


class Literal(Reader):
    """What hints alone tell of one's own hand.

    All hands that hints, and the cards that are seen, leave possible are equally likely in their copies. With slots from the oldest,
    the possible cards S_j of an older slot are some of a younger one's, or none of them (see `envs.hanabi_hand.sample`). So if slot k
    holds card c, the others can be filled, one after the other, in as many ways as

        n(c) prod_{j != k} ( n(S_j) - #{i < j, i != k: S_i in S_j} - [k holds one of S_j] )

    where k holds one of S_j if c is in S_j, for j < k; and for j > k if S_k is in S_j.
    """

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.features = world.observation[0]

    def __call__(self, obs: Tensor) -> Tensor:
        """Probabilities `[R, slots, cards]` of one's own cards from packed views `[R, bytes]`; zeros for empty slots."""
        bits = unpack(obs, self.features)
        left, fits = (x.to(torch.float64) for x in self.unseen(bits))  # n, and c in S
        total = (fits * left.unsqueeze(1)).sum(-1)  # n(S_j)
        full = total > 0
        inside = ((fits * left.unsqueeze(1)) @ fits.transpose(1, 2) > 0).to(torch.float64)  # [R, i, j]: S_i and S_j share cards
        found = torch.zeros_like(fits)
        for k in range(self.size):
            ways = left * fits[:, k]
            for j in (j for j in range(self.size) if j != k):
                taken = sum((inside[:, i, j] for i in range(j) if i != k), torch.zeros(len(obs), dtype=torch.float64, device=obs.device))
                here = fits[:, j] if j < k else inside[:, k, j].unsqueeze(1)
                ways = ways * torch.where(full[:, j].unsqueeze(1), (total[:, j] - taken).unsqueeze(1) - here, 1.0)
            found[:, k] = ways / ways.sum(-1, keepdim=True).clamp(min=1e-300)
        return found

    def plays(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """For movers who play a card: the probability that it does not fit, to who reads hints literally, and which of `KNOWN` it was.

        Args:
            obs: packed views of the movers `[R, bytes]`.
            action: their moves `[R]`, all of them plays.

        Returns:
            Probabilities `[R]` float64, and numbers `[R]`.
        """
        slot, rows = action - self.size, torch.arange(len(action), device=action.device)
        bits = unpack(obs, self.features)
        hints = self.slots(bits)[rows, slot, self.cards :]
        known = hints[:, : self.colours].any(-1).to(torch.int64) + 2 * hints[:, self.colours :].any(-1).to(torch.int64)
        return 1 - (self(obs)[rows, slot] * self.table(bits).playable).sum(-1), known
