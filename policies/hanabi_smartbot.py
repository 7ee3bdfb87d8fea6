"""SmartBot, a player of Hanabi that means more by its hints than they say; after O'Dwyer's bot of that name (2013-2018).

What a hint means, to everybody who sees it given (`reading`):

- A rank that touches the receiver's next discard, where a critical card may be: that card is critical. It is kept.
- Any other hint: one touched card is playable now, the newest if it was untouched so far, else the oldest that may be.

A hint is given only where what it means is true. The memory of player p, `[2 * players * hand]` float32, holds for every slot of
everybody the set of cards that are ruled out, in two halves; it is made of what everybody saw, so all players' are equal.
"""

from typing import NamedTuple

import numpy as np

from interplay.envs.core import World
from interplay.envs.hanabi_view import ACTOR, COLOUR, DISCARD, KIND, PLAY, SLOT, TARGET, TOUCHED, VALUE
from interplay.envs.rule import rule
from interplay.policies import hanabi_lore as lore

NOTHING, KEEP, GO = range(3)  # what a hint means for one slot
WARNING, HELPFUL = 400, 500  # what a hint is worth that keeps a critical card; that lets another card be played
LIKELY, SOME = np.float32(0.7), np.float32(0.01)  # from which probability a card is played while a life can be spared; at the end
STALL = 4  # cards left in the deck when hints are better than discards
HALF = 13  # bits in the first half of a set: float32 holds whole numbers up to 2 ** 24


class Sets(NamedTuple):
    """Sets of cards that all players agree on: to be played next, of no use any more, the last of their kind, not all gone."""

    playable: int
    useless: int
    critical: int
    present: int


def width(world: World) -> int:
    """The size of a player's memory."""
    return 2 * world.agents * next(shape[1] for name, _, shape in (field for field in world.state if field[0] == "hand"))


@rule
def common(w):
    """The sets that all players agree on."""
    dead = lore.useless(w)
    return Sets(lore.playable(w), dead, lore.critical(w, dead), lore.kinds(w, lore.hidden(w)))


@rule
def ruled_out(w, m, q, slot):
    """The set that the memory m rules out for a slot of player q."""
    at = 2 * (q * w.hand.shape[1] + slot)
    return np.int64(m[at]) | np.int64(m[at + 1]) << HALF


@rule
def rule_out(w, m, q, slot, found):
    """Write that set."""
    at = 2 * (q * w.hand.shape[1] + slot)
    m[at] = np.float32(found & (1 << HALF) - 1)
    m[at + 1] = np.float32(found >> HALF)


@rule
def believed(w, m, q, slot, sets):
    """The set that everybody believes possible in a slot; what hints say, where conventions leave nothing (a stranger gave them)."""
    told = lore.possible(w, q, slot) & sets.present
    found = told & ~ruled_out(w, m, q, slot)
    return found if found else told


@rule
def before(w, m, q, slot, sets):
    """The set believed possible when the last move was made, in the midst of remembering it."""
    return lore.cards(w) & ~ruled_out(w, m, q, slot) & sets.present


@rule
def within(found, other):
    """Is a set that is not empty part of another?"""
    return found != 0 and found & ~other == 0


@rule
def chop(w, m, q, sets):
    """The slot that q is expected to discard next, or -1: the oldest of no use, else the oldest neither playable nor to be kept."""
    slot = -1
    for k in range(lore.held(w, q)):
        found = before(w, m, q, k, sets)
        if within(found, sets.useless):
            return k
        if slot < 0 and not within(found, sets.critical | sets.playable):
            slot = k
    return slot


@rule
def heard(w, m, q, slot, colour, value, slots, sets):
    """The set for a slot after a hint, taken at its word."""
    found, called = before(w, m, q, slot, sets), lore.named(w, colour, value)
    return found & (called if slots >> slot & 1 else ~called)


@rule
def reading(w, m, q, colour, value, slots, sets):
    """What a hint to q means, and for which slot."""
    last, count = chop(w, m, q, sets), lore.held(w, q)
    if not colour and last >= 0 and slots >> last & 1:
        if heard(w, m, q, last, colour, value, slots, sets) & sets.critical:
            return KEEP, last
    focus = -1
    for k in range(count):
        now = heard(w, m, q, k, colour, value, slots, sets)
        if slots >> k & 1 and now & sets.playable and not within(before(w, m, q, k, sets), sets.playable):
            if focus < 0 or (k == count - 1 and fresh(w, m, q, k)):
                focus = k
    return (GO, focus) if focus >= 0 else (NOTHING, -1)


