"""What views of Hanabi tell of the table and of hands, and what one's own cards are good for."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from interplay.envs import hanabi
from interplay.envs.bits import unpack
from interplay.envs.core import Section, UsageError, World

PLAYABLE, USELESS, OTHER = range(3)


class Table(NamedTuple):
    """What is public on the table, as float32 `[..., cards]`: copies of each card in the deck and in hands, whether it is the next of its
    firework, and whether it can never score any more (it is played, or above a rank of which all copies lie on the discards).
    """

    remaining: Tensor
    playable: Tensor
    useless: Tensor


class Reader:
    """Reads views of one world of Hanabi, in whatever order of colours they are."""

    def __init__(self, world: World) -> None:
        if world.rules is not hanabi:
            raise UsageError(f"world {world.name!r} is not Hanabi: encodings 'v0' and 'odds' and the auxiliary task are about its cards")
        self.world = world
        fields, copies = world.record.fields, np.asarray(world.default["copies"])
        assert fields is not None
        (self.players, self.size), (self.colours,), (self.ranks,) = (fields[name][0].shape for name in ("hand", "fireworks", "copies"))
        self.cards = self.colours * self.ranks
        self.copies = torch.from_numpy(copies.astype(np.float32))
        slot = np.repeat(np.arange(self.cards), np.tile(copies, self.colours))
        self.counted = torch.nn.functional.one_hot(torch.from_numpy(slot), self.cards).to(torch.float32)  # [deck, cards]
        self.sections: dict[str, Section] = {s.name: s for s in world.sections}

    def part(self, bits: Tensor, name: str) -> Tensor:
        """A section of views."""
        at = self.sections[name]
        return bits[..., at.start : at.stop]

    def table(self, bits: Tensor) -> Table:
        """What views `[..., features]` show of the table."""
        copies, grid = self.copies.to(bits.device), (self.colours, self.ranks)
        tops = self.part(bits, "fireworks").to(torch.float32).unflatten(-1, grid)
        played = tops.flip(-1).cumsum(-1).flip(-1)
        discarded = (self.part(bits, "discards").to(torch.float32) @ self.counted.to(bits.device)).unflatten(-1, grid)
        lost = (discarded == copies) & (played == 0)
        below = torch.nn.functional.pad(played, (1, 0), value=1.0)[..., :-1]
        useless = (lost.cumsum(-1) > 0) | (played > 0)
        return Table(*(x.to(torch.float32).flatten(-2) for x in (copies - discarded - played, below - played, useless)))

    def slots(self, bits: Tensor) -> Tensor:
        """What hints have told of all cards, one's own first: `[..., players slots, cards + colours + ranks]`."""
        return self.part(bits, "knowledge").unflatten(-1, (self.players * self.size, -1))

    def unseen(self, bits: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of each card that the player sees nowhere `[..., cards]`, and whether hints leave it possible in each slot of its hand
        `[..., slots, cards]`, both float32.
        """
        held = self.part(bits, "hands").to(torch.float32).unflatten(-1, (-1, self.cards)).sum(-2)
        return self.table(bits).remaining - held, self.slots(bits)[..., : self.size, : self.cards].to(torch.float32)

    def neighbour(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """From packed views `[..., A, bytes]` of all players at one moment: row a is what player a + 1 sees, as bits up to the last move,
        and there player a's hand, float32 `[..., A, slots, cards]`.
        """
        bits = unpack(obs.roll(-1, dims=-2), self.sections["discards"].stop)
        hands = self.part(bits, "hands").to(torch.float32).unflatten(-1, (self.players - 1, self.size, self.cards))
        return bits, hands[..., -1, :, :]


class OwnCards(Reader):
    """What everybody's own cards are good for, which the next player sees: the answers of the auxiliary task of Hu & Foerster 2020."""

    def __call__(self, obs: Tensor) -> Tensor:
        """Answers `[..., A, slots]` int64: 0 playable, 1 useless, 2 neither, -1 where there is no card.

        Args:
            obs: packed views `[..., A, bytes]` of all players at one moment.
        """
        bits, hand = self.neighbour(obs)
        table = self.table(bits)
        has = lambda kind: (hand @ kind.unsqueeze(-1)).squeeze(-1) > 0
        answer = torch.where(has(table.useless), USELESS, OTHER).masked_fill(has(table.playable), PLAYABLE)
        return answer.masked_fill(hand.sum(-1) == 0, -1)


class Hands(Reader):
    """Everybody's own cards, which the next player sees."""

    def __call__(self, obs: Tensor) -> Tensor:
        """Cards `[..., A, slots]` int64, -1 where there is none, from packed views `[..., A, bytes]` of all players at one moment."""
        _, hand = self.neighbour(obs)
        return torch.where(hand.sum(-1) > 0, hand.argmax(-1), -1)
