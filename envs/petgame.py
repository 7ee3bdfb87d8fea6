"""The toy game of Off-Belief Learning (Hu et al. 2021): Alice sees a pet, Bob has to say which.

Alice may switch the light on or off for nothing, take away a barrier for 5, so that Bob sees the pet too, or bail out with 1. Bob
wins 10 by the right guess, loses 10 by the wrong one, or bails out with .5. A light can mean either pet: that is a convention.
"""

from collections.abc import Hashable
from typing import Any

from interplay.envs.symmetry import Relabelling

CAT, DOG = range(2)
ON, OFF, REMOVE, LEAVE = range(4)  # Alice's moves
GIVE_UP = 2  # Bob's; 0 and 1 are his guesses
BAIL, COST, PRIZE, QUIT = 1.0, -5.0, 10.0, 0.5


class PetGame:
    """A state is (pet, what Alice has done: None at first)."""

    players, actions = 2, 4

    def deal(self) -> list[tuple[float, Any]]:
        """Cat or dog."""
        return [(0.5, (pet, None)) for pet in (CAT, DOG)]

    def mover(self, state: Any) -> int:
        """Alice, then Bob."""
        return 0 if state[1] is None else 1

    def legal(self, state: Any) -> range:
        """Four moves of Alice's, three of Bob's."""
        return range(4 if state[1] is None else 3)

    def seen(self, state: Any, player: int) -> Hashable:
        """Alice sees the pet; Bob sees the light, or the pet where the barrier is gone."""
        pet, done = state
        if done is None:
            return ("pet", pet) if player == 0 else None
        if player == 0:
            return None
        return ("pet", pet) if done == REMOVE else ("light", done)

    def step(self, state: Any, move: int) -> list[tuple[float, float, Any]]:
        """Pay."""
        pet, done = state
        if done is None:
            if move == LEAVE:
                return [(1.0, BAIL, None)]
            return [(1.0, COST if move == REMOVE else 0.0, (pet, move))]
        if move == GIVE_UP:
            return [(1.0, QUIT, None)]
        return [(1.0, PRIZE if move == pet else -PRIZE, None)]

    def symmetries(self) -> dict[str, tuple[Relabelling, ...]]:
        """Which names may be exchanged: those of the two lights, of the two pets, of both."""
        lights = Relabelling("lights", lambda p, a: 1 - a if p == 0 and a < 2 else a, lambda p, s: other(s, "light"))
        pets = Relabelling("pets", lambda p, a: 1 - a if p == 1 and a < 2 else a, lambda p, s: other(s, "pet"))
        return {"none": (), "lights": (lights,), "pets": (pets,), "all": (lights, pets)}


def other(sight: Any, kind: str) -> Hashable:
    """A sight ("pet" or "light", which) with its two values exchanged, if it is of that kind."""
    return (kind, 1 - sight[1]) if sight[0] == kind else sight
