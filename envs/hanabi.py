"""Hanabi (Bauza 2010) after the Hanabi Learning Environment (Bard et al. 2020), for two to five players, bit for bit.

Everybody sees all hands but their own. A turn is a play, a discard, or a hint that names all cards of one colour or rank in another
hand. Cards are numbered `colour * ranks + rank`, moves as in the reference: discards, plays, colour hints, rank hints (hints by the
receiver's distance from the mover, then by value). Slot 0 holds the oldest card; a drawn card goes last. Games end with the last life
(`bomb` says what is scored then), with all fireworks complete, or when everybody has moved once after the deck ran out.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from interplay.envs import dice
from interplay.envs.core import UsageError, World, whole
from interplay.envs.hanabi_hand import edit
from interplay.envs.hanabi_text import COLOURS, picture
from interplay.envs.hanabi_view import (
    ACTOR,
    CARD,
    COLOUR,
    DISCARD,
    GAINED,
    KIND,
    PLAY,
    RANK,
    SCORED,
    SLOT,
    TARGET,
    TOUCHED,
    VALUE,
    observe,
    sections,
)
from interplay.envs.rule import rule

BOMBS = ("zero", "keep", "minus-one")
ZERO, KEEP, MINUS_ONE = range(3)  # after the last life: nothing is scored, everything is, one point less is

__all__ = ["acting", "edit", "legal", "observe", "reset", "step", "world"]


def world(
    players: int = 2,
    colors: int = 5,
    ranks: int = 5,
    hand_size: int | None = None,
    max_information_tokens: int = 8,
    max_life_tokens: int = 3,
    random_start_player: bool = False,
    bomb: str = "zero",
    copies: Sequence[int] | None = None,
    permute: bool = False,
    sad: bool = False,
    name: str = "hanabi",
) -> World:
    """The game with DeepMind's parameters and defaults.

    Args:
        players: 2 to 5.
        colors, ranks: 1 to 5 each.
        hand_size: 5 for two and three players, else 4.
        max_information_tokens, max_life_tokens: as they are at the start.
        random_start_player: who begins; player 0 otherwise.
        bomb: what is scored when the last life is lost: "zero", "keep", or "minus-one" (one point less, at least 0).
        copies: how many cards of each rank a colour has; 3 of the lowest, 1 of the highest and 2 of the others by default.
        permute: every player sees the colours in an order of its own, drawn anew each game (Other-Play, Hu et al. 2020).
        sad: everybody also sees the move that its maker thought best: an action is `move + moves * (1 + best move)`, or the move alone,
            which then is its own best one (simplified action decoding, Hu & Foerster 2020).
        name: what it is called.

    A level is a deck: `pack_levels(deck=[...], given=1)` deals those cards in that order, player 0's whole hand first.
    """
    p, c, r = whole("players", players, 2, 5), whole("colors", colors, 1, 5), whole("ranks", ranks, 1, 5)
    h = whole("hand_size", (5 if p < 4 else 4) if hand_size is None else hand_size, 1, 8)
    info, lives = whole("max_information_tokens", max_information_tokens, 0, 32), whole("max_life_tokens", max_life_tokens, 1, 32)
    if bomb not in BOMBS:
        raise UsageError(f"bomb is {bomb!r}; allowed are {', '.join(BOMBS)}")
    each = copies_of(copies, r)
    total = c * sum(each)
    if p * h > total:
        raise UsageError(f"{p} players with {h} cards each need {p * h}; this deck has {total}: fewer players, or smaller hands")
    seen = sections(p, h, c, r, total, info, lives, bool(sad))
    deck = np.repeat(np.arange(c * r, dtype=np.uint8), each * c)
    return World(
        name=name,
        rules=sys.modules[__name__],
        agents=p,
        actions=2 * h + (p - 1) * (c + r),
        observation=(seen[-1].stop,),
        packed=True,
        sections=seen,
        level=level_fields(r, total),
        state=state_fields(p, h, c, r, total),
        default=level_values(deck, each, BOMBS.index(bomb), info, lives, bool(random_start_player), bool(permute), bool(sad)),
        action_names=move_names(p, h, c, r),
        limits={"given": (0, 1), "bomb": (0, len(BOMBS) - 1), "random_start": (0, 1), "permute": (0, 1), "sad": (0, 1)},
        picture=picture,
        check_levels=check_decks,
    )


def level_values(deck: Any, copies: list[int], bomb: int, info: int, lives: int, random_start: bool, permute: bool, sad: bool) -> Any:
    """The level of a world to which none has been given."""
    return {
        "deck": deck,
        "copies": copies,
        "given": False,
        "bomb": bomb,
        "most_info": info,
        "most_lives": lives,
        "random_start": random_start,
        "permute": permute,
        "sad": sad,
    }


def level_fields(ranks: int, deck: int) -> list[tuple[Any, ...]]:
    """What `reset` leaves alone."""
    return [
        ("deck", "u1", (deck,)),
        ("copies", "u1", (ranks,)),
        ("given", "i1"),  # the deck is dealt as it lies; else it is shuffled as it is drawn
        ("bomb", "i1"),
        ("most_info", "i1"),
        ("most_lives", "i1"),
        ("random_start", "i1"),
        ("permute", "i1"),
        ("sad", "i1"),
    ]


def state_fields(p: int, h: int, c: int, r: int, deck: int) -> list[tuple[Any, ...]]:
    """A game of p players with h cards each, of c colours and r ranks."""
    return [
        ("pile", "u1", (deck,)),  # the deck of this game: the first `drawn` have left it
        ("hand", "i1", (p, h)),  # -1 where there is no card
        ("cards", "u4", (p, h)),  # bits: the cards that hints leave possible
        ("colours", "u1", (p, h)),  # their colours
        ("ranks", "u1", (p, h)),
        ("told", "u1", (p, h)),  # 1: its colour has been named, 2: its rank has
        ("fireworks", "i1", (c,)),
        ("discarded", "u1", (c * r,)),
        ("gone", "u2", (c,)),  # the same as bits: copy by copy, the lowest rank first
        ("order", "i1", (p, c)),  # order[q, k]: the colour that q sees as its k-th
        ("place", "i1", (p, c)),  # its inverse
        ("last", "i2", (9,)),
        ("meant", "i2", (9,)),  # what the mover thought best, in the same form
        ("drawn", "i2"),
        ("info", "i1"),
        ("lives", "i1"),
        ("mover", "i1"),
        ("turns_left", "i1"),
        ("score", "i1"),
        ("shuffle", "i1"),
    ]


def copies_of(given: Sequence[int] | None, ranks: int) -> list[int]:
    """How many cards of each rank: those given, or 3 of the lowest rank, 1 of the highest, 2 of the others (of one rank alone, 3)."""
    if given is None:
        return [3, *[2] * (ranks - 2), 1][:ranks]
    each = [whole("copies", k, 1, 3) for k in given]
    if len(each) != ranks:
        raise UsageError(f"copies has {len(each)} entries; allowed is one for each of the {ranks} ranks")
    return each


def move_names(players: int, hand: int, colours: int, ranks: int) -> tuple[str, ...]:
    """What the moves are called; hints name the receiver's distance from the mover where there are more than two players."""
    to = (lambda q: "") if players == 2 else (lambda q: f" to +{q}")
    hints = [f"hint {x}{to(q)}" for values in (COLOURS[:colours], range(1, ranks + 1)) for q in range(1, players) for x in values]
    return (*(f"discard {k}" for k in range(hand)), *(f"play {k}" for k in range(hand)), *hints)


