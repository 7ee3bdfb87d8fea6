"""What views of Hanabi tell of hands: beliefs in place of possibilities, and what one's own cards are good for."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
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


class V0(Reader):
    """Views with beliefs: in place of the bits that say which cards hints leave possible stand their probabilities,

        b(card) = possible(card) n(card) / sum over cards of possible n,     n: copies that are neither played nor discarded

    which look at no other slot and at nobody's hand, so that all players hold the same ones (Bard et al. 2020's "V0" of Foerster et al.
    2019). Empty slots stay zero.
    """

    @property
    def features(self) -> int:
        """Numbers of a view."""
        return self.world.observation[0]

    def __call__(self, bits: Tensor) -> Tensor:
        """Numbers `[..., features]` float32 from zeros and ones `[..., bits]`."""
        return self.in_one_pass(bits) if bits.device.type == "cpu" else self.step_by_step(bits)

    def step_by_step(self, bits: Tensor) -> Tensor:
        """The same by PyTorch's operations, on any device."""
        out, at = bits.to(torch.float32, copy=True), self.sections["knowledge"]
        slots = out[..., at.start : at.stop].unflatten(-1, (self.players * self.size, -1))[..., : self.cards]
        weight = slots * self.table(bits).remaining.unsqueeze(-2)
        slots.copy_(weight / weight.sum(-1, keepdim=True).clamp(min=1))
        return out

    def in_one_pass(self, bits: Tensor) -> Tensor:
        """The same on a CPU, view by view, so that nothing lies between bits and numbers."""
        out = torch.empty(bits[..., 0].numel(), self.features)
        out[:, : bits.shape[-1]] = bits.reshape(-1, bits.shape[-1])
        starts = tuple(self.sections[name].start for name in ("hands", "fireworks", "discards", "knowledge"))
        believe(out.numpy(), starts, (self.players, self.size, self.colours), self.copies.numpy(), bits.shape[-1])
        return out.view(*bits.shape[:-1], self.features)


class Odds(V0):
    """V0, and after it what each slot, one's own first, is good for: the probabilities that its card is playable and that it is useless,
    `[slots, 2]` by that public belief, and then `[slots, 2]` by all that the player sees: of its own cards by the copies it sees nowhere,
    of the others' cards for certain. A network would have to learn these products of belief and table one by one.
    """

    @property
    def features(self) -> int:
        """Numbers of a view."""
        return self.world.observation[0] + 4 * self.players * self.size

    def step_by_step(self, bits: Tensor) -> Tensor:
        """The same by PyTorch's operations, on any device."""
        out, table, (left, possible) = super().step_by_step(bits), self.table(bits), self.unseen(bits)
        weight = possible * left.unsqueeze(-2)
        own = weight / weight.sum(-1, keepdim=True).clamp(min=1)
        others = self.part(bits, "hands").to(torch.float32).unflatten(-1, (-1, self.cards))
        kinds = torch.stack([table.playable, table.useless], -1)
        odds = torch.cat([self.slots(out)[..., : self.cards], own, others], -2) @ kinds
        return torch.cat([out, odds.flatten(-2)], -1)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})  # sums of small whole numbers are exact in any order
def believe(views: Any, starts: Any, sizes: Any, copies: Any, end: int) -> None:
    """Beliefs in place of possibilities in views `[R, features]`; where there is room after `end`, `Odds` too."""
    (hands, fireworks, discards, knowledge), (players, size, colours) = starts, sizes
    ranks, slots = len(copies), players * size
    cards, wide, slot_width = colours * ranks, views.shape[1] > end, colours * (ranks + 1) + ranks
    left, playable, useless, mine = np.empty((4, cards), np.float32)
    for view in views:
        read(view, fireworks, discards, copies, left, playable, useless)
        for slot in range(slots):
            at = knowledge + slot * slot_width
            spread(view, at, left)
            if wide:
                rate(view, at, playable, useless, view, end + 2 * slot)
        if not wide:
            continue
        for other in range(slots - size):
            at = hands + other * cards
            rate(view, at, playable, useless, view, end + 2 * (slots + size + other))
            for card in range(cards):
                left[card] -= view[at + card]
        for slot in range(size):
            for card in range(cards):
                mine[card] = view[knowledge + slot * slot_width + card] > 0
            spread(mine, 0, left)
            rate(mine, 0, playable, useless, view, end + 2 * (slots + slot))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def read(view: Any, fireworks: int, discards: int, copies: Any, left: Any, playable: Any, useless: Any) -> None:
    """`Reader.table` of one view: copies of each card that are neither played nor discarded, and what it would be good for."""
    ranks, at = len(copies), discards
    for first in range(0, len(left), ranks):
        top, lost = 0, False
        for rank in range(ranks):
            if view[fireworks + first + rank] > 0:
                top = rank + 1
        for rank in range(ranks):
            remain = copies[rank]
            for _ in range(int(copies[rank])):
                remain -= view[at]
                at += 1
            lost |= rank >= top and remain == 0
            left[first + rank] = remain - np.float32(rank < top)
            playable[first + rank] = rank == top
            useless[first + rank] = rank < top or lost


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def spread(view: Any, at: int, left: Any) -> None:
    """Probabilities in place of possibilities of the slot that starts at `at`, by the copies that are left."""
    total = np.float32(0)
    for card in range(len(left)):
        view[at + card] *= left[card]
        total += view[at + card]
    total = max(total, np.float32(1))
    for card in range(len(left)):
        view[at + card] /= total


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc"})
def rate(view: Any, at: int, playable: Any, useless: Any, out: Any, to: int) -> None:
    """The probabilities that the card of the slot that starts at `at` is playable, and useless, into `out` at `to`."""
    good, bad = np.float32(0), np.float32(0)
    for card in range(len(playable)):
        good += view[at + card] * playable[card]
        bad += view[at + card] * useless[card]
    out[to], out[to + 1] = good, bad


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
