"""Meta-learners without parameters: play the same again, the annealing of meta-self-play, and going over from one level to another."""

from typing import Any

from interplay.envs import dice, streams
from interplay.learners.core import Task


class Repeat:
    """The same task for ever."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def ask(self, n: int) -> list[Task]:
        """The task, n times."""
        return [self.task] * n

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """Nothing to learn from."""

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No state."""


class Annealing:
    """Meta-self-play (Lu et al. 2022): lambda starts at 1 and falls by `rate` each meta-episode; with probability lambda both shapers
    train against naive learners of their own, else they meet each other.
    """

    def __init__(self, rate: float, seed: int) -> None:
        self.rate, self.seed, self.asked = rate, seed, 0

    def ask(self, n: int) -> list[Task]:
        """One draw decides for all n tiles, so that a trajectory is of one kind."""
        self.asked += 1
        naive = max(0.0, 1 - self.rate * self.asked)
        meet = float(streams.units(self.seed, dice.META, 2**31, self.asked, (1, 1))) >= naive
        return [Task(options={"meet": meet})] * n

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """The schedule does not depend on what came of it."""

    def state_dict(self) -> dict[str, Any]:
        """How often it was asked."""
        return {"asked": self.asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.asked = int(state["asked"])


class Transition:
    """A field of the worlds' level goes over from one value to another: in round `start` + k, a share k / over of a tile's
    worlds has the new one. So the mean game changes by degrees, and from round `start + over` on it is the game that is meant.
    """

    def __init__(self, field: str, before: float, after: float, over: int, start: int = 0) -> None:
        self.field, self.before, self.after, self.over, self.start, self.asked = field, before, after, over, start, 0

    def ask(self, n: int) -> list[Task]:
        """The same for all tiles."""
        self.asked += 1
        share = min(1.0, max(0.0, (self.asked - 1 - self.start) / self.over)) if self.over else 1.0
        return [Task(options={"level": (self.field, self.before, self.after, share)})] * n

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """The schedule does not depend on what came of it."""

    def state_dict(self) -> dict[str, Any]:
        """How often it was asked."""
        return {"asked": self.asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.asked = int(state["asked"])
