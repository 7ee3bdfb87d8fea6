"""Experiments in Off-Belief Learning."""

from dataclasses import dataclass, field
from typing import Any

from interplay.cluster.experiment_worlds import QExperiment
from interplay.envs.core import Env, UsageError, whole
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.levels import Levels, LevelsConfig
from interplay.learners.obl import OBLLearner
from interplay.learners.optim import AdamConfig
from interplay.learners.q_learning import QConfig
from interplay.policies.hand_belief import BeliefConfig, HandBelief
from interplay.policies.obl_player import Form, OBLPlayer
from interplay.policies.player import Player
from interplay.policies.q_network import QNetworkConfig
from interplay.policies.q_player import QPlayer
from interplay.policies.trajectory import Trajectory


@dataclass(frozen=True)
class OBLExperiment(QExperiment):
    """Off-Belief Learning, level by level, one network for all seats.

    Attributes:
        levels: when a level is done.
        belief: the network that learns what was held.
        belief_optim: how it learns.
        form: of the backup (see `policies.obl_player`).
        temperature: of the policies; 0 takes the best move.
    """

    network: QNetworkConfig = field(default_factory=lambda: QNetworkConfig(public=True, encoding="v0"))
    levels: LevelsConfig = field(default_factory=LevelsConfig)
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    belief_optim: AdamConfig = field(default_factory=lambda: AdamConfig(max_norm=5.0))
    form: Form = "step"
    temperature: float = 0.0

    def _belief(self) -> HandBelief:
        return HandBelief(self.belief, self.built(), self.game()[0], self.seed, self.run.device)

    def outcome(self, task: Task, env: Env, played: Trajectory) -> dict[str, Any]:
        """What a game was worth in the level that is trained."""
        return {"stage": float(task.options.get("stage", 0)), "score": played.score()}

    def player(self) -> Player:
        """Epsilon-greedy, with fictions."""
        return OBLPlayer(self._network(), self.explore, self.q.gamma, self.form, self._belief(), temperature=self.temperature)

    def judge(self) -> Player:
        """Without exploration and fictions."""
        return QPlayer(self._network(), greedy=True, temperature=self.temperature)

    def learner(self) -> Learner:
        """Policies and beliefs in turn."""
        network, belief = self._network(), self._belief()
        return OBLLearner(network, belief, self.q, self.optim, self.belief_optim, self.store(), self.run.learn_threads)

    def meta(self) -> MetaLearner:
        """Level after level."""
        return Levels(self.levels)

    def check(self) -> None:
        """Also that memory is public, and that colours are in one order."""
        super().check()
        for name in ("levels", "policy", "belief"):
            whole(f"levels.{name}", getattr(self.levels, name), 1, 2**31 - 1)
        whole("levels.window", self.levels.window, 0, 2**31 - 1)
        if not 0 <= self.temperature < float("inf"):
            raise UsageError(f"temperature is {self.temperature}; allowed are numbers from 0")
        if (self.q.method, self.q.n_step) != (QConfig.method, QConfig.n_step):
            raise UsageError("q.method and q.n_step have no effect here: targets are those that players imagine; leave them alone")
        if not self.network.public or self.world.permute or self.world.sad or self.world.transition.over or self.q.auxiliary:
            raise UsageError(
                "Off-Belief Learning needs network.public (a memory of private things is not true of another hand), and goes neither with "
                "world.permute, world.sad and world.transition nor with q.auxiliary"
            )
