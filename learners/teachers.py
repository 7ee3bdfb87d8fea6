"""Teachers: meta-learners that decide which levels students play (unsupervised environment design).

A round is of one kind for all tiles. "new": fresh levels; "replay": levels drawn from a buffer by what they taught; "edit": children of
the levels replayed last, never learned from; "sweep": fresh levels that are only looked at; "build": levels that somebody builds. The
kind, and what a round was asked for, travels in its tasks, so that rounds may be asked for before those before them have been told.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import UsageError, did_you_mean
from interplay.learners.core import Task
from interplay.learners.level_buffer import LevelBuffer
from interplay.learners.level_scores import SCORES, Score, score
from interplay.learners.priorities import BufferConfig

Method = Literal["dr", "plr", "accel", "sfl", "paired", "minimax", "repaired"]


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
        self.seconds = 0.0
        for task in tasks:
            task.options["report"] = report | self.report() | {f"teacher/{kind}": float(task.options["kind"] == kind) for kind in KINDS}
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


KINDS = ("new", "replay", "edit", "sweep", "build")


class Built(Teacher):
    """Levels are always built by somebody who learns to (`policies.architect`): there is nothing to choose."""

    def choose(self, n: int) -> list[Task]:
        """Build, and learn."""
        return [Task(options={"kind": "build"})] * n


class Replay(Teacher):
    """PLR, robust PLR, ACCEL and their parallel forms: levels that taught something come back."""

    def __init__(self, config: TeacherConfig, maker: Maker, width: int, students: int = 1, seed: int = 0) -> None:
        super().__init__(config, maker, width, students, seed)
        if config.score not in SCORES:
            raise UsageError(f"teacher.score {config.score!r} is unknown{did_you_mean(config.score, SCORES)}")
        bytes_ = maker.draw(0, 1).shape[1]
        self.buffers = [LevelBuffer(config.buffer, bytes_, (seed + 7919 * s) % 2**32) for s in range(students)]
        self.parents: Tensor | None = None  # `[tiles, width, bytes]`, replayed last and not edited yet

    def choose(self, n: int) -> list[Task]:
        """Edit what was replayed last; else replay, or look for new levels."""
        warm, learns = all(b.warm for b in self.buffers), not self.config.robust
        if self.config.lanes:
            return self.abreast(n, warm)
        if self.parents is not None:
            children = self.children(self.parents)
            self.parents = None
            return self.tasks("edit", children, learn=False)
        if warm and self.coin(self.config.replay):
            levels = self.replayed(n)
            self.parents = levels if self.config.method == "accel" else None
            return self.tasks("replay", levels, learn=True)
        if self.config.method == "repaired":
            return [Task(learn=False, options={"kind": "build"})] * n
        return self.tasks("new", self.fresh(n), learns)

    def abreast(self, n: int, warm: bool) -> list[Task]:
        """All kinds at once, a share of the tiles each; without anything to replay yet, new levels everywhere."""
        kinds = 3 if self.config.method == "accel" else 2
        if n % kinds:
            raise UsageError(f"run.tiles is {n} with teacher.lanes and {self.config.method}; allowed are multiples of {kinds}")
        if not warm:
            return self.tasks("new", self.fresh(n), learn=not self.config.robust)
        each = n // kinds
        levels = self.replayed(each)
        tasks = self.tasks("replay", levels, learn=True)
        if kinds == 3:  # of what was replayed a round ago; at first of what is replayed now
            tasks += self.tasks("edit", self.children(levels if self.parents is None else self.parents), learn=False)
            self.parents = levels
        return tasks + self.tasks("new", self.fresh(each), learn=not self.config.robust)

    def replayed(self, n: int) -> Tensor:
        """Levels from the buffers, `[tiles, width, bytes]`."""
        seats = Seats(n, self.width, self.students)
        drawn = [b.levels_at(b.sample(seats.each)) for b in self.buffers]
        return seats.spread(torch.stack([torch.as_tensor(x) for x in drawn]))

    def children(self, parents: Tensor) -> Tensor:
        """An edited copy of each."""
        first = self.made
        self.made += parents.shape[0] * parents.shape[1]
        return self.maker.edit(parents.flatten(0, 1), first).view_as(parents)

    def learn(self, kind: str, levels: Tensor, found: dict[str, Tensor]) -> None:
        """New levels and children compete for a place; what was replayed is scored again."""
        for s, buffer in enumerate(self.buffers):
            mine, rows = levels[s].numpy(), {name: x[s] for name, x in found.items()}
            known, at = np.full(len(mine), -np.inf), buffer.find(mine)
            known[at >= 0] = buffer.best_at(at[at >= 0])
            again = np.unique(mine, axis=0, return_inverse=True)[1].reshape(-1)  # a level may be there more than once
            most = np.full(len(mine), -np.inf)
            np.fmax.at(most, again, np.fmax(known, rows["best"].double().numpy()))
            marks = score(self.config.score, rows, torch.as_tensor(most[again])).double().numpy()
            if kind == "replay":
                buffer.update(mine, marks, rows["best"].double().numpy())
            else:
                buffer.older(len(mine))
                buffer.insert(mine, marks, rows["best"].double().numpy())

    def report(self) -> dict[str, float]:
        """How full the buffers are, and what is in them."""
        filled = sum(b.count for b in self.buffers) / len(self.buffers)
        scores = [float(b.scores_at(np.arange(b.count)).mean()) for b in self.buffers if b.count]
        return {"teacher/levels": filled, "teacher/score": sum(scores) / max(len(scores), 1)}

    def state_dict(self) -> dict[str, Any]:
        """Counters, buffers, and whose children are due."""
        state = super().state_dict() | {"parents": self.parents}
        return state | {f"buffer.{s}": b.state_dict() for s, b in enumerate(self.buffers)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        super().load_state_dict(state)
        self.parents = state["parents"]
        for s, buffer in enumerate(self.buffers):
            buffer.load_state_dict(state[f"buffer.{s}"])


class Learnability(Teacher):
    """Sampling for learnability: from time to time many levels are tried, and those are played that are solved about half of the time."""

    def __init__(self, config: TeacherConfig, maker: Maker, width: int, students: int = 1, seed: int = 0) -> None:
        super().__init__(config, maker, width, students, seed)
        self.kept = [torch.zeros(0) for _ in range(students)]  # levels `[keep, bytes]`
        self.batch: Tensor | None = None  # `[tiles, width, bytes]`, swept at present
        self.heard = 0  # rounds of this sweep that have been told
        self.tried = dict[str, Tensor]()  # in this sweep: `[S, levels, ...]` levels, episodes, and how many of them were solved

    @property
    def phase(self) -> int:
        """Rounds since the sweep began."""
        return (self.asked - 1) % (self.config.sweep * self.config.tries + self.config.period)

    def choose(self, n: int) -> list[Task]:
        """Sweep, then learn."""
        if self.phase < self.config.sweep * self.config.tries:
            if self.phase % self.config.tries == 0 or self.batch is None:
                self.batch = self.fresh(n)
            return self.tasks("sweep", self.batch, learn=False)
        seats = Seats(n, self.width, self.students)
        levels = seats.gather(self.fresh(n))
        count = round(seats.each * self.config.share)
        for s, kept in enumerate(self.kept):
            if len(kept):  # with staleness the first rounds after the first sweep do not know yet
                unit = streams.units(self.seed, dice.META, s * 2**20, self.asked, (1, count))[0]
                levels[s, :count] = kept[(unit * len(kept)).long()]
        return self.tasks("replay", seats.spread(levels), learn=True)

    def learn(self, kind: str, levels: Tensor, found: dict[str, Tensor]) -> None:
        """After a sweep's last round, keep the most learnable (of equals, the earlier)."""
        if kind != "sweep":
            return
        solved = (found["solved"] * found["episodes"]).nan_to_num(0.0)
        heard = {"levels": levels, "episodes": found["episodes"], "solved": solved}
        if self.heard % self.config.tries == 0:
            self.tried = {name: torch.cat([self.tried[name], x], 1) if self.heard else x for name, x in heard.items()}
        else:
            for name in ("episodes", "solved"):
                self.tried[name][:, -levels.shape[1] :] += heard[name]
        self.heard += 1
        if self.heard == self.config.sweep * self.config.tries:
            marks = score("learnability", {"solved": self.tried["solved"] / self.tried["episodes"]}, solved).nan_to_num(-1.0)
            order = torch.argsort(marks, dim=1, descending=True, stable=True)[:, : self.config.keep]
            self.kept = [self.tried["levels"][s, order[s]] for s in range(self.students)]
            self.heard, self.tried = 0, {}

    def report(self) -> dict[str, float]:
        """How many are kept."""
        return {"teacher/levels": float(len(self.kept[0]))}

    def state_dict(self) -> dict[str, Any]:
        """Counters, what is kept, what was tried."""
        tried = {name: x.clone() for name, x in self.tried.items()}
        return super().state_dict() | {"kept": list(self.kept), "tried": tried, "heard": self.heard, "batch": self.batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        super().load_state_dict(state)
        self.tried = {name: x.clone() for name, x in state["tried"].items()}
        self.kept, self.heard, self.batch = list(state["kept"]), int(state["heard"]), state["batch"]


def teacher(config: TeacherConfig, maker: Maker, width: int, students: int = 1, seed: int = 0) -> Teacher:
    """The teacher of a method."""
    kinds = {"dr": Teacher, "sfl": Learnability, "paired": Built, "minimax": Built}
    return kinds.get(config.method, Replay)(config, maker, width, students, seed)
