"""An experiment: everything that a recipe fixes, and the four things that a run builds from it (worlds, player, learner, meta-learner).

Experiments are frozen dataclasses: their fields are the command line's flags, and `config.json` of a run.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch

from interplay.cluster.fleet import labels
from interplay.envs.core import Env, UsageError, on_device
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.meta import Repeat
from interplay.learners.replay import Store
from interplay.policies.architect import Architect
from interplay.policies.player import Player
from interplay.policies.trajectory import Trajectory


@dataclass(frozen=True)
class RunConfig:
    """How an experiment is run.

    Attributes:
        updates: of the learner, in all.
        tiles: groups of worlds that are acted for, moved and saved as one; results do not depend on who hosts which.
        tile: worlds in a tile.
        turns: env steps that a world plays for an update.
        env_actors: processes that host the tiles.
        learners: processes that share each update of a PPO learner (over Ray); equal to one but for rounding.
        staleness: how many updates older than the newest the acting policy may be; 0 is exactly on policy.
        checkpoint_every: updates from one checkpoint to the next.
        act_threads, learn_threads: threads of an env actor and of the learner; part of what makes results repeatable. More than one makes
            an env actor faster where it has as many cores to itself; where it has not, threads that wait take the cores from those that
            work, unless they are told to sleep (OMP_WAIT_POLICY=PASSIVE).
        device: where worlds, policies and learner live.
        tail: the summary's figures are means over so many last updates.
        env_labels, learner_labels: the nodes where env actors may stand, and learners with all else: key=value,key=value.
        env_gpus, learner_gpus: share of a GPU for each of them; 0: all share one evenly.
        transport: how trajectories reach the learner: store, Ray's object store; direct, from process to process (`cluster.transport`).
        patience: seconds that one env actor may keep the others waiting before it is replaced.
    """

    updates: int = 1000
    tiles: int = 4
    tile: int = 256
    turns: int = 128
    env_actors: int = 1
    learners: int = 1
    staleness: int = 0
    checkpoint_every: int = 100
    act_threads: int = 1
    learn_threads: int = 2
    device: str = "cpu"
    tail: int = 10
    env_labels: str = ""
    learner_labels: str = ""
    env_gpus: float = 0.0
    learner_gpus: float = 0.0
    transport: str = "store"
    patience: float = 300.0

    @property
    def cpus(self) -> float:
        """What an env actor takes of a node: a CPU for two threads, which wait while others learn; one CPU at most."""
        return min(1, self.act_threads / 2)


@dataclass(frozen=True)
class Experiment:
    """What all experiments share. `seed` decides worlds, play, initial weights and shuffles."""

    seed: int = 0
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def stages(self) -> int:
        """Rounds of play that make one update."""
        return 1

    @property
    def groups(self) -> int:
        """Populations whose worlds come in so many equal contiguous groups of a tile (`policies.seating`)."""
        return 1

    @property
    def worlds(self) -> int:
        """Worlds in all tiles."""
        return self.run.tiles * self.run.tile

    def env(self, tile: int) -> Env:
        """The worlds of one tile."""
        raise NotImplementedError

    def architect(self, tile: int) -> Architect | None:
        """Who builds the levels of one tile, if that is somebody who learns."""
        return None

    def player(self) -> Player:
        """Who acts in them."""
        raise NotImplementedError

    def scored(self) -> "Experiment":
        """The same by the game's own rules, whatever was changed for training."""
        return self

    def judge(self) -> Player:
        """Who acts where it is only looked at how well: the player, unless that one explores."""
        return self.player()

    def learner(self) -> Learner:
        """Who learns."""
        raise NotImplementedError

    def store(self) -> Store | None:
        """Where the learner keeps games, if it learns from replay."""
        return None

    def meta(self) -> MetaLearner:
        """Who decides what is played."""
        return Repeat(Task())

    def exam(self) -> MetaLearner:
        """Who decides what is played where it is only looked at how well."""
        return Repeat(Task(options={"meet": True}))

    def outcome(self, task: Task, env: Env, played: Trajectory) -> dict[str, Any]:
        """What the meta-learner is told of a tile's round: figures by name, and dictionaries of arrays that stay out of the metrics."""
        return env.outcome() if hasattr(env, "outcome") else {}  # type: ignore[attr-defined]

    def metrics(self, learned: dict[str, float], outcomes: list[dict[str, Any]]) -> dict[str, float]:
        """One row of metrics from what the learner says and what came of the tiles (mean over tiles)."""
        names = sorted({name for outcome in outcomes for name, value in outcome.items() if not isinstance(value, dict)})
        return learned | {name: sum(o.get(name, 0.0) for o in outcomes) / len(outcomes) for name in names}

    def check(self) -> None:
        """All that is wrong with the numbers, as one `UsageError`."""
        run, wrong = self.run, []
        for name in ("updates", "tile", "turns", "env_actors", "learners", "checkpoint_every", "act_threads", "learn_threads", "tail"):
            if getattr(run, name) < 1:
                wrong.append(f"run.{name} is {getattr(run, name)}; allowed are whole numbers from 1")
        if run.staleness < 0 or run.tiles < 0:
            wrong.append(f"run.staleness is {run.staleness} and run.tiles {run.tiles}; allowed are whole numbers from 0")
        for name, value in (("env_gpus", run.env_gpus), ("learner_gpus", run.learner_gpus), ("patience", run.patience)):
            if not 0 <= value < float("inf") or (name == "patience" and value == 0):
                wrong.append(f"run.{name} is {value}; allowed are finite numbers, not negative, and patience above 0")
        if not 0 <= self.seed < 2**32:
            wrong.append(f"seed is {self.seed}; allowed are whole numbers from 0 to {2**32 - 1}")
        if 0 < run.tiles < run.env_actors:
            wrong.append(f"run.env_actors is {run.env_actors} with run.tiles {run.tiles}; allowed is at most one actor a tile")
        wrong += [f"{name} is {value}; allowed are finite numbers above 0" for name, value in _rates(self) if not 0 < value < float("inf")]
        wrong += [f"{name} is {value}; allowed are numbers from 0 to 1" for name, value in _shares(self) if not 0 <= value <= 1]
        if wrong:
            raise UsageError("; ".join(wrong))
        for text in (run.env_labels, run.learner_labels):
            labels(text)
        on_device(run.device)
        if run.learners > 1 and not hasattr(self.learner(), "team"):
            raise UsageError(f"run.learners is {run.learners}; allowed is more than 1 where the learner is PPO")


def _leaves(config: Any, path: str = "") -> list[tuple[str, Any]]:
    """All fields of a nested dataclass as (dotted name, value)."""
    found = []
    for f in fields(config):
        value, name = getattr(config, f.name), f"{path}{f.name}"
        found += _leaves(value, f"{name}.") if is_dataclass(value) else [(name, value)]
    return found


def _rates(config: Any) -> list[tuple[str, float]]:
    return [(n, v) for n, v in _leaves(config) if n.rsplit(".", 1)[-1] in ("lr", "lr_in", "lr_out", "delta")]


def _shares(config: Any) -> list[tuple[str, float]]:
    return [(n, v) for n, v in _leaves(config) if v is not None and n.rsplit(".", 1)[-1] in ("gamma", "lam")]


def threads(count: int) -> None:
    """Fix PyTorch's threads, and with them the engine's. Learners have one: they spread chunks over threads themselves."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
