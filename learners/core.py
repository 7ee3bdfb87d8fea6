"""What every learner and every meta-learner is, as the runtime sees them."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from interplay.policies.trajectory import Trajectory

Arrays = dict[str, Tensor]


class Learner(Protocol):
    """Turns trajectories into weights. The runtime calls `update`, hands `policy()` to whoever acts, and saves `state_dict()`."""

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """Learn from one trajectory (None where the game has a closed form); returns metrics, numbers by name."""
        ...

    def policy(self) -> Arrays:
        """The weights that a player needs to act, by name."""
        ...

    def state_dict(self) -> Arrays:
        """Everything that decides the learner's future, as flat named tensors (weights, optimiser moments, counters)."""
        ...

    def load_state_dict(self, state: Arrays) -> None:
        """Go on from a `state_dict()`, bit for bit."""
        ...


@dataclass(frozen=True)
class Task:
    """What one tile plays next.

    Attributes:
        seats: who sits where: for each agent the name of a policy ("learner", or a scripted opponent).
        levels: `[N, level bytes]` uint8 to play, or None for the worlds' own.
        learn: whether the trajectory goes to the learner (else it is evaluation).
        options: whatever else the world understands, such as who meets whom in a meta-game.
    """

    seats: tuple[str, ...] = ()
    levels: Tensor | None = None
    learn: bool = True
    options: dict[str, Any] = field(default_factory=dict)


class MetaLearner(Protocol):
    """Decides what is played next, in ask/tell form; told in the order in which it was asked."""

    def ask(self, n: int) -> list[Task]:
        """The tasks of the next n tiles."""
        ...

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """What came of them, in the order asked."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Its whole state: numbers and tensors by name."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict()`."""
        ...