def check_decks(world: World, rows: Any) -> None:
    """A `UsageError` where a deck is not made of the game's cards, or another field of the level has been changed."""
    wanted = np.sort(world.default["deck"])
    wrong = (np.sort(rows["deck"], axis=1) != wanted).any(1).nonzero()[0]
    if len(wrong):
        cards = ", ".join(f"{n} x {card}" for card, n in zip(*np.unique(wanted, return_counts=True), strict=True))
        raise UsageError(f"level {wrong[0]}: deck {rows['deck'][wrong[0]].tolist()} is not the game's; allowed are orders of {cards}")
    for name in ("copies", "most_info", "most_lives", "sad"):
        if (rows[name] != np.asarray(world.default[name])).any():
            raise UsageError(f"level field {name!r} shapes what is seen: make a world with it instead")


@rule
def reset(w):
    """Shuffle, deal (player 0's whole hand first), and choose who begins."""
    players, size = w.hand.shape
    for k in range(w.pile.shape[0]):
        w.pile[k] = w.deck[k]
    for k in range(w.discarded.shape[0]):
        w.discarded[k] = 0
    for k in range(w.fireworks.shape[0]):
        w.fireworks[k] = 0
        w.gone[k] = 0
    for k in range(w.last.shape[0]):
        w.last[k] = 0
        w.meant[k] = 0
    w.drawn, w.score, w.shuffle = 0, 0, not w.given
    w.info, w.lives, w.turns_left = w.most_info, w.most_lives, players
    for q in range(players):
        for slot in range(size):
            draw(w, q, slot)
    w.mover = dice.below(w, players) if w.random_start else 0
    arrange(w)


