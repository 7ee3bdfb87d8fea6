"""What a player of Hanabi sees, as bits: the canonical encoding of the Hanabi Learning Environment (Bard et al. 2020).

In order: the others' cards and which hands are short; the deck, fireworks, information and life tokens; the discards; the last move; and
what hints have told of every card; and, for simplified action decoding (SAD, Hu & Foerster 2020), the move that its maker thought best,
encoded as the last move is. Players are counted from the one who looks, colours in the order in which it sees them.
"""

from itertools import accumulate

from interplay.envs.bits import emit, finish
from interplay.envs.core import Section
from interplay.envs.rule import rule

# What a world remembers of its last move: entries of `w.last` (and of `w.meant`), and the kinds of move (0: none yet).
ACTOR, KIND, TARGET, VALUE, TOUCHED, SLOT, CARD, SCORED, GAINED = range(9)
PLAY, DISCARD, COLOUR, RANK = range(1, 5)


def sections(players: int, hand: int, colours: int, ranks: int, deck: int, info: int, lives: int, sad: bool) -> tuple[Section, ...]:
    """The parts of a view. Without `meant` they have 658, 956, 1041 and 1280 bits in the full game of 2 to 5 players."""
    cards = colours * ranks
    last = 2 * players + 4 + colours + ranks + 2 * hand + cards + 2
    widths = {
        "hands": (players - 1) * hand * cards,
        "short": players,
        "deck": deck - players * hand,
        "fireworks": cards,
        "info": info,
        "lives": lives,
        "discards": deck,
        "last": last,
        "knowledge": players * hand * (cards + colours + ranks),
        "meant": last if sad else 0,
    }
    ends = list(accumulate(widths.values()))
    return tuple(Section(name, end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True) if width)


@rule
def observe(w, p, out):
    """All sections, one after the other."""
    to = hands(w, p, out, (0, 0, 0))
    to = board(w, p, out, to)
    to = discards(w, p, out, to)
    to = move_seen(w, p, w.last, out, to)
    to = knowledge(w, p, out, to)
    if w.sad:
        to = move_seen(w, p, w.meant, out, to)
    finish(out, to)


@rule
def seen(w, p, card):
    """A card as a bit, in p's order of colours; 0 for none."""
    ranks = w.copies.shape[0]
    return 1 << (int(w.place[p, card // ranks]) * ranks + card % ranks) if card >= 0 else 0


@rule
def hands(w, p, out, to):
    """The others' cards, one-hot a slot; then a bit for everybody who holds fewer cards than at the start."""
    players, size = w.hand.shape
    short = 0
    for away in range(players):
        q = (p + away) % players
        if w.hand[q, size - 1] < 0:
            short |= 1 << away
        if away > 0:
            for k in range(size):
                to = emit(out, to, seen(w, p, int(w.hand[q, k])), w.discarded.shape[0])
    return emit(out, to, short, players)


@rule
def thermometer(out, to, count, width):
    """So many ones, then zeros."""
    while width > 0:
        part = min(width, 24)
        to = emit(out, to, (1 << max(0, min(count, part))) - 1, part)
        count -= part
        width -= part
    return to


@rule
def board(w, p, out, to):
    """Thermometers of the deck, of information and of lives; the highest card of each firework."""
    players, size = w.hand.shape
    total, colours, ranks = w.pile.shape[0], w.fireworks.shape[0], w.copies.shape[0]
    to = thermometer(out, to, total - int(w.drawn), total - players * size)
    for k in range(colours):
        to = emit(out, to, (1 << int(w.fireworks[w.order[p, k]])) >> 1, ranks)
    to = thermometer(out, to, int(w.info), int(w.most_info))
    return thermometer(out, to, int(w.lives), int(w.most_lives))


@rule
def discards(w, p, out, to):
    """How many copies of each card lie in the discard pile, as thermometers."""
    colours = w.fireworks.shape[0]
    for k in range(colours):
        to = emit(out, to, int(w.gone[w.order[p, k]]), w.pile.shape[0] // colours)
    return to


@rule
def move_seen(w, p, made, out, to):
    """Who moved, how, to whom (both counted from p), what was named and where, which card it was, whether it scored or won a token."""
    players, size = w.hand.shape
    kind, value = int(made[KIND]), int(made[VALUE])
    moved, hinting = kind > 0, kind >= COLOUR
    to = emit(out, to, 1 << (int(made[ACTOR]) - p + players) % players if moved else 0, players)
    to = emit(out, to, (1 << kind) >> 1, 4)
    to = emit(out, to, 1 << (int(made[TARGET]) - p + players) % players if hinting else 0, players)
    to = emit(out, to, 1 << int(w.place[p, value]) if kind == COLOUR else 0, w.fireworks.shape[0])
    to = emit(out, to, 1 << value if kind == RANK else 0, w.copies.shape[0])
    to = emit(out, to, int(made[TOUCHED]), size)
    to = emit(out, to, 1 << int(made[SLOT]) if moved and not hinting else 0, size)
    to = emit(out, to, seen(w, p, int(made[CARD])) if moved and not hinting else 0, w.discarded.shape[0])
    return emit(out, to, int(made[SCORED]) | int(made[GAINED]) << 1, 2)


@rule
def knowledge(w, p, out, to):
    """For every card of everybody, p's own first: which cards hints leave possible, and the colour and rank that were named."""
    players, size = w.hand.shape
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    for away in range(players):
        q = (p + away) % players
        for slot in range(size):
            cards, told = int(w.cards[q, slot]), int(w.told[q, slot])
            some, named = int(w.colours[q, slot]), 0
            if w.permute:
                cards, some = reorder(w, p, cards, ranks), reorder(w, p, some, 1)
            if told & 1:
                named = some
            if told & 2:
                named |= int(w.ranks[q, slot]) << colours
            to = emit(out, to, cards, colours * ranks)
            to = emit(out, to, named, colours + ranks)
    return to


@rule
def reorder(w, p, bits, width):
    """Groups of bits, one for each colour, in p's order."""
    found = 0
    for k in range(w.fireworks.shape[0]):
        found |= (bits >> (int(w.order[p, k]) * width) & ((1 << width) - 1)) << (k * width)
    return found
