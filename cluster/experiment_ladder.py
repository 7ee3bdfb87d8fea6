"""Zero-shot coordination in games small enough to be solved: nothing is played, returns are computed."""

from dataclasses import dataclass, field

from interplay.cluster.experiment import Experiment
from interplay.envs.core import UsageError
from interplay.learners.core import Learner
from interplay.learners.exact_ladder import LadderConfig, LadderLearner


@dataclass(frozen=True)
class LadderExperiment(Experiment):
    """Teams that train alone, and strangers among them."""

    ladder: LadderConfig = field(default_factory=LadderConfig)

    def learner(self) -> Learner:
        """Self-play, Other-Play or Off-Belief Learning."""
        return LadderLearner(self.ladder, self.seed)

    def check(self) -> None:
        """Also that game, method and numbers are possible, and that no tiles are asked for, since none would be played."""
        super().check()
        if self.run.tiles:
            raise UsageError(f"run.tiles is {self.run.tiles}; allowed here is 0: nothing is played")
        self.learner()