@rule
def arrange(w):
    """The order in which each player sees the colours."""
    players, colours = w.order.shape
    for q in range(players):
        for k in range(colours):
            w.order[q, k] = k
        if w.permute:
            for k in range(colours - 1):
                swap = k + dice.below(w, colours - k)
                kept = w.order[q, k]
                w.order[q, k] = w.order[q, swap]
                w.order[q, swap] = kept
        for k in range(colours):
            w.place[q, w.order[q, k]] = k


@rule
def draw(w, q, slot):
    """Player q's empty slot is filled, if the deck has a card left. Shuffling while drawing costs as many rolls as there are draws."""
    total, at = w.pile.shape[0], int(w.drawn)
    if at >= total:
        return
    if w.shuffle:
        swap = at + dice.below(w, total - at)
        card = w.pile[swap]
        w.pile[swap] = w.pile[at]
        w.pile[at] = card
    w.hand[q, slot] = w.pile[at]
    w.told[q, slot] = 0
    w.cards[q, slot] = (1 << w.discarded.shape[0]) - 1
    w.colours[q, slot] = (1 << w.fireworks.shape[0]) - 1
    w.ranks[q, slot] = (1 << w.copies.shape[0]) - 1
    w.drawn += 1


@rule
def lose(w, q, slot):
    """A card leaves a hand; younger ones move up."""
    last = w.hand.shape[1] - 1
    for k in range(slot, last):
        w.hand[q, k] = w.hand[q, k + 1]
        w.cards[q, k] = w.cards[q, k + 1]
        w.colours[q, k] = w.colours[q, k + 1]
        w.ranks[q, k] = w.ranks[q, k + 1]
        w.told[q, k] = w.told[q, k + 1]
    w.hand[q, last] = -1
    w.cards[q, last] = 0
    w.colours[q, last] = 0
    w.ranks[q, last] = 0
    w.told[q, last] = 0


@rule
def named(w, colour, value):
    """All cards of a colour (or rank), as bits."""
    colours, ranks, found = w.fireworks.shape[0], w.copies.shape[0], 0
    if colour:
        return ((1 << ranks) - 1) << (value * ranks)
    for k in range(colours):
        found |= 1 << (k * ranks + value)
    return found


@rule
def hint(w, q, colour, value):
    """Name all of player q's cards of a colour (or rank)."""
    some = named(w, colour, value)
    others = ((1 << w.discarded.shape[0]) - 1) ^ some
    for k in range(w.hand.shape[1]):
        card = int(w.hand[q, k])
        if card < 0:
            continue
        touch = some >> card & 1 == 1
        if touch:
            w.told[q, k] = int(w.told[q, k]) | (1 if colour else 2)
        w.cards[q, k] = int(w.cards[q, k]) & (some if touch else others)
        mask = (1 << value) if touch else 255 ^ (1 << value)
        if colour:
            w.colours[q, k] = int(w.colours[q, k]) & mask
        else:
            w.ranks[q, k] = int(w.ranks[q, k]) & mask


