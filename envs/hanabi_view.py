"""What a player of Hanabi sees, as bits: the canonical encoding of the Hanabi Learning Environment (Bard et al. 2020).

In order: the others' cards and which hands are short; the deck, fireworks, information and life tokens; the discards; the last move; and
what hints have told of every card. Players are counted from the one who looks, colours in the order in which it sees them.
"""

from interplay.envs.bits import put
from interplay.envs.rule import rule

# What a world remembers of its last move: entries of `w.last`, and the kinds of move (0: none yet).
ACTOR, KIND, TARGET, VALUE, TOUCHED, SLOT, CARD, SCORED, GAINED = range(9)
PLAY, DISCARD, COLOUR, RANK = range(1, 5)


def features(players: int, hand: int, colours: int, ranks: int, deck: int, info: int, lives: int) -> int:
    """The number of bits: 658, 956, 1041 and 1280 for the full game of 2 to 5 players."""
    cards = colours * ranks
    hands = (players - 1) * hand * cards + players
    board = deck - players * hand + cards + info + lives
    last = 2 * players + 4 + colours + ranks + 2 * hand + cards + 2
    return hands + board + deck + last + players * hand * (cards + colours + ranks)


@rule
def observe(w, p, out):
    """All sections, one after the other."""
    for k in range(out.shape[0]):
        out[k] = 0
    at = hands(w, p, out, 0)
    at = board(w, p, out, at)
    at = discards(w, p, out, at)
    at = last_move(w, p, out, at)
    knowledge(w, p, out, at)


@rule
def seen(w, p, card):
    """A card's number in p's order of colours."""
    ranks = w.copies.shape[0]
    return int(w.place[p, card // ranks]) * ranks + card % ranks


@rule
def hands(w, p, out, at):
    """The others' cards, one-hot a slot; then a bit for everybody who holds fewer cards than at the start."""
    players, size = w.hand.shape
    cards = w.discarded.shape[0]
    for away in range(1, players):
        q = (p + away) % players
        for k in range(size):
            card = int(w.hand[q, k])
            if card >= 0:
                put(out, at + seen(w, p, card), 1)
            at += cards
    for away in range(players):
        if w.hand[(p + away) % players, size - 1] < 0:
            put(out, at + away, 1)
    return at + players


@rule
def board(w, p, out, at):
    """Thermometers of the deck, of information and of lives; the highest card of each firework."""
    players, size = w.hand.shape
    total, colours, ranks = w.pile.shape[0], w.fireworks.shape[0], w.copies.shape[0]
    fill(out, at, total - int(w.drawn))
    at += total - players * size
    for k in range(colours):
        high = int(w.fireworks[w.order[p, k]])
        if high > 0:
            put(out, at + high - 1, 1)
        at += ranks
    fill(out, at, int(w.info))
    at += int(w.most_info)
    fill(out, at, int(w.lives))
    return at + int(w.most_lives)


@rule
def fill(out, at, count):
    """So many ones in a row."""
    while count > 0:
        n = min(count, 8)
        put(out, at, (1 << n) - 1)
        at += n
        count -= n


@rule
def discards(w, p, out, at):
    """How many copies of each card lie in the discard pile, as thermometers."""
    ranks = w.copies.shape[0]
    for k in range(w.fireworks.shape[0]):
        for r in range(ranks):
            gone = int(w.discarded[int(w.order[p, k]) * ranks + r])
            if gone > 0:
                put(out, at, (1 << gone) - 1)
            at += int(w.copies[r])
    return at


@rule
def last_move(w, p, out, at):
    """Who moved, how, to whom (both counted from p), what was named and where, which card it was, whether it scored or won a token."""
    players, size = w.hand.shape
    colours, ranks, cards = w.fireworks.shape[0], w.copies.shape[0], w.discarded.shape[0]
    kind = int(w.last[KIND])
    end = at + 2 * players + 4 + colours + ranks + 2 * size + cards + 2
    if kind == 0:
        return end
    put(out, at + (int(w.last[ACTOR]) - p + players) % players, 1)
    at += players
    put(out, at + kind - 1, 1)
    at += 4
    value, hinting = int(w.last[VALUE]), kind >= COLOUR
    if hinting:
        put(out, at + (int(w.last[TARGET]) - p + players) % players, 1)
    at += players
    if kind == COLOUR:
        put(out, at + int(w.place[p, value]), 1)
    at += colours
    if kind == RANK:
        put(out, at + value, 1)
    at += ranks
    if hinting:
        put(out, at, int(w.last[TOUCHED]))
    at += size
    if not hinting:
        put(out, at + int(w.last[SLOT]), 1)
        put(out, at + size + seen(w, p, int(w.last[CARD])), 1)
        put(out, at + size + cards, int(w.last[SCORED]) | int(w.last[GAINED]) << 1)
    return end


@rule
def knowledge(w, p, out, at):
    """For every card of everybody, p's own first: which cards hints leave possible, and the colour and rank that were named."""
    players, size = w.hand.shape
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    width = colours * ranks + colours + ranks
    for away in range(players):
        q = (p + away) % players
        for slot in range(size):
            if w.hand[q, slot] >= 0:
                possible, told = int(w.ranks[q, slot]), int(w.told[q, slot])
                some = int(w.colours[q, slot])
                for k in range(colours):
                    if some >> int(w.order[p, k]) & 1:
                        put(out, at + k * ranks, possible)
                        if told & 1:
                            put(out, at + colours * ranks + k, 1)
                if told & 2:
                    put(out, at + colours * ranks + colours, possible)
            at += width
    return at
