"""Experiments in environment design: a teacher chooses the levels that students learn on."""

from dataclasses import dataclass, field
from typing import Any

from interplay.cluster.experiment_worlds import WorldConfig, WorldExperiment
from interplay.envs import maze_builder
from interplay.envs.core import Env, UsageError, World, whole
from interplay.envs.engine import Batch
from interplay.envs.maze_maker import MazeMaker
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.level_scores import measure
from interplay.learners.optim import AdamConfig
from interplay.learners.paired import Paired
from interplay.learners.ppo import PPO, PPOConfig
from interplay.learners.teachers import Maker, TeacherConfig, teacher
from interplay.policies.architect import Architect, hardship, regret
from interplay.policies.grid_network import GridConfig, GridNetwork
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer, Player
from interplay.policies.trajectory import Trajectory


@dataclass(frozen=True)
class MakerConfig:
    """How levels are made.

    Attributes:
        generator: one of `envs.maze_generators.GENERATORS`.
        walls: that are placed, by generators that place them.
        edits: changes that make a child of a level.
    """

    generator: str = "clutter"
    walls: int = 60
    edits: int = 20

    def params(self) -> dict[str, Any]:
        """The generator's own."""
        return {"walls": self.walls} if self.generator in ("clutter", "uniform") else {}


@dataclass(frozen=True)
class UEDExperiment(WorldExperiment):
    """Students learn mazes by PPO; a teacher chooses them.

    Attributes:
        students: independent ones, each with a curriculum of its own, in equal shares of every tile's worlds. Where levels are built, all
            of them play the same: the first is PAIRED's protagonist, the second its antagonist; more than two are a population.
        builder, builder_ppo: who builds levels, and how that one learns.
    """

    world: WorldConfig = field(default_factory=lambda: WorldConfig("maze"))
    network: GridConfig = field(default_factory=GridConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)
    maker: MakerConfig = field(default_factory=MakerConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    students: int = 1
    builder: NetworkConfig = field(default_factory=lambda: NetworkConfig(hidden=(256, 256), activation="relu"))
    builder_ppo: PPOConfig = field(default_factory=lambda: PPOConfig(gamma=0.995, lam=0.98, epochs=5, minibatches=1, entropy=0.05))

    @property
    def groups(self) -> int:
        """A group a student."""
        return self.students

    @property
    def built_by(self) -> bool:
        """Whether levels are built by somebody who learns to."""
        return self.teacher.method in ("paired", "minimax", "repaired")

    def architect(self, tile: int) -> Architect | None:
        """The teacher of PAIRED and its kin, with a world for each level of a tile."""
        if not self.built_by:
            return None
        run, target = self.run, self.built()
        count = run.tile // self.students
        worlds = Batch(self._builders(), count, self.seed, tile * count, run.device)
        return Architect(
            worlds, NetworkPlayer(self._builder(), False), worlds.world.default["pieces"], lambda done: maze_builder.built(done, target)
        )

    def _builders(self) -> World:
        return maze_builder.world(self.built().default["side"], self.maker.walls)

    def _builder(self) -> ActorCritic:
        return ActorCritic(self.builder, Batch(self._builders(), 1).spec, 1, (self.seed + 1) % 2**32, self.run.device)

    def _network(self) -> GridNetwork:
        return GridNetwork(self.network, self.game()[0], self.students, self.seed, self.run.device)

    def player(self) -> Player:
        """The students, who say what they think of where they stand."""
        return NetworkPlayer(self._network(), False, groups=self.students)

    def learner(self) -> Learner:
        """PPO, of the teacher too where it learns to build."""
        students = PPO(self._network(), self.ppo, self.optim, False, self.students, self.seed, self.run.learn_threads)
        if not self.built_by:
            return students
        return Paired(students, PPO(self._builder(), self.builder_ppo, self.optim, False, 1, self.seed, self.run.learn_threads))

    def levels(self) -> Maker:
        """What makes levels."""
        return MazeMaker(self.built(), self.maker.generator, self.maker.edits, self.seed, **self.maker.params())

    def meta(self) -> MetaLearner:
        """The teacher."""
        return teacher(self.teacher, self.levels(), self.run.tile, self.students, self.seed)

    def exam(self) -> MetaLearner:
        """Fresh levels of the run's own kind."""
        return teacher(TeacherConfig("dr"), self.levels(), self.run.tile, self.students, self.seed)

    def outcome(self, task: Task, env: Env, played: Trajectory) -> dict[str, Any]:
        """What scores are made of, for each level; and how many levels were solved, on average."""
        if played.value is None or task.levels is None:
            return {}
        stop = played.terminated | played.truncated
        scale = self.ppo.scale
        target = None if played.target is None else played.target[..., 0]
        found = measure(played.reward[..., 0], played.value[..., 0] / scale, stop, self.ppo.gamma, self.ppo.lam, target)
        solved = {"student/solved": float(found["solved"].nanmean()), "student/return": float(found["return"].nanmean())}
        told: dict[str, Any] = {"levels": {name: x.cpu().numpy() for name, x in found.items()}} | solved
        if task.options.get("kind") == "build":
            best, mean = (found[name].unflatten(0, (self.students, -1)) for name in ("best", "return"))
            worth = (hardship if self.teacher.method == "minimax" else regret)(best, mean)
            told["built"] = {"levels": task.levels, "worth": worth.cpu().numpy()}
        return told

    def check(self) -> None:
        """Also the teacher, and whether an episode fits into a round."""
        super().check()
        whole("students", self.students, 1, 2**16)
        t, rounds = self.teacher, self.built().default["rounds"]
        if rounds > self.run.turns:
            raise UsageError(f"run.turns is {self.run.turns} with games of up to {rounds} moves; allowed are rounds that hold a whole game")
        for name in ("sweep", "tries", "keep", "period"):
            whole(f"teacher.{name}", getattr(t, name), 1, 2**31 - 1)
        for name, value in (("replay", t.replay), ("share", t.share)):
            if not 0 <= value <= 1:
                raise UsageError(f"teacher.{name} is {value}; allowed are numbers from 0 to 1")
        if t.method in ("paired", "repaired") and self.students < 2:
            raise UsageError(f"students is {self.students} with teacher.method {t.method}; allowed are 2 (protagonist, antagonist) or more")
        if t.lanes and self.built_by:
            raise UsageError(f"teacher.lanes is set with teacher.method {t.method}; allowed is it with plr and accel")
        self.meta().ask(self.run.tiles)
