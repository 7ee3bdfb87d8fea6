"""Teachers that keep levels by what they taught, and replay them: prioritised level replay and its kin."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from interplay.envs.core import UsageError, did_you_mean
from interplay.learners.core import Task
from interplay.learners.level_buffer import LevelBuffer
from interplay.learners.level_scores import SCORES, score
from interplay.learners.teacher import Maker, Seats, Teacher, TeacherConfig


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
