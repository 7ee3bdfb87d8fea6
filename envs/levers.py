"""Lever games as trees: all rounds of two players who pull at once, and see the other's lever afterwards.

One round of nine levers that pay 1.0 and one that pays 0.9 is Other-Play's (Hu et al. 2020); two rounds of two levers, 1 for the same and
-1 for different ones, is the two-stage lever game of Treutlein et al. (2021).
"""

from collections.abc import Hashable, Sequence
from typing import Any

from interplay.envs.lever import PAYS
from interplay.envs.symmetry import Relabelling


class Levers:
    """A state is (rounds over, levers pulled last: None at first, the first player's lever of this round: None before it).

    Args:
        pays: what each lever pays where both pull it.
        miss: what different levers pay.
        rounds: how many.
    """

    players = 2

    def __init__(self, pays: Sequence[float] = PAYS, miss: float = 0.0, rounds: int = 1) -> None:
        self.pays, self.miss, self.rounds, self.actions = tuple(pays), miss, rounds, len(pays)

    def deal(self) -> list[tuple[float, Any]]:
        """Nothing is dealt."""
        return [(1.0, (0, None, None))]

    def mover(self, state: Any) -> int:
        """The second moves without having seen the first's lever."""
        return 0 if state[2] is None else 1

    def legal(self, state: Any) -> range:
        """All levers."""
        return range(self.actions)

    def seen(self, state: Any, player: int) -> Hashable:
        """After a round, the other's lever."""
        _, last, pulled = state
        return None if last is None or pulled is not None else last[1 - player]

    def step(self, state: Any, move: int) -> list[tuple[float, float, Any]]:
        """The second player's move ends the round."""
        played, last, pulled = state
        if pulled is None:
            return [(1.0, 0.0, (played, last, move))]
        reward = self.pays[move] if pulled == move else self.miss
        return [(1.0, float(reward), None if played + 1 == self.rounds else (played + 1, (pulled, move), None))]

    def symmetries(self) -> dict[str, tuple[Relabelling, ...]]:
        """Levers that pay the same, cyclically (as good as all their orders where there is one round), and the seats."""
        turned = list(range(self.actions))
        for pay in set(self.pays):
            alike = [k for k in range(self.actions) if self.pays[k] == pay]
            for k, to in zip(alike, alike[1:] + alike[:1], strict=True):
                turned[k] = to
        levers = Relabelling("levers", lambda p, a: turned[a], lambda p, s: turned[s])  # type: ignore[index]
        seats = Relabelling("seats", lambda p, a: a, lambda p, s: s, (1, 0))
        return {"none": (), "levers": (levers,), "seats": (seats,), "all": (levers, seats)}


def two_stage() -> Levers:
    """Two levers, two rounds: +1 where they match, -1 where they do not."""
    return Levers((1.0, 1.0), -1.0, 2)
