"""Hanabi as text: the table as somebody sees it who sees everything, and whole games move by move."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from interplay.envs.core import UsageError, World
from interplay.envs.engine import Batch
from interplay.envs.hanabi_view import ACTOR, CARD, COLOUR, DISCARD, GAINED, KIND, PLAY, RANK, SCORED, SLOT, TARGET, TOUCHED, VALUE

COLOURS = "RYGWB"


def named(card: int, ranks: int) -> str:
    """A card, such as "R1"; "--" where there is none."""
    return "--" if card < 0 else f"{COLOURS[card // ranks]}{card % ranks + 1}"


def picture(row: Any) -> str:
    """The record of one world: the last move, tokens, fireworks and discards, then each hand over what its owner knows of it.

    Known of a card are the colours and ranks that hints leave possible; a dot stands for one that is ruled out. Colours are the true ones,
    also where players see them in orders of their own.
    """
    ranks = len(row["copies"])
    lines = [told(row["last"], ranks)] if row["last"][KIND] else []
    lines.append(f"player_{row['mover']} to move; {status(row)}")
    gone = [named(card, ranks) for card, count in enumerate(row["discarded"]) for _ in range(count)]
    lines.append(f"discards  {' '.join(gone) or 'none'}")
    for q, hand in enumerate(row["hand"]):
        known = [knowledge(row, q, slot) for slot in range(len(hand))]
        cards = [named(card, ranks).ljust(len(text)) for card, text in zip(hand, known, strict=True)]
        lines.append(f"player_{q}  " + "  ".join(cards).rstrip())
        lines.append(f"{'knows':8}  " + "  ".join(known).rstrip())
    return "\n".join(lines)


def knowledge(row: Any, q: int, slot: int) -> str:
    """The colours and ranks that hints leave possible, such as "R.G..123.."; blank where there is no card."""
    colours, ranks = COLOURS[: len(row["fireworks"])], "12345"[: len(row["copies"])]
    if row["hand"][q, slot] < 0:
        return " " * len(colours + ranks)
    left = lambda names, bits: "".join(name if int(bits) >> k & 1 else "." for k, name in enumerate(names))
    return left(colours, row["colours"][q, slot]) + left(ranks, row["ranks"][q, slot])


def status(row: Any) -> str:
    """Score, fireworks, tokens and deck."""
    fireworks = " ".join(f"{colour}{high}" for colour, high in zip(COLOURS, row["fireworks"], strict=False))
    left = len(row["pile"]) - row["drawn"]
    deck = f"{left} to draw" if left else f"deck empty, moves left: {row['turns_left']}"
    return f"score {row['score']}; fireworks {fireworks}; hints {row['info']}, lives {row['lives']}; {deck}"


def told(last: Sequence[int], ranks: int) -> str:
    """A move in words, from its entries in `w.last`."""
    kind, who = last[KIND], f"player_{last[ACTOR]}"
    if kind in (COLOUR, RANK):
        value = COLOURS[last[VALUE]] if kind == COLOUR else last[VALUE] + 1
        slots = [str(k) for k in range(8) if int(last[TOUCHED]) >> k & 1]
        return f"{who} hints {value} to player_{last[TARGET]}: slot{'s' * (len(slots) > 1)} {' '.join(slots)}"
    card = f"slot {last[SLOT]}: {named(last[CARD], ranks)}"
    if kind == DISCARD:
        return f"{who} discards {card}"
    return f"{who} plays {card}, {'which fits' if last[SCORED] else 'a life is lost'}{' and wins a hint' if last[GAINED] else ''}"


def decoded(row: Any, move: int) -> list[int]:
    """What `w.last` will be after a move: once a game has ended, its record holds the next one."""
    (players, size), colours, ranks = row["hand"].shape, len(row["fireworks"]), len(row["copies"])
    me, last = int(row["mover"]), [0] * 9
    last[ACTOR] = me
    if move < 2 * size:
        card = int(row["hand"][me, move % size])
        last[KIND], last[SLOT], last[CARD] = DISCARD if move < size else PLAY, move % size, card
        if move >= size and row["fireworks"][card // ranks] == card % ranks:
            last[SCORED] = 1
            last[GAINED] = int(card % ranks == ranks - 1 and row["info"] < row["most_info"])
        return last
    of_colour, hint = (players - 1) * colours, move - 2 * size
    last[KIND] = COLOUR if hint < of_colour else RANK
    away, value = divmod(hint, colours) if hint < of_colour else divmod(hint - of_colour, ranks)
    last[TARGET] = (me + 1 + away) % players
    last[VALUE] = int(row["order"][me, value]) if last[KIND] == COLOUR else value
    for k, card in enumerate(row["hand"][last[TARGET]].tolist()):
        if card >= 0 and (card // ranks if last[KIND] == COLOUR else card % ranks) == last[VALUE]:
            last[TOUCHED] |= 1 << k
    return last


def transcript(world: World, deck: Sequence[int], moves: Iterable[int]) -> str:
    """A game as text: the table at the start, then a line for each move with the state after it, and the score.

    Args:
        world: made by `hanabi.world`. Where it rolls dice besides the deck's (who begins, the orders of colours), seed 0's are taken.
        deck: card numbers in the order of dealing, player 0's whole hand first.
        moves: numbers of moves, of whoever is to move; the game need not be over.

    Raises:
        UsageError: the deck is not the game's, or a move is not legal, or comes after the end.
    """
    batch = Batch(world, 1)
    batch.set_level(torch.ones(1, dtype=torch.bool), batch.pack_levels(deck=list(deck), given=1))
    row = batch.memory[0].numpy().view(world.record)[0]
    ranks, lines, score, over = len(row["copies"]), [picture(row), ""], 0, False
    for number, move in enumerate(moves, 1):
        if over:
            raise UsageError(f"move {number} comes after the end of the game")
        action = torch.full((1, batch.agents), int(move))
        batch.check(action)
        last, drawn, before = decoded(row, int(move)), int(row["drawn"]), int(row["score"])
        drew = f", draws {named(row['pile'][drawn], ranks)}" if last[KIND] in (PLAY, DISCARD) and drawn < len(row["pile"]) else ""
        out = batch.step(action)
        over, score = bool(out.terminated[0]), before + int(out.reward[0, 0])
        line = f"{number:3}  {told(last, ranks)}"
        lines.append(line if over else f"{line + drew:62}  {status(row)}")
    return "\n".join([*lines, "", f"{'the game is over' if over else 'so far'}: score {score}"])
