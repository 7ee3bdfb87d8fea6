"""Another hand for a player of Hanabi, in the middle of a game: what Off-Belief Learning's imagined states are made of."""

from interplay.envs import dice
from interplay.envs.rule import rule


@rule
def edit(w, change):
    """Player `change[0]` gets another hand: the cards `change[1:]` (-1 where a slot is empty), or a random one where all of these are -1.

    A random hand is uniform over all that hints and the cards out of reach leave possible. The old cards go back to the deck, whose
    undrawn part is shuffled anew by the world's own dice. False, and nothing changed, where a card contradicts a hint, lies elsewhere
    in all its copies, or a slot would be filled that is empty (or emptied), or there is no such player.
    """
    q, held = int(change[0]), 0
    if q < 0 or q >= w.hand.shape[0]:
        return False
    for k in range(w.hand.shape[1]):
        if w.hand[q, k] >= 0:
            held += 1
    given = False
    for k in range(w.hand.shape[1]):
        given = given or change[1 + k] >= 0
    if given and not possible(w, q, held, change):
        return False
    start = w.drawn - held  # from here the pile is the pool to choose from
    give_back(w, q, held)
    if given:
        for k in range(held):
            at = start + k
            while w.pile[at] != change[1 + k]:
                at += 1
            swap(w, start + k, at)
    else:
        sample(w, q, start, held)
    for k in range(held):
        w.hand[q, k] = w.pile[start + k]
    w.shuffle = True
    return True


@rule
def swap(w, one, other):
    """Two cards of the pile change places."""
    card = w.pile[one]
    w.pile[one] = w.pile[other]
    w.pile[other] = card


@rule
def give_back(w, q, held):
    """Player q's cards become the last of the drawn part of the pile, whose order is of no account."""
    for k in range(held):
        at = 0
        while w.pile[at] != w.hand[q, k]:
            at += 1
        swap(w, at, w.drawn - 1 - k)


@rule
def fits(w, q, slot, card):
    """Do hints leave this card possible in that slot?"""
    return int(w.cards[q, slot]) >> card & 1 == 1


@rule
def possible(w, q, held, change):
    """Can player q hold these cards?"""
    for k in range(w.hand.shape[1]):
        card = int(change[1 + k])
        if k >= held:
            if card != -1:
                return False
            continue
        if card < 0 or card >= w.discarded.shape[0] or not fits(w, q, k, card):
            return False
        short = 0  # copies asked for, less those in the deck and in the hand
        for j in range(held):
            short += int(change[1 + j] == card) - int(w.hand[q, j] == card)
        for at in range(w.drawn, w.pile.shape[0]):
            short -= int(w.pile[at] == card)
        if short > 0:
            return False
    return True


@rule
def sample(w, q, start, held):
    """A hand uniform over all possible ones, at the start of the pool: slot by slot, oldest first, one of the fitting cards left.

    That is uniform because an older card has got every hint that a younger one has: where all answers agree, the older one's possible
    cards are some of the younger one's; where one differs, they have none in common. So how many fitting cards are left for a slot does
    not depend on what was drawn for those before it.
    """
    for k in range(held):
        left = 0
        for at in range(start + k, w.pile.shape[0]):
            left += int(fits(w, q, k, int(w.pile[at])))
        at, nth = start + k, dice.below(w, left)
        while nth > 0 or not fits(w, q, k, int(w.pile[at])):
            nth -= int(fits(w, q, k, int(w.pile[at])))
            at += 1
        swap(w, start + k, at)
