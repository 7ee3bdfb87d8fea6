"""What networks read of views of Hanabi in place of bits: beliefs, and what they make of each card."""

from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor

from interplay.policies.hanabi_belief import Reader


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
