"""Runners: the same five verbs in one process and over Ray actors.

The round r of play is made with the weights of version max(start of the segment, r - staleness), where a version counts the updates
behind it and a segment is the stretch between two checkpoints. So what is computed does not depend on who computes it, nor on timing,
at any staleness: the local runner is the oracle of the distributed one.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from interplay.cluster.experiment import Experiment, threads
from interplay.cluster.telemetry import gpu_memory
from interplay.cluster.tiles import Played, TileHost, TileState
from interplay.learners.core import Learner, Task
from interplay.policies.trajectory import Trajectory


@dataclass
class RunState:
    """Everything that decides a run's future, between two updates.

    Attributes:
        number: rounds played and learned from.
        learner: its `state_dict()`.
        meta: the meta-learner's.
        tiles: each tile's state, or empty where nothing has been played yet.
    """

    number: int
    learner: dict[str, Tensor]
    meta: dict[str, Any]
    tiles: list[TileState] = field(default_factory=list)


class Lost(RuntimeError):
    """A worker died with something that cannot be asked for again: the run goes on from its last checkpoint."""


class Runner(Protocol):
    """What the run loop needs."""

    def restore(self, state: RunState | None) -> None:
        """Start from `state`, or from the beginning."""
        ...

    def ask(self) -> list[Task]:
        """The tasks of the next round, one a tile."""
        ...

    def play(self, number: int, version: int, tasks: list[Task]) -> Any:
        """Begin a round of play; returns a handle for `learn`."""
        ...

    def learn(self, number: int, handle: Any) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Learn from a round; returns metrics and the tiles' outcomes."""
        ...

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """Report a round to the meta-learner."""
        ...

    def news(self) -> list[str]:
        """Restarts of workers that have come to light since this was asked last, in words."""
        ...

    def unsettled(self, left: int) -> str:
        """Why workers should be placed anew before the `left` rounds to come, in words; "" where they should not."""
        ...

    def state(self, number: int) -> RunState:
        """The whole state after `number` rounds, when nothing is in flight."""
        ...

    def close(self) -> None:
        """Stop what was started."""
        ...


def updated(
    learner: Learner, trajectory: Trajectory | None, number: int, device: str, began: float, more: dict[str, float]
) -> dict[str, float]:
    """Make an update with round `number`; returns its metrics, if there are any yet, with time since `began`, lag and `more`."""
    metrics = learner.update(trajectory)
    if not metrics:
        return {}
    lag = float(number - trajectory.version) if trajectory else 0.0
    return metrics | {"time/learn": time.perf_counter() - began, "lag": lag} | more | gpu_memory(device)


class LocalRunner:
    """Everything in this process, without Ray."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def restore(self, state: RunState | None) -> None:
        """Build everything anew, then take over `state`."""
        experiment = self.experiment
        threads(1)
        self.learner, self.meta = experiment.learner(), experiment.meta()
        self.host = TileHost(experiment, 0, experiment.run.tiles) if experiment.run.tiles else None
        self.states: list[TileState] | None = None
        number = 0
        if state is not None:
            number = state.number
            self.learner.load_state_dict(state.learner)
            self.meta.load_state_dict(state.meta)
            self.states = state.tiles or None
        self.weights = {number: self._publish()}

    def _publish(self) -> dict[str, Tensor]:
        return {name: x.clone() for name, x in self.learner.policy().items()}

    def ask(self) -> list[Task]:
        """Ask the meta-learner."""
        return self.meta.ask(self.experiment.run.tiles)

    def play(self, number: int, version: int, tasks: list[Task]) -> Played | None:
        """Play at once."""
        if self.host is None:
            return None
        played = self.host.play(number, version, self.weights[version], tasks, self.states)
        self.states = played.states
        return played

    def learn(self, number: int, handle: Played | None) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Learn at once, if anything that was played is to be learned from."""
        threads(1)
        trajectory = None if handle is None else handle.trajectory
        metrics = {"time/learn": 0.0}  # where nothing that was played is to be learned from
        if handle is None or trajectory is not None:
            metrics = updated(self.learner, trajectory, number, self.experiment.run.device, time.perf_counter(), {"time/wait": 0.0})
        self.weights = {v: w for v, w in self.weights.items() if v > number - self.experiment.run.staleness - 1}
        self.weights[number + 1] = self._publish()
        return metrics, [] if handle is None else handle.outcomes

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """Tell the meta-learner."""
        self.meta.tell(tasks, outcomes)

    def news(self) -> list[str]:
        """None: what fails here ends the run."""
        return []

    def unsettled(self, left: int) -> str:
        """Never: there are none."""
        return ""

    def state(self, number: int) -> RunState:
        """Copied."""
        return RunState(number, self.learner.state_dict(), self.meta.state_dict(), self.states or [])

    def close(self) -> None:
        """Nothing was started."""
