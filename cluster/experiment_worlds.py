"""Experiments in registered worlds: PPO, and Q-learning from replay."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from interplay.cluster.experiment import Experiment
from interplay.envs import registry
from interplay.envs.core import Env, Spec, UsageError, World, whole
from interplay.envs.engine import Batch
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.meta import Repeat, Transition
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPO, PPOConfig
from interplay.learners.q_learning import QConfig, QLearner
from interplay.learners.replay import Replay, Store
from interplay.policies.hanabi_belief import OwnCards
from interplay.policies.hanabi_encoding import V0, Odds
from interplay.policies.networks import ActorCritic, Encoder, NetworkConfig
from interplay.policies.player import NetworkPlayer, Player
from interplay.policies.q_network import QNetwork, QNetworkConfig
from interplay.policies.q_player import ExploreConfig, QPlayer


@dataclass(frozen=True)
class TransitionConfig:
    """A field of the level that goes over from one value to another during training (see `learners.meta.Transition`).

    Attributes:
        field: its name.
        before, after: its values.
        over: rounds that it takes; 0 for no transition.
        start: rounds before it begins.
    """

    field: str = "bomb"
    before: float = 1
    after: float = 0
    over: int = 0
    start: int = 0


@dataclass(frozen=True)
class WorldConfig:
    """A registered world.

    Attributes:
        name: one of `interplay.envs.names()`.
        rounds: length of a game; 0 for the world's own.
        players: how many; 0 for the world's own.
        size: of a grid; 0 for the world's own.
        actions: mazes: 3 moves, or 7 as in the literature; 0 for the world's own.
        permute: Hanabi: every player sees the colours in an order of its own (Other-Play).
        sad: Hanabi: everybody also sees which move its maker thought best (simplified action decoding).
        bomb: Hanabi: what is scored when the last life is lost; "" for the world's own, nothing.
        transition: what changes during training.
    """

    name: str = "ipd"
    rounds: int = 0
    players: int = 0
    size: int = 0
    actions: int = 0
    permute: bool = False
    sad: bool = False
    bomb: str = ""
    transition: TransitionConfig = field(default_factory=TransitionConfig)

    def params(self) -> dict[str, Any]:
        """Arguments for `interplay.envs.make`: those that are given."""
        return {f.name: value for f in fields(self) if f.name not in ("name", "transition") and (value := getattr(self, f.name))}


@dataclass(frozen=True)
class WorldExperiment(Experiment):
    """What experiments in a registered world share."""

    world: WorldConfig = field(default_factory=WorldConfig)

    def env(self, tile: int) -> Env:
        """Kernel worlds."""
        run = self.run
        return registry.make(self.world.name, run.tile, run.device, self.seed, tile * run.tile, **self.params())

    def params(self) -> dict[str, Any]:
        """The world's parameters."""
        return self.world.params()

    def scored(self) -> Self:
        """What is scored when the last life is lost is the game's own, and everybody sees the colours in the same order."""
        return replace(self, world=replace(self.world, bomb="", permute=False))

    def built(self) -> World:
        """The world."""
        return registry.world(self.world.name, **self.params())

    def encoder(self, encoding: str) -> Encoder | None:
        """What networks read in place of views, if that is something else."""
        return {"v0": V0, "odds": Odds}[encoding](self.built()) if encoding != "bits" else None

    def game(self) -> tuple[Spec, int]:
        """What a policy has to know, and how many agents play."""
        env = registry.make(self.world.name, 1, **self.params())
        return env.spec, env.agents

    def meta(self) -> MetaLearner:
        """The same game for ever, or one that goes over into another."""
        t = self.world.transition
        return Transition(t.field, t.before, t.after, t.over, t.start) if t.over else Repeat(Task())

    def check(self) -> None:
        """Also that the world exists, and takes its parameters."""
        super().check()
        world, t = self.built(), self.world.transition
        if t.over < 0 or t.start < 0:
            raise UsageError(f"world.transition.over is {t.over} and start {t.start}; allowed are whole numbers from 0")
        if t.over:
            for value in (t.before, t.after):
                Batch(world, 1).pack_levels(**{t.field: value})


@dataclass(frozen=True)
class PPOExperiment(WorldExperiment):
    """Independent PPO agents in a registered world.

    Attributes:
        shared: one agent has all seats.
        central: while they learn, the critics see what all agents see (MAPPO).
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)
    shared: bool = False
    central: bool = False

    def _network(self) -> ActorCritic:
        spec, agents = self.game()
        views = agents if self.central else 1
        encode = self.encoder(self.network.encoding)
        return ActorCritic(self.network, spec, 1 if self.shared else agents, self.seed, self.run.device, views, encode)

    def player(self) -> Player:
        """The networks."""
        return NetworkPlayer(self._network(), not self.shared)

    def learner(self) -> Learner:
        """PPO."""
        return PPO(self._network(), self.ppo, self.optim, not self.shared, seed=self.seed, threads=self.run.learn_threads)

    def check(self) -> None:
        """Also that there is such a learner."""
        super().check()
        self.learner()


@dataclass(frozen=True)
class QExperiment(WorldExperiment):
    """Recurrent Q-learning from replay, one network for all seats."""

    network: QNetworkConfig = field(default_factory=QNetworkConfig)
    q: QConfig = field(default_factory=QConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)

    def _network(self) -> QNetwork:
        world = self.built()
        encode = self.encoder(self.network.encoding)
        guesses = OwnCards(world).size * 3 if self.q.auxiliary else 0
        return QNetwork(self.network, self.game()[0], 1, self.seed, self.run.device, encode, guesses)

    def player(self) -> Player:
        """Epsilon-greedy, every seat at a rate of its own."""
        return QPlayer(self._network(), self.explore, tells=self.world.sad)

    def judge(self) -> Player:
        """Greedy."""
        return QPlayer(self._network(), greedy=True)

    def learner(self) -> Learner:
        """IQL or VDN."""
        answers = OwnCards(self.built()) if self.q.auxiliary else None
        return QLearner(self._network(), self.q, self.optim, self.store(), self.run.learn_threads, answers)

    def store(self) -> Store:
        """Whole games, prioritised."""
        q = self.q
        return Replay(self.game()[0], q.capacity, q.length, q.alpha, q.beta, self.seed)

    def check(self) -> None:
        """Also that replay and network have sizes."""
        super().check()
        for name in ("n_step", "batch", "capacity", "length", "warmup", "updates", "target_every"):
            whole(f"q.{name}", getattr(self.q, name), 1, 2**31 - 1)
        if self.q.warmup > self.q.capacity:
            raise UsageError(f"q.warmup is {self.q.warmup} with q.capacity {self.q.capacity}: learning would never begin")
        if self.q.anneal < 0 or not 0 <= self.q.auxiliary < float("inf"):
            raise UsageError(f"q.anneal is {self.q.anneal} and q.auxiliary {self.q.auxiliary}; allowed are numbers from 0")
        if not 0 <= self.explore.base <= 1:
            raise UsageError(f"explore.base is {self.explore.base}; allowed are probabilities from 0 to 1")
        self.learner()
