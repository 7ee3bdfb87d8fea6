"""Experiments in opponent shaping: M-FOS, LOLA-DiCE, and gradient play on closed forms."""

from dataclasses import dataclass, field

from interplay.cluster.experiment import Experiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.envs import registry
from interplay.envs.core import Env, UsageError
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.dice import DiceConfig, DiceLearner
from interplay.learners.exact import ExactConfig, ExactLearner
from interplay.learners.meta import Annealing, Repeat
from interplay.learners.metagame import MetaGame, MetaGameConfig
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPO, PPOConfig
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer, Player
from interplay.policies.tabular import MemoryOnePlayer


@dataclass(frozen=True)
class AnnealConfig:
    """Meta-self-play: how fast shapers come to meet each other instead of learners of their own (Lu et al. 2022).

    Attributes:
        rate: the probability of playing against naive learners falls by this much every meta-episode; 0 turns self-play off.
    """

    rate: float = 0.0


@dataclass(frozen=True)
class MfosExperiment(Experiment):
    """M-FOS: PPO in the meta-game."""

    meta_game: MetaGameConfig = field(default_factory=MetaGameConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)
    anneal: AnnealConfig = field(default_factory=AnnealConfig)

    @property
    def shapers(self) -> int:
        """Two in meta-self-play, else one."""
        return 2 if self.anneal.rate else 1

    def env(self, tile: int) -> Env:
        """Meta-games."""
        return MetaGame(self.meta_game, self.run.tile, self.shapers, self.seed, tile * self.run.tile, self.run.device)

    def _network(self) -> ActorCritic:
        return ActorCritic(self.network, MetaGame.spec, self.shapers, self.seed, self.run.device)

    def player(self) -> Player:
        """The shapers."""
        return NetworkPlayer(self._network(), True)

    def learner(self) -> Learner:
        """PPO over meta-steps."""
        return PPO(self._network(), self.ppo, self.optim, True, seed=self.seed, threads=self.run.learn_threads)

    def meta(self) -> MetaLearner:
        """Who meets whom."""
        return Annealing(self.anneal.rate, self.seed) if self.anneal.rate else Repeat(Task())

    def metrics(self, learned: dict[str, float], outcomes: list[dict[str, float]]) -> dict[str, float]:
        """A lone shaper is called `shaper`, and what it shapes by its kind."""
        row = super().metrics(learned, outcomes)
        if self.shapers == 1:
            row["reward_per_step/shaper"] = row.pop("reward_per_step/player_0")
            row[f"reward_per_step/{self.meta_game.opponent}"] = row.pop("reward_per_step/learner")
        return row

    def check(self) -> None:
        """Also that a trajectory is a whole number of meta-episodes, since tasks change between them; and that there is such a learner."""
        super().check()
        if self.run.turns % self.meta_game.episode:
            raise UsageError(f"run.turns is {self.run.turns}; allowed are multiples of meta_game.episode, {self.meta_game.episode}")
        self.learner()


@dataclass(frozen=True)
class DiceExperiment(Experiment):
    """LOLA-DiCE from streamed rounds. A tile holds one seed: both players' look-aheads."""

    dice: DiceConfig = field(default_factory=DiceConfig)
    world: WorldConfig = field(default_factory=WorldConfig)

    @property
    def stages(self) -> int:
        """The look-aheads and the update."""
        return self.dice.lookahead + 1

    def env(self, tile: int) -> Env:
        """Kernel worlds, each round a fresh game."""
        run = self.run
        return registry.make(self.world.name, run.tile, run.device, self.seed, tile * run.tile, rounds=run.turns)

    def player(self) -> Player:
        """Memory-one tables."""
        return MemoryOnePlayer(self.dice.batch)

    def learner(self) -> Learner:
        """LOLA-DiCE."""
        return DiceLearner(self.dice, self.seed)

    def check(self) -> None:
        """Also that tiles and batches fit."""
        super().check()
        if (self.run.tiles, self.run.tile) != (self.dice.seeds, 2 * self.dice.batch):
            raise UsageError(
                f"run.tiles and run.tile are {self.run.tiles} and {self.run.tile}; allowed here are dice.seeds and twice dice.batch, "
                f"{self.dice.seeds} and {2 * self.dice.batch}"
            )


@dataclass(frozen=True)
class ExactExperiment(Experiment):
    """Gradient play on closed-form values: nothing is sampled."""

    exact: ExactConfig = field(default_factory=ExactConfig)

    def learner(self) -> Learner:
        """Naive or LOLA, exact."""
        return ExactLearner(self.exact, self.seed)

    def check(self) -> None:
        """Also that the game and the players exist."""
        super().check()
        self.learner()
