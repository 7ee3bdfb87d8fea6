"""The Ray actors: thin mailboxes around a tile host, a learner and a meta-learner. They return NumPy arrays, never torch tensors."""

import time
import warnings
from collections import deque
from typing import Any

import numpy as np
import torch

from interplay.cluster.experiment import Experiment, threads
from interplay.cluster.fleet import env_actor
from interplay.cluster.replay_actor import RemoteReplay
from interplay.cluster.runner import updated
from interplay.cluster.tiles import TileHost, TileState, pack
from interplay.learners.allreduce import Team, meeting_place
from interplay.learners.core import Task
from interplay.policies.trajectory import Trajectory

Outcomes = list[dict[str, Any]]  # of a round, one a tile


def _tensors(arrays: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(x.copy()) for name, x in arrays.items()}


def _bytes(packed: dict[str, Any]) -> int:
    """Size of a packed trajectory's arrays."""
    return sum(_bytes(x) if isinstance(x, dict) else getattr(x, "nbytes", 0) for x in packed.values())


def _loose(packed: Any) -> Any:
    """A packed trajectory with tensors in the place of arrays."""
    if isinstance(packed, dict):
        return {name: _loose(x) for name, x in packed.items()}
    return torch.from_numpy(packed) if isinstance(packed, np.ndarray) else packed


class EnvActor:
    """Hosts tiles `first ... first + count - 1` and plays rounds on them.

    `play` is a function of its arguments: Ray may restart this actor and call it again, and gets the same trajectory.
    """

    def __init__(self, experiment: Experiment, first: int, count: int) -> None:
        import ray

        self.name = env_actor(first, count)
        self.experiment, self.first = experiment, first
        with warnings.catch_warnings():  # Ray's own code calls what Ray deprecates
            warnings.simplefilter("ignore")
            again = ray.get_runtime_context().was_current_actor_reconstructed
        self.life = time.time_ns() if again else 0  # which of the actors this is that have stood here; 0: the first
        self.node = ray.get_runtime_context().get_node_id()
        self.host = TileHost(experiment, first, count)
        self.kept: deque[Any] = deque()

    def __repr__(self) -> str:
        return self.name

    def forget(self) -> None:
        """Where the tiles stand does not count any more: the next round begins from states that come with it."""
        self.host.at = -1

    def play(
        self, number: int, version: int, weights: dict[str, Any], tasks: list[Task], states: list[dict[str, Any]] | None
    ) -> tuple[Any, Any, Any]:
        """Play a round. `states` are the tiles' at its start (None: the first), which are looked at by an actor that has lost its place.

        They are an argument, not fetched in here: Ray may play rounds that were lost again in any order, and then holds one back until
        the states before it are there, instead of letting this actor wait for a round that only itself can play.

        Returns the packed trajectory, the outcomes (the first one says which `life` of the actor it is, on which `node`), and the states
        after it.
        """
        before: list[TileState] | None = None
        if states is not None and self.host.at != number:
            before = [_tensors(state) for state in states]
        try:
            played = self.host.play(number, version, _tensors(weights), tasks, before)
        except Exception as error:
            world = self.first * self.experiment.run.tile
            raise RuntimeError(f"{self.name}: round {number}, seed {self.experiment.seed}, worlds from {world}: {error}") from error
        played.outcomes[0] |= {"life": self.life, "node": self.node}
        packed = None if played.trajectory is None else played.trajectory.pack()
        return packed, played.outcomes, [pack(state) for state in played.states]

    def keep(self, *order: Any) -> tuple[Any, Any]:
        """Play a round, and keep its trajectory until somebody takes it; returns outcomes and states."""
        try:
            packed, outcomes, states = self.play(*order)
        except Exception as error:
            self.kept.append(error)
            raise
        self.kept.append(packed)
        return outcomes, states

    def hand(self) -> Any:
        """Hand over the oldest trajectory that is kept, as tensors; or fail as its round did."""
        found = self.kept.popleft()
        if isinstance(found, Exception):
            raise found
        return _loose(found)


class LearnerActor:
    """Owns the learner. `learn` joins the actors' trajectories in the order of their tiles, so that it does not matter who made them.

    Where it learns from replay, `replay` is the actor that holds the games.
    """

    def __init__(self, experiment: Experiment, replay: Any = None) -> None:
        threads(1)
        self.learner: Any = experiment.learner()
        self.device, self.taken = experiment.run.device, 0  # taken: bytes of trajectories since the last metrics
        if replay is not None:
            self.learner.replay = RemoteReplay(replay)
        self.done = time.perf_counter()

    def __repr__(self) -> str:
        return "Learner"

    def listen(self, size: int) -> str:
        """Open the place where the `size` learners find each other, for the first of them; returns "host:port"."""
        import ray

        self.store = meeting_place(ray.util.get_node_ip_address(), size)
        return f"{self.store.host}:{self.store.port}"

    def join(self, rank: int, size: int, store: str) -> None:
        """Become one of several learners, who share each update."""
        self.learner.team = Team(rank, size, self.store if rank == 0 else store, str(self.learner.network.flat.device))

    def weights(self) -> dict[str, Any]:
        """What actors need to act."""
        return {name: x.copy() for name, x in pack(self.learner.policy()).items()}

    def learn(self, number: int, *packed: dict[str, Any] | None) -> tuple[dict[str, float], dict[str, Any]]:
        """One update, unless nothing that was played is to be learned from; returns metrics and the new weights."""
        began = time.perf_counter()
        parts = [Trajectory.unpack(p) for p in packed if p is not None]
        self.taken += sum(_bytes(p) for p in packed if p is not None)
        if packed and not parts:
            return {"time/learn": 0.0}, self.weights()
        trajectory = Trajectory.join(parts) if parts else None
        more = {"time/wait": began - self.done, "transfer/bytes": float(self.taken)}
        metrics = updated(self.learner, trajectory, number, self.device, began, more)
        self.taken = 0 if metrics else self.taken
        self.done = time.perf_counter()
        return metrics, self.weights()

    def state(self) -> dict[str, Any]:
        """The learner's whole state."""
        return {name: x.copy() for name, x in pack(self.learner.state_dict()).items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self.learner.load_state_dict(_tensors(state))


class MetaLearnerActor:
    """Owns the meta-learner, and remembers what it asked for: outcomes come in that order, with the next question."""

    def __init__(self, experiment: Experiment) -> None:
        self.meta = experiment.meta()
        self.tiles = experiment.run.tiles
        self.asked: deque[list[Task]] = deque()

    def __repr__(self) -> str:
        return "MetaLearner"

    def ask(self, told: list[Outcomes]) -> list[Task]:
        """Hear what came of rounds; then the tasks of the next one."""
        self.tell(told)
        tasks = self.meta.ask(self.tiles)
        self.asked.append(tasks)
        return tasks

    def tell(self, told: list[Outcomes]) -> None:
        """What came of the rounds that were asked for first."""
        for outcomes in told:
            self.meta.tell(self.asked.popleft(), outcomes)

    def state(self, told: list[Outcomes]) -> dict[str, Any]:
        """Its whole state, after what came of the last rounds."""
        self.tell(told)
        return self.meta.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state."""
        self.meta.load_state_dict(state)
