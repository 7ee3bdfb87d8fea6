"""The teacher that sweeps: it looks at many levels from time to time, and keeps those that students can learn most from."""

from typing import Any

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.learners.core import Task
from interplay.learners.level_scores import score
from interplay.learners.teacher import Maker, Seats, Teacher, TeacherConfig


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