@rule
def fresh(w, m, q, slot):
    """Has no hint touched or passed over this card?"""
    return ruled_out(w, m, q, slot) == 0


@rule
def after(w, m, q, slot, colour, value, slots, meaning, focus, sets):
    """The set for a slot after a hint and what it means."""
    found = heard(w, m, q, slot, colour, value, slots, sets)
    if slot == focus:
        meant = found & (sets.playable if meaning == GO else sets.critical)
        return meant if meant else found
    return found


@rule
def remember(w, m):
    """Bring the memory up to date with the last move."""
    kind = np.int64(w.last[KIND])
    if kind == 0:
        for k in range(m.shape[0]):
            m[k] = 0
    elif kind == PLAY or kind == DISCARD:
        move_up(w, m, np.int64(w.last[ACTOR]), np.int64(w.last[SLOT]))
    else:
        sets, q = common(w), np.int64(w.last[TARGET])
        colour, value, slots = kind == COLOUR, np.int64(w.last[VALUE]), np.int64(w.last[TOUCHED])
        meaning, focus = reading(w, m, q, colour, value, slots, sets)
        if focus >= 0:
            found = after(w, m, q, focus, colour, value, slots, meaning, focus, sets)
            rule_out(w, m, q, focus, lore.cards(w) & ~found)
    for q in range(w.hand.shape[0]):
        for k in range(lore.held(w, q)):
            told = lore.possible(w, q, k)
            found = told & ~ruled_out(w, m, q, k)
            rule_out(w, m, q, k, lore.cards(w) & ~(found if found else told))


@rule
def move_up(w, m, q, slot):
    """A card has left q's hand: younger ones move up, and of a new one nothing is known."""
    size = w.hand.shape[1]
    for k in range(slot, size):
        rule_out(w, m, q, k, ruled_out(w, m, q, k + 1) if k + 1 < size else 0)


@rule
def doubled(w, m, p, q, slot, sets):
    """Is a copy of a card in q's slot known as playable already, to another player or in another slot, as far as p sees?"""
    card = w.hand[q, slot]
    for r in range(w.hand.shape[0]):
        for k in range(w.hand.shape[1]):
            if r != p and (r != q or k != slot) and w.hand[r, k] == card and within(believed(w, m, r, k, sets), sets.playable):
                return True
            if r == p and believed(w, m, p, k, sets) == 1 << np.int64(card):
                return True
    return False


@rule
def worth(w, m, p, q, colour, value, slots, sets):
    """How good a hint from p to q is; negative where what it means is not so."""
    meaning, focus = reading(w, m, q, colour, value, slots, sets)
    if meaning == GO and not sets.playable >> np.int64(w.hand[q, focus]) & 1:
        return -2000
    if meaning == KEEP and not sets.critical >> np.int64(w.hand[q, focus]) & 1:
        return -1000
    good = 450 if meaning == KEEP else 0
    for k in range(lore.held(w, q)):
        card = np.int64(w.hand[q, k])
        old = believed(w, m, q, k, sets)
        new = after(w, m, q, k, colour, value, slots, meaning, focus, sets)
        if within(new, sets.playable) and not within(old, sets.playable) and not doubled(w, m, p, q, k, sets):
            good += 1000 - 20 * (card % w.copies.shape[0])
        if within(new, sets.useless) and not within(old, sets.useless):
            good += 20
        if not sets.useless >> card & 1:
            good += lore.size(old) - lore.size(new)
    return good


@rule
def best_hint(w, m, p, only, low, sets):
    """The best hint of p to player `only` (-1: to anybody) that is worth at least `low`, ranks before colours; or -1."""
    best, move = low - 1, -1
    if w.info == 0:
        return move
    total, first = lore.hints(w), (w.hand.shape[0] - 1) * w.fireworks.shape[0]
    for k in range(total):
        q, colour, value = lore.hint(w, p, (first + k) % total)
        slots = lore.touched(w, q, colour, value)
        if slots and (only < 0 or q == only):
            good = worth(w, m, p, q, colour, value, slots, sets)
            if good > best:
                best, move = good, lore.hint_move(w, p, q, colour, value)
    return move


