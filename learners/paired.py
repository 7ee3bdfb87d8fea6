"""PAIRED and its kin (Dennis et al. 2020): students who learn to play, and a teacher who learns to build what they learn on."""

from torch import Tensor

from interplay.learners.ppo import PPO
from interplay.policies.architect import BUILT
from interplay.policies.trajectory import Trajectory


class Paired:
    """Two PPOs. A trajectory is the students', with the teacher's in it (`Trajectory.teacher`); or the teacher's alone.

    Args:
        students: a member a student.
        teacher: one member, feed-forward.
    """

    def __init__(self, students: PPO, teacher: PPO) -> None:
        self.students, self.teacher = students, teacher

    def policy(self) -> dict[str, Tensor]:
        """Both one's weights."""
        return self.students.policy() | {f"teacher.{name}": x for name, x in self.teacher.policy().items()}

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """Whoever has played learns."""
        assert trajectory is not None
        alone = trajectory.stage == BUILT
        built = trajectory if alone else trajectory.teacher
        metrics = {} if alone else self.students.update(trajectory)
        if built is not None:
            learned = self.teacher.update(built)
            metrics |= {name.replace("ppo/", "builder/"): x for name, x in learned.items() if name.startswith("ppo/")}
            metrics["builder/worth"] = float(built.reward[-1].mean())
        return metrics

    def state_dict(self) -> dict[str, Tensor]:
        """Both one's."""
        return self.students.state_dict() | {f"teacher.{name}": x for name, x in self.teacher.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on."""
        mine = {name.removeprefix("teacher."): x for name, x in state.items() if name.startswith("teacher.")}
        self.teacher.load_state_dict(mine)
        self.students.load_state_dict({name: x for name, x in state.items() if not name.startswith("teacher.")})
