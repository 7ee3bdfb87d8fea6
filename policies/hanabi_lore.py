"""What a player of Hanabi can conclude from what it sees: rules on the record `w` of one world (`envs/hanabi.py`).

A set of cards is a whole number with bit `card` for every card in it (there are 25 at most); a pile of cards one with two bits a card,
which count its copies. Nobody's own hand and nothing of the undrawn deck is read here.
"""

import numpy as np

from interplay.envs.rule import rule


@rule
def cards(w):
    """The set of all cards."""
    return (1 << w.discarded.shape[0]) - 1


@rule
def named(w, colour, value):
    """The set of all cards of a colour (`colour` true) or rank."""
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    if colour:
        return ((1 << ranks) - 1) << value * ranks
    found = 0
    for c in range(colours):
        found |= 1 << c * ranks + value
    return found


@rule
def possible(w, q, slot):
    """The set that hints alone leave possible in a slot of player q; empty where there is no card."""
    ranks, some, found = w.copies.shape[0], np.int64(w.colours[q, slot]), 0
    for c in range(w.fireworks.shape[0]):
        if some >> c & 1:
            found |= np.int64(w.ranks[q, slot]) << c * ranks
    return found


@rule
def playable(w):
    """The set of the next cards of all fireworks."""
    ranks, found = w.copies.shape[0], 0
    for c in range(w.fireworks.shape[0]):
        if w.fireworks[c] < ranks:
            found |= 1 << c * ranks + np.int64(w.fireworks[c])
    return found


@rule
def useless(w):
    """The set of cards that can never score: those played already, and those above a rank of which all copies are discarded."""
    ranks, found = w.copies.shape[0], 0
    for c in range(w.fireworks.shape[0]):
        dead = False
        for r in range(ranks):
            played = r < w.fireworks[c]
            if played or dead:
                found |= 1 << c * ranks + r
            dead = dead or (not played and w.discarded[c * ranks + r] == w.copies[r])
    return found


@rule
def critical(w, dead):
    """The set of cards that can score and of which one copy is left (`dead`: the useless ones)."""
    ranks, found = w.copies.shape[0], 0
    for card in range(w.discarded.shape[0]):
        if not dead >> card & 1 and np.int64(w.copies[card % ranks]) - np.int64(w.discarded[card]) == 1:
            found |= 1 << card
    return found


@rule
def hidden(w):
    """The pile of all cards that lie neither on the fireworks nor on the discards."""
    ranks, pile = w.copies.shape[0], 0
    for card in range(w.discarded.shape[0]):
        played = 1 if w.fireworks[card // ranks] > card % ranks else 0
        pile |= np.int64(w.copies[card % ranks]) - np.int64(w.discarded[card]) - played << 2 * card
    return pile


@rule
def unseen(w, p):
    """The pile of all cards that player p does not see: its own hand and the deck."""
    pile = hidden(w)
    for q in range(w.hand.shape[0]):
        for k in range(w.hand.shape[1]):
            if q != p and w.hand[q, k] >= 0:
                pile -= 1 << 2 * np.int64(w.hand[q, k])
    return pile


@rule
def kinds(w, pile):
    """The set of cards in a pile."""
    found = 0
    for card in range(w.discarded.shape[0]):
        if pile >> 2 * card & 3:
            found |= 1 << card
    return found


@rule
def size(found):
    """How many cards are in a set: sums of neighbouring bits, of pairs, of fours, ... (Warren, Hacker's Delight, 2002)."""
    found = found - (found >> 1 & 0x55555555)
    found = (found & 0x33333333) + (found >> 2 & 0x33333333)
    found = found + (found >> 4) & 0x0F0F0F0F
    return found * 0x01010101 >> 24 & 0xFF


@rule
def lowest(w, found):
    """The lowest rank in a set; the number of ranks where it is empty."""
    low = w.copies.shape[0]
    for card in range(w.discarded.shape[0]):
        if found >> card & 1:
            low = min(low, card % w.copies.shape[0])
    return low


@rule
def copies(pile, found):
    """How many copies of the cards in a set are in a pile."""
    count = 0
    while found:
        low = found & -found
        count += pile >> 2 * size(low - 1) & 3
        found ^= low
    return count


@rule
def chance(pile, could, wanted):
    """The probability, float32, that a card of the set `could`, drawn from a pile, is in the set `wanted`; 0 where there is none."""
    total = copies(pile, could)
    if total == 0:
        return np.float32(0)
    return np.float32(copies(pile, could & wanted)) / np.float32(total)


@rule
def hints(w):
    """How many hints a player has, allowed or not: colours first, then ranks, nearer receivers first."""
    return (w.hand.shape[0] - 1) * (w.fireworks.shape[0] + w.copies.shape[0])


@rule
def hint(w, p, k):
    """Player p's k-th hint: its receiver, whether it names a colour, and the colour or rank; p counts colours in its own order."""
    players, colours, ranks = w.hand.shape[0], w.fireworks.shape[0], w.copies.shape[0]
    if k < (players - 1) * colours:
        return (p + 1 + k // colours) % players, True, np.int64(w.order[p, k % colours])
    k -= (players - 1) * colours
    return (p + 1 + k // ranks) % players, False, np.int64(k % ranks)


@rule
def hint_move(w, p, q, colour, value):
    """The move by which p hints a colour or rank to q."""
    players, colours, ranks = w.hand.shape[0], w.fireworks.shape[0], w.copies.shape[0]
    away, first = (q - p + players) % players - 1, 2 * w.hand.shape[1]
    if colour:
        return first + away * colours + np.int64(w.place[p, value])
    return first + (players - 1) * colours + away * ranks + value


@rule
def touched(w, q, colour, value):
    """The slots of player q, somebody else, that a hint names, as bits: 0 where it may not be given."""
    ranks, slots = w.copies.shape[0], 0
    for k in range(w.hand.shape[1]):
        card = np.int64(w.hand[q, k])
        if card >= 0 and (card // ranks if colour else card % ranks) == value:
            slots |= 1 << k
    return slots


@rule
def held(w, q):
    """How many cards player q holds: the first slots (everybody sees that)."""
    count = 0
    for k in range(w.hand.shape[1]):
        count += 1 if w.colours[q, k] > 0 else 0
    return count


@rule
def may_discard(w):
    """Is a token missing?"""
    return w.info < w.most_info