@rule
def discard(w, card):
    """A card goes to the discards."""
    ranks = w.copies.shape[0]
    at = int(w.discarded[card])
    for r in range(card % ranks):
        at += int(w.copies[r])
    w.gone[card // ranks] = int(w.gone[card // ranks]) | 1 << at
    w.discarded[card] += 1


@rule
def describe(w, me, move, told):
    """What everybody sees of a move that player `me` makes now, without making it: the entries of `told` (see `hanabi_view`)."""
    players, size = w.hand.shape
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    for k in range(told.shape[0]):
        told[k] = 0
    told[ACTOR] = me
    if move < 2 * size:
        card = int(w.hand[me, move % size])
        told[KIND], told[SLOT], told[CARD] = DISCARD if move < size else PLAY, move % size, card
        if move >= size and w.fireworks[card // ranks] == card % ranks:
            told[SCORED] = 1
            told[GAINED] = card % ranks == ranks - 1 and w.info < w.most_info
        return
    k = move - 2 * size
    colour = k < (players - 1) * colours
    if not colour:
        k -= (players - 1) * colours
    each = colours if colour else ranks
    target, value, touched = (me + 1 + k // each) % players, k % each, 0
    if colour:
        value = int(w.order[me, value])
    some = named(w, colour, value)
    for slot in range(size):
        card = int(w.hand[target, slot])
        if card >= 0 and some >> card & 1:
            touched |= 1 << slot
    told[KIND], told[TARGET], told[VALUE], told[TOUCHED] = COLOUR if colour else RANK, target, value, touched


@rule
def step(w, action, reward):
    """The mover moves; all are paid the difference in score."""
    players, size = w.hand.shape
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    me, before, final = int(w.mover), int(w.score), w.drawn >= w.pile.shape[0]
    moves = 2 * size + (players - 1) * (colours + ranks)
    move, meant = int(action[me]) % moves, int(action[me]) // moves - 1
    if w.sad:
        describe(w, me, meant if meant >= 0 else move, w.meant)
    describe(w, me, move, w.last)
    kind = int(w.last[KIND])
    if kind < COLOUR:
        slot, card = int(w.last[SLOT]), int(w.last[CARD])
        if kind == DISCARD:
            w.info += 1
            discard(w, card)
        else:
            play(w, card)
        lose(w, me, slot)
        if w.lives > 0 and w.score < colours * ranks:
            draw(w, me, size - 1)
    else:
        hint(w, int(w.last[TARGET]), kind == COLOUR, int(w.last[VALUE]))
        w.info -= 1
    if final:
        w.turns_left -= 1
    if w.lives == 0 and w.bomb != KEEP:
        w.score = max(int(w.score) - 1, 0) if w.bomb == MINUS_ONE else 0
    w.mover = (me + 1) % players
    for q in range(players):
        reward[q] = int(w.score) - before
    return w.lives == 0 or w.turns_left == 0 or (w.score == colours * ranks), False


@rule
def play(w, card):
    """A card is the next of its firework, or costs a life."""
    if w.last[SCORED]:
        w.fireworks[card // w.copies.shape[0]] += 1
        w.score += 1
        w.info += w.last[GAINED]
    else:
        w.lives -= 1
        discard(w, card)


@rule
def acting(w, p):
    """Players take turns."""
    return w.mover == p


@rule
def legal(w, p, out):
    """Plays always; discards while a token is missing; hints for a token, if they name a card."""
    players, size = w.hand.shape
    colours, ranks = w.fireworks.shape[0], w.copies.shape[0]
    for k in range(out.shape[0]):
        out[k] = False
    if w.mover != p:
        return
    for k in range(size):
        held = w.hand[p, k] >= 0
        out[k] = held and w.info < w.most_info
        out[size + k] = held
    if w.info == 0:
        return
    for away in range(1, players):
        q = (p + away) % players
        for k in range(size):
            card = int(w.hand[q, k])
            if card >= 0:
                out[2 * size + (away - 1) * colours + w.place[p, card // ranks]] = True
                out[2 * size + (players - 1) * colours + (away - 1) * ranks + card % ranks] = True
