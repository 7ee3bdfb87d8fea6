"""A host of tiles: the worlds and the player of some tiles, in this process. An env actor is one of these behind a mailbox."""

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from interplay.cluster.experiment import Experiment, threads
from interplay.envs.core import Env
from interplay.learners.core import Task
from interplay.policies.player import Player
from interplay.policies.rollout import rollout
from interplay.policies.trajectory import Trajectory

TileState = dict[str, Tensor]  # a snapshot of a tile's worlds, and "carry" where the player remembers


@dataclass
class Played:
    """What a round of play gives: what is to be learned from, if anything, an outcome for each tile, and each tile's state after it."""

    trajectory: Trajectory | None
    outcomes: list[dict[str, Any]]
    states: list[TileState]


class TileHost:
    """Plays rounds on tiles `first ... first + count - 1`.

    A round is a function of (round, weights, tasks, the tiles' states at its start): a host that has lost its place, or never had it,
    restores the states it is given, and plays the very round that was lost.
    """

    def __init__(self, experiment: Experiment, first: int, count: int) -> None:
        threads(experiment.run.act_threads)
        self.experiment, self.first = experiment, first
        self.envs: list[Env] = [experiment.env(first + k) for k in range(count)]
        self.architects = [a for k in range(count) if (a := experiment.architect(first + k)) is not None]
        self.at = 0  # the round whose start the tiles stand at
        self.seat(experiment.player())

    def seat(self, player: Player) -> None:
        """Let a player begin in all seats."""
        self.player, self.carries = player, [player.start(env) for env in self.envs]

    def play(self, number: int, version: int, weights: dict[str, Tensor], tasks: list[Task], states: list[TileState] | None) -> Played:
        """Play round `number` with the weights of `version`, from `states` (None: from where the tiles stand)."""
        threads(self.experiment.run.act_threads)
        if self.at != number:
            if states is None:
                raise RuntimeError(f"tiles {self.first}... stand at round {self.at}, not {number}, and no states were given")
            self._restore(states)
        for actor in [self.player, *self.architects]:
            actor.load(weights)
        began = time.perf_counter()
        parts, outcomes = [], []
        for k, task in enumerate(tasks):
            part, outcome = self._round(k, task, number, version, weights)
            outcomes.append(outcome | task.options.get("report", {}))
            if part is not None:
                parts.append(part)
        self.at = number + 1
        trajectory = Trajectory.join(parts) if parts else None
        seconds = time.perf_counter() - began
        for outcome in outcomes:
            outcome["time/act"] = seconds
        return Played(trajectory, outcomes, [self._state(k) for k in range(len(self.envs))])

    def _round(self, k: int, task: Task, number: int, version: int, weights: dict[str, Tensor]) -> tuple[Trajectory | None, dict[str, Any]]:
        """One tile's round: what is to be learned from, if anything, and the outcome."""
        env, turns, built = self.envs[k], self.experiment.run.turns, None
        if task.options.get("kind") == "build":
            levels, built = self.architects[k].build(number)
            task = replace(task, levels=levels.repeat(self.experiment.groups, 1))
        self._prepare(k, task)
        part, self.carries[k] = rollout(env, self.player, turns, number * turns, self.carries[k])
        outcome = self.experiment.outcome(task, env, part)
        part.value, part.groups, part.stage = None, self.experiment.groups, task.options.get("stage", 0)
        part.version, part.learned = version, _count(weights, "updates")
        if built is not None:
            built.version, built.learned = version, _count(weights, "teacher.updates")
            self.architects[k].pay(built, torch.as_tensor(outcome["built"]["worth"]))
            part.teacher = built
        return (part if task.learn else built), outcome

    def _prepare(self, k: int, task: Task) -> None:
        """What a task asks of a tile before it is played: levels, from whose start it is played, and options."""
        env = self.envs[k]
        if hasattr(self.player, "stage"):
            self.player.stage = task.options.get("stage", 0)  # type: ignore[attr-defined]
        if task.levels is not None:
            env.set_level(torch.ones(env.n, dtype=torch.bool, device=env.device), task.levels.to(env.device))  # type: ignore[attr-defined]
            self.carries[k] = self.player.start(env)
        configure = getattr(env, "configure", None)
        if configure:
            configure(task.options)

    def _state(self, k: int) -> TileState:
        carry = self.carries[k]
        state = self.envs[k].snapshot() | ({} if carry is None else {"carry": carry.clone()})
        return state | ({"architect": self.architects[k].worlds.snapshot()["worlds"]} if self.architects else {})

    def _restore(self, states: list[TileState]) -> None:
        for k, state in enumerate(states):
            state = dict(state)
            self.carries[k] = state.pop("carry", None)
            if self.architects:
                self.architects[k].worlds.restore({"worlds": state.pop("architect")})
            self.envs[k].restore(state)


def _count(weights: dict[str, Tensor], name: str) -> int | None:
    return int(weights[name]) if name in weights else None


def pack(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Named tensors as arrays, for the object store."""
    return {name: x.cpu().contiguous().numpy() for name, x in tensors.items()}
