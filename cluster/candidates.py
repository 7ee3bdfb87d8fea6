"""Candidates: the students of trained runs, each alone with its own weights, by method; and what their training took."""

import math
from dataclasses import dataclass, replace
from typing import Any

from interplay.cluster import checkpoint
from interplay.cluster.exams import Student, check_maze
from interplay.cluster.experiment_worlds import WorldExperiment
from interplay.cluster.record import RunFolder
from interplay.cluster.training import changes
from interplay.envs.core import UsageError
from interplay.envs.maze_generators import key_of
from interplay.policies.player import NetworkPlayer

CROWDED = 60 / 169  # walls a cell, as the literature places them
ELSEWHERE = ("env_actors", "act_threads", "learn_threads", "device", "checkpoint_every", "tail")  # of RunConfig: makes no other method


@dataclass(frozen=True)
class Candidate:
    """A student of a run: what aggregates call a run, or a seed.

    Attributes:
        method: runs of one recipe, with the same settings but for the seed.
        folder: of the run.
        number: of the student in the run.
        player: plays.
    """

    method: str
    folder: RunFolder
    number: int
    player: Student

    @property
    def about(self) -> dict[str, Any]:
        """What rows of tables say of it."""
        return {"method": self.method, "run": str(self.folder.path), "seed": self.folder.experiment.seed, "student": self.number}

    def dice(self, seed: int, use: str) -> int:
        """Its dice for one use, such as an exam."""
        return int(key_of(seed, f"{use} of student {self.number} of seed {self.folder.experiment.seed}"))


def common(folders: list[RunFolder]) -> tuple[int, int]:
    """Size and time limit of the mazes that the runs were trained in; `UsageError` where they are not alike, or no mazes."""
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise UsageError(f"runs are {', '.join(str(folder.path) for folder in folders)}; allowed is each once: no seed counts twice")
    kinds = []
    for folder in folders:
        made = folder.experiment
        if not isinstance(made, WorldExperiment) or not isinstance(made.player(), NetworkPlayer):
            raise UsageError(f"{folder.path} is a run of a {type(made).__name__}; allowed are runs of PPO in mazes")
        kinds.append(check_maze(made.built(), str(folder.path)))
    if len(set(kinds)) > 1:
        told = "; ".join(f"{folder.path}: size {size}, {rounds} moves" for folder, (size, rounds) in zip(folders, kinds, strict=True))
        raise UsageError(f"the runs were trained in different mazes ({told}); allowed are runs in mazes of one size and time limit")
    return kinds[0]


def crowd(folders: list[RunFolder], size: int) -> int:
    """Walls placed in random mazes: the most that any run placed, or as many as usual where none placed any."""
    makers = [maker for folder in folders if (maker := getattr(folder.experiment, "maker", None)) is not None]
    return max((m.walls for m in makers if "walls" in m.params()), default=0) or round(CROWDED * size * size)


def methods(folders: list[RunFolder]) -> list[str]:
    """The method of each run: its recipe, and where runs of the recipe differ in more than the seed, the settings in which they do."""
    plain = lambda made: replace(made, seed=0, run=replace(made.run, **{n: getattr(type(made.run)(), n) for n in ELSEWHERE}))
    found = []
    for folder in folders:
        mine, alike = plain(folder.experiment), [plain(f.experiment) for f in folders if f.recipe == folder.recipe]
        differ = dict.fromkeys(name for other in alike if type(other) is type(mine) for name in changes(mine, other))
        found.append(" ".join([folder.recipe, *(f"{name}={_value(mine, name)}" for name in sorted(differ))]))
    return found


def _value(config: Any, path: str) -> Any:
    """What a dotted name stands for."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def seeds(made: Any) -> int:
    """Students of a run that count as seeds: all; the first, PAIRED's protagonist, where a teacher builds the same levels for all."""
    return 1 if getattr(made, "built_by", False) else made.groups


def students(method: str, folder: RunFolder, greedy: bool) -> list[Candidate]:
    """The students of a run's last checkpoint, each alone with its own weights."""
    made, learner = folder.experiment, folder.experiment.learner()
    learner.load_state_dict(checkpoint.load(folder.checkpoints).learner)
    flat, found = learner.policy()["flat"], []
    for number in range(seeds(made)):
        one: Any = replace(made, students=1) if hasattr(made, "students") else made  # type: ignore[call-arg]
        player = Student(one.player().network, False, greedy)
        player.load({"flat": flat[number : number + 1]})
        found.append(Candidate(method, folder, number, player))
    return found


def effort(names: list[str], folders: list[RunFolder]) -> dict[str, dict[str, float]]:
    """What training took, up to the last checkpoint: means over a method's runs.

    Environment steps are all that were played for a student, those that only score levels among them; updates are the rounds in which
    something was learned; seconds are a run's, of all its students.
    """
    each: dict[str, list[dict[str, float]]] = {}
    for name, folder in zip(names, folders, strict=True):
        made = folder.experiment
        done = checkpoint.numbers(folder.checkpoints)[-1] // made.stages
        rows = [row for row in folder.rows() if row["update"] <= done] or [{"env_steps": 0, "wall_clock_s": 0.0}]
        updates = sum(row.get("ppo/policy_loss") is not None for row in rows)
        took = {"env_steps": rows[-1]["env_steps"] / seeds(made), "updates": updates, "wall_clock_s": rows[-1]["wall_clock_s"]}
        each.setdefault(name, []).append(took)
    return {name: {x: math.fsum(one[x] for one in took) / len(took) for x in took[0]} for name, took in each.items()}
