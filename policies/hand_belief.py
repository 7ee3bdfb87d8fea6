"""What a player of Hanabi believes to hold: a distribution over its own hand, learned from how a policy plays.

    p(card of slot k | view so far, cards of slots before k) ~ n(card) fits(card, k) exp f(card)

n counts the copies that the player sees nowhere, less those in the slots before; fits says that hints leave the card possible. With f = 0
this is exactly the uniform distribution over hands that hints leave (slots from the oldest, see `envs.hanabi_hand.sample`), the belief
about a partner who moves at random up to the number of its legal moves; f, a recurrent network, learns what a policy's moves tell.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import Spec, World
from interplay.policies import gru
from interplay.policies.dense import perceptron
from interplay.policies.flat import FlatWeights
from interplay.policies.hanabi_belief import Reader
from interplay.policies.hanabi_encoding import V0

NEVER = 1e-30  # stands for no copy at all, where a logarithm is taken


@dataclass(frozen=True)
class BeliefConfig:
    """Widths: of the perceptron before the GRU, of the GRU, and of the layer that reads it together with the slots before."""

    hidden: tuple[int, ...] = (128,)
    recurrent: int = 128
    head: int = 128


class HandBelief(FlatWeights):
    """A learned belief.

    Args:
        config: widths.
        world: a world of Hanabi.
        spec: what is seen there.
        seed: orthogonal weights (gain sqrt 2), zero biases, and zeros in the last layer: at first nothing has been learned.
    """

    def __init__(self, config: BeliefConfig, world: World, spec: Spec, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.config, self.spec, self.reader, self.encode = config, spec, Reader(world), V0(world)
        super().__init__(self._layout(), 1, device)
        gains = {"gru.input": 1.0, "gru.hidden": 1.0, "cards.weight": 0.0}
        self.draw(seed + 500_009, lambda name: gains.get(name, math.sqrt(2)))

    def _layout(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        width, h, slots, cards = self.spec.observation[0], self.config.recurrent, self.reader.size, self.reader.cards
        for k, n in enumerate(self.config.hidden):
            shapes[f"{k}.weight"], shapes[f"{k}.bias"] = (width, n), (1, n)
            width = n
        shapes["gru.input"], shapes["gru.hidden"] = (3 * h, width), (3 * h, h)
        shapes["gru.input_bias"], shapes["gru.hidden_bias"] = (3 * h,), (3 * h,)
        shapes["state.weight"] = (h, self.config.head)
        shapes["before.weight"] = (slots * cards, self.config.head)
        shapes["slot.bias"] = (slots, self.config.head)
        shapes["cards.weight"], shapes["cards.bias"] = (self.config.head, cards), (slots, cards)
        return shapes

    def remember(self, obs: Tensor, carry: Tensor | None = None) -> Tensor:
        """Recurrent states `[1, T, R, H]` from packed views `[1, T, R, bytes]`, after the state `carry` `[1, R, H]`."""
        w, (_, turns, rows) = self.weights, obs.shape[:3]
        x = self.encode(unpack(obs, self.spec.observation[0])).reshape(1, turns * rows, -1)
        layers = [w[f"{k}.{part}"] for k in range(len(self.config.hidden)) for part in ("weight", "bias")]
        x = perceptron(x, layers, "relu", False) if layers else x
        if carry is None:
            carry = torch.zeros(1, rows, self.config.recurrent, device=x.device)
        memory = [w[f"gru.{part}"] for part in ("input", "hidden", "input_bias", "hidden_bias")]
        return gru.scan(x.unflatten(1, (turns, rows)), carry, None, memory)

    def _tilt(self, states: Tensor, before: Tensor, slot: int) -> Tensor:
        """f of one slot `[R, cards]` from states `[R, H]` and the one-hot cards of all slots before `[R, slots, cards]`."""
        w = self.weights
        known = before[:, :slot].flatten(1) @ w["before.weight"][0, : slot * before.shape[2]] if slot else 0.0
        hidden = torch.relu(states @ w["state.weight"][0] + known + w["slot.bias"][0, slot])
        return hidden @ w["cards.weight"][0] + w["cards.bias"][0, slot]

    def surprise(self, obs: Tensor, states: Tensor, hand: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropies `[R]` of hands, in nats, summed over their cards: of this belief, of the grounded one (f = 0), and of V0.

        Args:
            obs: packed views `[R, bytes]`.
            states: `[R, H]` (see `remember`).
            hand: `[R, slots]` whole numbers, -1 where there is no card.
        """
        bits = unpack(obs, self.spec.observation[0])
        left, fits = self.reader.unseen(bits)
        truth = torch.nn.functional.one_hot(hand.clamp(min=0), self.reader.cards).to(torch.float32) * (hand >= 0).unsqueeze(-1)
        learned, grounded = torch.zeros(len(obs), device=obs.device), torch.zeros(len(obs), device=obs.device)
        for k in range(self.reader.size):
            weight = (left * fits[:, k]).clamp(min=NEVER)
            logits = weight.log() + self._tilt(states, truth, k)
            one = lambda logs, k=k: (logs.masked_fill(truth[:, k] == 0, 0) * truth[:, k]).sum(-1)
            learned = learned - one(logits.log_softmax(-1))
            grounded = grounded - one(weight.log() - weight.sum(-1, keepdim=True).log())
            left = left - truth[:, k]
        v0 = (self.reader.slots(self.encode(bits))[:, : self.reader.size, : self.reader.cards] * truth).sum(-1)
        return learned, grounded, -torch.where(hand >= 0, v0.log(), 0).sum(-1)

    @torch.no_grad()
    def sample(self, obs: Tensor, states: Tensor, unit: Tensor) -> Tensor:
        """Hands `[R, slots]` int64, -1 where there is no card (or where no card is left that fits: such a hand is refused by the world).

        Args:
            obs, states: as in `surprise`.
            unit: a uniform number for each slot, `[R, slots]`.
        """
        left, fits = self.reader.unseen(unpack(obs, self.spec.observation[0]))
        drawn = torch.zeros_like(fits)
        for k in range(self.reader.size):
            weight = (left * fits[:, k]).clamp(min=0)
            chance = (weight.clamp(min=NEVER).log() + self._tilt(states, drawn, k)).softmax(-1)
            edges = torch.where(weight > 0, chance, 0).cumsum(-1)
            at = torch.searchsorted(edges, (unit[:, k] * edges[:, -1]).unsqueeze(1), right=True).clamp(max=self.reader.cards - 1)
            drawn[:, k].scatter_(1, at, 1.0)
            drawn[:, k] *= (weight.sum(-1, keepdim=True) > 0) & (weight.gather(1, at) > 0)
            left = left - drawn[:, k]
        return torch.where(drawn.sum(-1) > 0, drawn.argmax(-1), -1)
