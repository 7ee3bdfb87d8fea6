"""Tiny Hanabi, which is no Hanabi: each player holds a card of two kinds, then both move once, the second having seen the first's move.

The payoffs are those of OpenSpiel's `tiny_hanabi`. Move 1 pays at least 4, and 8 where both make it; with 10 at best, the others are
signals about the card.
"""

from collections.abc import Hashable
from typing import Any

from interplay.envs.symmetry import Relabelling

SAFE = ((4, 8, 4),)
PAYOFF = (  # [first card][second card][first move][second move]
    (((10, 0, 0), *SAFE, (10, 0, 0)), ((0, 0, 10), *SAFE, (0, 0, 10))),
    (((0, 0, 10), *SAFE, (0, 0, 0)), ((10, 0, 0), *SAFE, (10, 0, 0))),
)


class TinyHanabi:
    """A state is (first card, second card, first move: None at first)."""

    players, actions = 2, 3

    def deal(self) -> list[tuple[float, Any]]:
        """Two cards, each of either kind."""
        return [(0.25, (one, two, None)) for one in range(2) for two in range(2)]

    def mover(self, state: Any) -> int:
        """One after the other."""
        return 0 if state[2] is None else 1

    def legal(self, state: Any) -> range:
        """Everything."""
        return range(3)

    def seen(self, state: Any, player: int) -> Hashable:
        """The own card; then the second sees what the first did."""
        if state[2] is None:
            return ("card", state[player])
        return ("move", state[2]) if player == 1 else None

    def step(self, state: Any, move: int) -> list[tuple[float, float, Any]]:
        """The second move is paid."""
        one, two, first = state
        if first is None:
            return [(1.0, 0.0, (one, two, move))]
        return [(1.0, float(PAYOFF[one][two][first][move]), None)]

    def symmetries(self) -> dict[str, tuple[Relabelling, ...]]:
        """None: no two cards or moves are alike."""
        return {"none": ()}
