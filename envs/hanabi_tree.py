"""Hanabi as a tree, for variants small enough to write down. Rules in plain Python, after the rule book and not after `envs/hanabi.py`.

A move is numbered as in the Hanabi Learning Environment: discard slot 0.., play slot 0.., hint colour 0.., hint rank 0.. (to player +1
first). What players see is each move with what it showed, and all hands but their own.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

from interplay.envs.symmetry import Relabelling

Card = tuple[int, int]  # colour, rank


class Table(NamedTuple):
    """All there is to know between two moves.

    Attributes:
        deck: the cards left, sorted: their order is not decided before they are drawn.
        hands: of each player, oldest card first.
        heights: of the fireworks, by colour.
        info, lives: tokens left.
        mover: whose turn it is.
        last_turns: moves left once the deck is empty.
        news: what all have seen of the last move: (move, the card that it showed or the slots that it named); None at first.
    """

    deck: tuple[Card, ...]
    hands: tuple[tuple[Card, ...], ...]
    heights: tuple[int, ...]
    info: int
    lives: int
    mover: int
    last_turns: int
    news: Hashable


class HanabiTree:
    """The game; a lost one scores nothing. Arguments as for `hanabi.world`."""

    def __init__(
        self,
        colors: int = 1,
        ranks: int = 2,
        hand_size: int = 1,
        max_information_tokens: int = 1,
        max_life_tokens: int = 1,
        players: int = 2,
    ) -> None:
        self.colors, self.ranks, self.hand, self.players = colors, ranks, hand_size, players
        self.most_info, self.most_lives = max_information_tokens, max_life_tokens
        self.actions = 2 * hand_size + (players - 1) * (colors + ranks)

    def cards(self) -> list[Card]:
        """Of each colour three of the lowest rank, one of the highest, two of those between (of a single rank, three)."""
        copies = [3] if self.ranks == 1 else [3, *[2] * (self.ranks - 2), 1]
        return [(c, r) for c in range(self.colors) for r in range(self.ranks) for _ in range(copies[r])]

    def deal(self) -> list[tuple[float, Table]]:
        """All ordered hands."""
        heights = (0,) * self.colors
        starts: list[tuple[float, tuple[Card, ...], tuple[Card, ...]]] = [(1.0, (), tuple(self.cards()))]
        for _ in range(self.players * self.hand):
            starts = [(p * q, (*dealt, card), rest) for p, dealt, deck in starts for q, card, rest in draws(deck)]
        h, found = self.hand, []
        for p, dealt, rest in starts:
            hands = tuple(dealt[q * h : (q + 1) * h] for q in range(self.players))
            found.append((p, Table(rest, hands, heights, self.most_info, self.most_lives, 0, self.players, None)))
        return found

    def mover(self, state: Table) -> int:
        """In turn."""
        return state.mover

    def legal(self, state: Table) -> list[int]:
        """Discards where a token is missing; plays; hints that name a card, for a token."""
        slots = range(len(state.hands[state.mover]))
        moves = [k for k in slots if state.info < self.most_info] + [self.hand + k for k in slots]
        if state.info:
            moves += [a for a in range(2 * self.hand, self.actions) if self.named(state, a)[1]]
        return moves

    def named(self, state: Table, move: int) -> tuple[int, tuple[int, ...]]:
        """Who gets a hint, and which slots it names."""
        away, value = divmod(move - 2 * self.hand, self.colors)
        part = 0
        if away >= self.players - 1:
            away, value = divmod(move - 2 * self.hand - (self.players - 1) * self.colors, self.ranks)
            part = 1
        target = (state.mover + 1 + away) % self.players
        return target, tuple(k for k, card in enumerate(state.hands[target]) if card[part] == value)

    def seen(self, state: Table, player: int) -> Hashable:
        """The last move, and the other hands."""
        return state.news, tuple(hand for q, hand in enumerate(state.hands) if q != player)

    def step(self, state: Table, move: int) -> list[tuple[float, float, Table | None]]:
        """Reward: the change in score, which falls to nothing with the last life."""
        me, score = state.mover, sum(state.heights)
        state = state._replace(mover=(me + 1) % self.players, last_turns=state.last_turns - (not state.deck))
        if move >= 2 * self.hand:
            news = (move, self.named(state._replace(mover=me), move)[1])
            return self.turn(state._replace(info=state.info - 1, news=news), score)
        held, k = state.hands[me], move % self.hand
        card, kept = held[k], held[:k] + held[k + 1 :]
        if move < self.hand:
            state = state._replace(info=state.info + 1)
        elif state.heights[card[0]] == card[1]:
            heights = tuple(h + (c == card[0]) for c, h in enumerate(state.heights))
            bonus = card[1] + 1 == self.ranks and state.info < self.most_info
            state = state._replace(heights=heights, info=state.info + bonus)
        else:
            state = state._replace(lives=state.lives - 1)
        found = []
        for p, drawn, rest in draws(state.deck) or [(1.0, None, ())]:
            mine = kept if drawn is None else (*kept, drawn)
            hands = tuple(mine if q == me else hand for q, hand in enumerate(state.hands))
            found += [(p * q, r, to) for q, r, to in self.turn(state._replace(deck=rest, hands=hands, news=(move, card)), score)]
        return merged(found)

    def turn(self, state: Table, before: int) -> list[tuple[float, float, Table | None]]:
        """The next turn, or the end."""
        now = sum(state.heights) if state.lives else 0
        over = not state.lives or now == self.colors * self.ranks or not state.last_turns
        return [(1.0, float(now - before), None if over else state)]

    def symmetries(self) -> dict[str, tuple[Relabelling, ...]]:
        """Colours may be called otherwise: by their turn and by exchanging the first two, which make all orders."""
        orders = [] if self.colors == 1 else [(*range(1, self.colors), 0)] + ([(1, 0, *range(2, self.colors))] if self.colors > 2 else [])
        return {"none": (), "all": tuple(self.recoloured(order) for order in orders)}

    def recoloured(self, order: tuple[int, ...]) -> Relabelling:
        """Colour c is called `order[c]`."""
        start = 2 * self.hand

        def move(player: int, a: int) -> int:
            away, colour = divmod(a - start, self.colors)
            return start + away * self.colors + order[colour] if 0 <= away < self.players - 1 else a

        def seen(player: int, sight: Any) -> Hashable:
            news, hands = sight
            if news is not None:
                news = (move(player, news[0]), (order[news[1][0]], news[1][1]) if news[0] < start else news[1])
            return news, tuple(tuple((order[c], r) for c, r in hand) for hand in hands)

        return Relabelling(f"colours {order}", move, seen)


def draws(deck: tuple[Card, ...]) -> list[tuple[float, Card, tuple[Card, ...]]]:
    """What may be drawn: probability, card, the deck without it."""
    return [(deck.count(card) / len(deck), card, deck[: deck.index(card)] + deck[deck.index(card) + 1 :]) for card in dict.fromkeys(deck)]


def merged(outcomes: list[tuple[float, float, Table | None]]) -> list[tuple[float, float, Table | None]]:
    """One end instead of several that pay the same."""
    if outcomes[0][2] is None:
        return [(1.0, outcomes[0][1], None)]
    return outcomes
