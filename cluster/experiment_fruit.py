"""The experiment of SAMPLR (Jiang et al. 2022): one biased curriculum, for students who ground themselves in the truth and for others."""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from interplay.cluster.experiment_ued import MakerConfig, UEDExperiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.envs import fruit
from interplay.envs.core import Env, UsageError, whole
from interplay.envs.fruit_maker import FruitMaker
from interplay.learners.core import Task
from interplay.learners.level_scores import by_episode
from interplay.learners.teacher import Maker
from interplay.policies.grounded_player import GroundedPlayer
from interplay.policies.player import Player
from interplay.policies.trajectory import Trajectory


@dataclass(frozen=True)
class FruitConfig:
    """Stochastic Fruit Choice (`envs.fruit`), and who is misled.

    Attributes:
        rooms, room: their number and size.
        apple, banana: what the right fruit pays.
        chance: q, how often the apple is right in truth.
        bias: how often it is right in the levels that the curriculum draws.
        draws: worlds that SAMPLR's students imagine for a move.
    """

    rooms: int = 1
    room: int = 3
    apple: float = 3.0
    banana: float = 10.0
    chance: float = 0.7
    bias: float = 0.98
    draws: int = 4


@dataclass(frozen=True)
class FruitExperiment(UEDExperiment):
    """Students in fruit levels. The first half of them are SAMPLR's, who imagine; the others take what comes."""

    world: WorldConfig = field(default_factory=lambda: WorldConfig("fruit"))
    fruit: FruitConfig = field(default_factory=FruitConfig)
    students: int = 20

    def params(self) -> dict[str, Any]:
        """The world's parameters."""
        f = self.fruit
        return super().params() | {"rooms": f.rooms, "room": f.room, "apple": f.apple, "banana": f.banana}

    def levels(self) -> Maker:
        """A biased maker."""
        return FruitMaker(self.built(), self.fruit.bias, self.seed)

    def player(self) -> Player:
        """Whoever imagines draws the truth anew. Nothing that is seen before a fruit is eaten tells it, so what can be known is q."""
        truth = lambda env, unit: (unit >= self.fruit.chance).long()  # 0 where the apple is right
        grounded = torch.arange(self.students) < self.students // 2
        return GroundedPlayer(self._network(), self.students, self.ppo.gamma, truth, grounded, self.fruit.draws, self.ppo.scale)

    def outcome(self, task: Task, env: Env, played: Trajectory) -> dict[str, Any]:
        """Also how often what is best in truth was eaten, by both kinds of students."""
        told = super().outcome(task, env, played)
        if task.levels is None:
            return told
        earned, turns, over = by_episode(played.reward[..., 0], played.terminated)
        right = (over & (earned > 0)).sum(0)
        wrong = (over & (earned == 0) & (turns < self.built().default["rounds"])).sum(0)  # whoever ran out of time has eaten nothing
        best = torch.as_tensor(fruit.truths(self.built(), task.levels)) == fruit.optimum(
            self.fruit.chance, self.fruit.apple, self.fruit.banana
        )
        rate = torch.where(best.to(right.device), right, wrong) / (right + wrong)
        half = len(rate) // 2
        return told | {"optimal_rate/samplr": float(rate[:half].nanmean()), "optimal_rate/plr": float(rate[half:].nanmean())}

    def check(self) -> None:
        """Also that there are as many of one kind as of the other, and that nothing is asked for that only mazes have."""
        if self.built_by:
            raise UsageError(f"teacher.method is {self.teacher.method!r}, which builds mazes; allowed here are dr, plr, accel and sfl")
        for name, usual in asdict(MakerConfig()).items():
            if getattr(self.maker, name) != usual:
                told = f"maker.{name} is {getattr(self.maker, name)!r}, of which fruit levels know nothing"
                raise UsageError(f"{told}; allowed is {usual!r}, the default (see fruit.*)")
        for name in ("chance", "bias"):
            if not 0 <= getattr(self.fruit, name) <= 1:
                raise UsageError(f"fruit.{name} is {getattr(self.fruit, name)}; allowed are probabilities from 0 to 1")
        whole("fruit.draws", self.fruit.draws, 1, 2**31 - 1)
        super().check()
        if self.students % 2:
            raise UsageError(f"students is {self.students}; allowed are even numbers: one half grounds itself, the other does not")
