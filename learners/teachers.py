"""All teachers, by method (`teacher.TeacherConfig`): fresh levels, levels that are built, replayed, or swept for."""

from interplay.learners.core import Task
from interplay.learners.teacher import Maker, Teacher, TeacherConfig
from interplay.learners.teacher_replay import Replay
from interplay.learners.teacher_sweep import Learnability


class Built(Teacher):
    """Levels are always built by somebody who learns to (`policies.architect`): there is nothing to choose."""

    def choose(self, n: int) -> list[Task]:
        """Build, and learn."""
        return [Task(options={"kind": "build"})] * n


def teacher(config: TeacherConfig, maker: Maker, width: int, students: int = 1, seed: int = 0) -> Teacher:
    """The teacher of a method."""
    kinds = {"dr": Teacher, "sfl": Learnability, "paired": Built, "minimax": Built}
    return kinds.get(config.method, Replay)(config, maker, width, students, seed)