@rule
def own(w, m, p, slot, sets, pile):
    """The set that p believes possible in its own slot, from a pile that it does not see."""
    sight = lore.kinds(w, pile)
    found = believed(w, m, p, slot, sets) & sight
    return found if found else lore.possible(w, p, slot) & sight


@rule
def left_over(w, m, p, sets):
    """The pile that p does not see, without its own cards that it knows exactly."""
    pile = lore.unseen(w, p)
    whole = pile
    for k in range(lore.held(w, p)):
        found = own(w, m, p, k, sets, whole)
        if lore.size(found) == 1 and lore.copies(pile, found):
            pile -= 1 << 2 * lore.size(found - 1)
    return pile


@rule
def odds(w, m, p, slot, wanted, sets, pile):
    """The probability that p's own card is of the set `wanted`."""
    found = own(w, m, p, slot, sets, lore.unseen(w, p))
    if lore.size(found) == 1:
        return np.float32(1 if found & wanted else 0)
    return lore.chance(pile, found, wanted)


@rule
def certain_play(w, m, p, sets, pile):
    """The slot to play for sure, or -1: one that the others do not know of first, then the lowest rank."""
    best, slot = -1, -1
    for k in range(lore.held(w, p)):
        if odds(w, m, p, k, sets.playable, sets, pile) == 1:
            found, high = own(w, m, p, k, sets, pile), w.copies.shape[0]
            good = high - lore.lowest(w, found)
            if not within(believed(w, m, p, k, sets), sets.playable):
                good += high
            if good > best:
                best, slot = good, k
    return slot


@rule
def likely_play(w, m, p, least, sets, pile):
    """The slot most likely playable, with a probability of at least `least`, or -1."""
    best, slot = np.float32(0), -1
    for k in range(lore.held(w, p)):
        good = odds(w, m, p, k, sets.playable, sets, pile)
        if good > best and good >= least:
            best, slot = good, k
    return slot


@rule
def endangered(w, m, q, sets):
    """Will q discard a critical card next?"""
    for k in range(lore.held(w, q)):
        if within(believed(w, m, q, k, sets), sets.playable):
            return False
    slot = chop(w, m, q, sets)
    return slot >= 0 and sets.critical >> np.int64(w.hand[q, slot]) & 1 == 1


@rule
def discard(w, m, p, sets, pile):
    """The slot to discard: of no use for sure, else the expected one, else the one least likely critical."""
    for k in range(lore.held(w, p)):
        if odds(w, m, p, k, sets.useless, sets, pile) == 1:
            return k
    slot = chop(w, m, p, sets)
    if slot >= 0:
        return slot
    best, slot = np.float32(2), 0
    for k in range(lore.held(w, p)):
        bad = odds(w, m, p, k, sets.critical, sets, pile)
        if bad < best:
            best, slot = bad, k
    return slot


@rule
def decide(w, p, m):
    """Player p's move: warn, play, tell, take a chance, stall, discard, or tell anything."""
    sets, size, follower = common(w), w.hand.shape[1], (p + 1) % w.hand.shape[0]
    pile, left = left_over(w, m, p, sets), w.pile.shape[0] - np.int64(w.drawn)
    if left and endangered(w, m, follower, sets):
        move = best_hint(w, m, p, follower, WARNING, sets)
        if move >= 0:
            return move
    slot = certain_play(w, m, p, sets, pile)
    if slot >= 0:
        return size + slot
    move = best_hint(w, m, p, -1, HELPFUL, sets)
    if move >= 0:
        return move
    if w.lives > 1:
        slot = likely_play(w, m, p, LIKELY if left else SOME, sets, pile)
        if slot >= 0:
            return size + slot
    if left <= STALL:
        move = best_hint(w, m, p, -1, 0, sets)
        if move >= 0:
            return move
    if lore.may_discard(w):
        return discard(w, m, p, sets, pile)
    move = best_hint(w, m, p, -1, -10000, sets)
    return move if move >= 0 else size + max(likely_play(w, m, p, SOME, sets, pile), 0)
