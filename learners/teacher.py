"""What a teacher is: a meta-learner that decides which levels students play (unsupervised environment design).

A tile's round is of one kind. "new": fresh levels; "replay": levels drawn from a buffer by what they taught; "edit": children of
the levels replayed last, never learned from; "sweep": fresh levels that are only looked at; "build": levels that somebody builds. The
kind, and what a round was asked for, travels in its tasks, so that rounds may be asked for before those before them have been told.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import UsageError
from interplay.learners.core import Task
from interplay.learners.level_scores import Score
from interplay.learners.priorities import BufferConfig

Method = Literal["dr", "plr", "accel", "sfl", "paired", "minimax", "repaired"]
KINDS = ("new", "replay", "edit", "sweep", "build")  # of rounds


class Maker(Protocol):
    """Makes levels of a world, `[K, level bytes]` uint8; the k-th depends on `first + k` alone."""

    def draw(self, first: int, count: int) -> Tensor:
        """Fresh levels."""
        ...

    def edit(self, levels: Tensor, first: int) -> Tensor:
        """A child of each level."""
        ...


@dataclass(frozen=True)
class TeacherConfig:
    """How levels are chosen.

    Attributes:
        method: "dr" fresh levels always; "plr" prioritised level replay (Jiang et al. 2021); "accel" also edits what was replayed
            (Parker-Holder et al. 2022); "sfl" samples by learnability (Rutherford et al. 2024). Levels are built by somebody who learns
            to, in "paired" (Dennis et al. 2020), paid by the students' regret; in "minimax", by their failure; in "repaired" (Jiang et
            al. 2021), which is robust "plr" with the levels of "paired".
        score: what makes a level worth replaying (see `level_scores`).
        replay: probability that a round is a replay, once the buffer is warm.
        robust: students learn from replayed levels only (PLR-perp, robust PLR).
        lanes: tiles are divided between the kinds, all of which are played every round (parallel PLR and ACCEL, Jiang et al. 2023).
        buffer: the levels that are kept.
        sweep, tries, keep, period, share: "sfl": every `period` rounds of learning, `sweep` batches of fresh levels are looked at, each
            for `tries` rounds; the `keep` most learnable are played until the next time, by that share of the worlds, the rest plays
            fresh ones.
    """

    method: Method = "dr"
    score: Score = "maxmc"
    replay: float = 0.5
    robust: bool = True
    lanes: bool = False
    buffer: BufferConfig = field(default_factory=BufferConfig)
    sweep: int = 4
    tries: int = 4
    keep: int = 1000
    period: int = 100
    share: float = 0.5


class Seats:
    """The worlds of n tiles by student: in each tile they come in S equal contiguous groups."""

    def __init__(self, tiles: int, width: int, students: int) -> None:
        self.tiles, self.width, self.students = tiles, width, students
        self.each = tiles * width // students  # worlds a student

    def gather(self, x: Tensor) -> Tensor:
        """`[tiles, width, ...]` to `[S, each, ...]`."""
        return x.unflatten(1, (self.students, -1)).transpose(0, 1).flatten(1, 2)

    def spread(self, x: Tensor) -> Tensor:
        """Back: `[S, each, ...]` to `[tiles, width, ...]`."""
        return x.unflatten(1, (self.tiles, -1)).transpose(0, 1).flatten(1, 2)


class Teacher:
    """What all teachers share: fresh levels, counters, and what a round's outcomes say by student.

    Args:
        config: how levels are chosen.
        maker: makes them.
        width: worlds in a tile.
        students: S, each with a curriculum of its own.
        seed: of the choices.
    """

    def __init__(self, config: TeacherConfig, maker: Maker, width: int, students: int = 1, seed: int = 0) -> None:
        if width % students:
            raise UsageError(f"run.tile is {width} with {students} students; allowed are multiples of the students")
        self.config, self.maker, self.width, self.students, self.seed = config, maker, width, students, seed
        self.asked = self.told = self.made = 0
        self.seconds = 0.0

    def ask(self, n: int) -> list[Task]:
        """The next round's levels."""
        began = time.perf_counter()
        self.asked += 1
        tasks = self.choose(n)
        report = {"teacher/lag": float(self.asked - 1 - self.told), "time/teacher": self.seconds + time.perf_counter() - began}
        report |= self.report()
        self.seconds = 0.0
        for task in tasks:
            task.options["report"] = report | {f"teacher/{kind}": float(task.options["kind"] == kind) for kind in KINDS}
        return tasks

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """What came of it."""
        began = time.perf_counter()
        self.told += 1
        kinds = [task.options["kind"] for task in tasks]
        for kind in dict.fromkeys(kinds):
            part = [k for k, other in enumerate(kinds) if other == kind]
            seats = Seats(len(part), self.width, self.students)
            played = [outcomes[k]["built"]["levels"] if kind == "build" else tasks[k].levels for k in part]
            levels = torch.stack([torch.as_tensor(x) for x in played])
            found = {
                name: torch.stack([torch.as_tensor(outcomes[k]["levels"][name]) for k in part]) for name in outcomes[part[0]]["levels"]
            }
            self.learn(kind, seats.gather(levels), {name: seats.gather(x) for name, x in found.items()})
        self.seconds += time.perf_counter() - began

    def choose(self, n: int) -> list[Task]:
        """The tasks of n tiles."""
        return self.tasks("new", self.fresh(n), learn=True)

    def learn(self, kind: str, levels: Tensor, found: dict[str, Tensor]) -> None:
        """Take in what was found `[S, each]` by name on levels `[S, each, bytes]` of a kind."""

    def report(self) -> dict[str, float]:
        """Figures for the metrics."""
        return {}

    def fresh(self, n: int) -> Tensor:
        """Fresh levels `[tiles, width, bytes]`."""
        first, count = self.made, n * self.width
        self.made += count
        return self.maker.draw(first, count).unflatten(0, (n, self.width))

    def tasks(self, kind: str, levels: Tensor, learn: bool) -> list[Task]:
        """One task a tile."""
        return [Task(levels=tile, learn=learn, options={"kind": kind}) for tile in levels]

    def coin(self, chance: float) -> bool:
        """True with that chance; one throw a round."""
        return float(streams.units(self.seed, dice.META, 2**30, self.asked, (1, 1))) < chance

    def state_dict(self) -> dict[str, Any]:
        """Counters."""
        return {"asked": self.asked, "told": self.told, "made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.asked, self.told, self.made = int(state["asked"]), int(state["told"]), int(state["made"])
