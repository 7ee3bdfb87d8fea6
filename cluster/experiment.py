"""An experiment: everything that a recipe fixes, and the four things that a run builds from it (worlds, player, learner, meta-learner).

Experiments are frozen dataclasses: their fields are the command line's flags, and `config.json` of a run.
"""

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import torch

from interplay.envs import registry
from interplay.envs.core import Env, Spec, UsageError, on_device, whole
from interplay.envs.engine import Batch
from interplay.learners.core import Learner, MetaLearner, Task
from interplay.learners.dice import DiceConfig, DiceLearner
from interplay.learners.exact import ExactConfig, ExactLearner
from interplay.learners.meta import Annealing, Repeat, Transition
from interplay.learners.metagame import MetaGame, MetaGameConfig
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPO, PPOConfig
from interplay.learners.q_learning import QConfig, QLearner
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer, Player
from interplay.policies.q_network import QNetwork, QNetworkConfig
from interplay.policies.q_player import ExploreConfig, QPlayer
from interplay.policies.tabular import MemoryOnePlayer


@dataclass(frozen=True)
class RunConfig:
    """How an experiment is run.

    Attributes:
        updates: of the learner, in all.
        tiles: groups of worlds that are acted for, moved and saved as one; results do not depend on who hosts which.
        tile: worlds in a tile.
        turns: env steps that a world plays for an update.
        env_actors: processes that host the tiles.
        staleness: how many updates older than the newest the acting policy may be; 0 is exactly on policy.
        checkpoint_every: updates from one checkpoint to the next.
        act_threads, learn_threads: threads of an env actor and of the learner; part of what makes results repeatable.
        device: where worlds, policies and learner live.
        tail: the summary's figures are means over so many last updates.
    """

    updates: int = 1000
    tiles: int = 4
    tile: int = 256
    turns: int = 128
    env_actors: int = 1
    staleness: int = 0
    checkpoint_every: int = 100
    act_threads: int = 1
    learn_threads: int = 2
    device: str = "cpu"
    tail: int = 10


@dataclass(frozen=True)
class Experiment:
    """What all experiments share. `seed` decides worlds, play, initial weights and shuffles."""

    seed: int = 0
    run: RunConfig = field(default_factory=RunConfig)

    @property
    def stages(self) -> int:
        """Rounds of play that make one update."""
        return 1

    @property
    def worlds(self) -> int:
        """Worlds in all tiles."""
        return self.run.tiles * self.run.tile

    def env(self, tile: int) -> Env:
        """The worlds of one tile."""
        raise NotImplementedError

    def player(self) -> Player:
        """Who acts in them."""
        raise NotImplementedError

    def judge(self) -> Player:
        """Who acts where it is only looked at how well: the player, unless that one explores."""
        return self.player()

    def learner(self) -> Learner:
        """Who learns."""
        raise NotImplementedError

    def meta(self) -> MetaLearner:
        """Who decides what is played."""
        return Repeat(Task())

    def metrics(self, learned: dict[str, float], outcomes: list[dict[str, float]]) -> dict[str, float]:
        """One row of metrics from what the learner says and what came of the tiles (mean over tiles)."""
        names = sorted({name for outcome in outcomes for name in outcome})
        return learned | {name: sum(o.get(name, 0.0) for o in outcomes) / len(outcomes) for name in names}

    def check(self) -> None:
        """All that is wrong with the numbers, as one `UsageError`."""
        run, wrong = self.run, []
        for name in ("updates", "tile", "turns", "env_actors", "checkpoint_every", "act_threads", "learn_threads", "tail"):
            if getattr(run, name) < 1:
                wrong.append(f"run.{name} is {getattr(run, name)}; allowed are whole numbers from 1")
        if run.staleness < 0 or run.tiles < 0:
            wrong.append(f"run.staleness is {run.staleness} and run.tiles {run.tiles}; allowed are whole numbers from 0")
        if not 0 <= self.seed < 2**32:
            wrong.append(f"seed is {self.seed}; allowed are whole numbers from 0 to {2**32 - 1}")
        if 0 < run.tiles < run.env_actors:
            wrong.append(f"run.env_actors is {run.env_actors} with run.tiles {run.tiles}; allowed is at most one actor a tile")
        wrong += [f"{name} is {value}; allowed are finite numbers above 0" for name, value in _rates(self) if not 0 < value < float("inf")]
        wrong += [f"{name} is {value}; allowed are numbers from 0 to 1" for name, value in _shares(self) if not 0 <= value <= 1]
        if wrong:
            raise UsageError("; ".join(wrong))
        on_device(run.device)


def _leaves(config: Any, path: str = "") -> list[tuple[str, Any]]:
    """All fields of a nested dataclass as (dotted name, value)."""
    found = []
    for f in fields(config):
        value, name = getattr(config, f.name), f"{path}{f.name}"
        found += _leaves(value, f"{name}.") if is_dataclass(value) else [(name, value)]
    return found


def _rates(config: Any) -> list[tuple[str, float]]:
    return [(n, v) for n, v in _leaves(config) if n.rsplit(".", 1)[-1] in ("lr", "lr_in", "lr_out", "delta")]


def _shares(config: Any) -> list[tuple[str, float]]:
    return [(n, v) for n, v in _leaves(config) if v is not None and n.rsplit(".", 1)[-1] in ("gamma", "lam")]


@dataclass(frozen=True)
class TransitionConfig:
    """A field of the level that goes over from one value to another during training (see `learners.meta.Transition`).

    Attributes:
        field: its name.
        before, after: its values.
        over: rounds that it takes; 0 for no transition.
    """

    field: str = "bomb"
    before: float = 1
    after: float = 0
    over: int = 0


@dataclass(frozen=True)
class WorldConfig:
    """A registered world.

    Attributes:
        name: one of `interplay.envs.names()`.
        rounds: length of a game; 0 for the world's own.
        players: how many; 0 for the world's own.
        permute: Hanabi: every player sees the colours in an order of its own (Other-Play).
        bomb: Hanabi: what is scored when the last life is lost; "" for the world's own, nothing.
        transition: what changes during training.
    """

    name: str = "ipd"
    rounds: int = 0
    players: int = 0
    permute: bool = False
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
        return registry.make(self.world.name, run.tile, run.device, self.seed, tile * run.tile, **self.world.params())

    def game(self) -> tuple[Spec, int]:
        """What a policy has to know, and how many agents play."""
        env = registry.make(self.world.name, 1, **self.world.params())
        return env.spec, env.agents

    def meta(self) -> MetaLearner:
        """The same game for ever, or one that goes over into another."""
        t = self.world.transition
        return Transition(t.field, t.before, t.after, t.over) if t.over else Repeat(Task())

    def check(self) -> None:
        """Also that the world exists, and takes its parameters."""
        super().check()
        world, t = registry.world(self.world.name, **self.world.params()), self.world.transition
        if t.over < 0:
            raise UsageError(f"world.transition.over is {t.over}; allowed are whole numbers from 0")
        if t.over:
            for value in (t.before, t.after):
                Batch(world, 1).pack_levels(**{t.field: value})


@dataclass(frozen=True)
class PPOExperiment(WorldExperiment):
    """Independent PPO agents (or one that all seats share) in a registered world."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)
    shared: bool = False

    def _network(self) -> ActorCritic:
        spec, agents = self.game()
        return ActorCritic(self.network, spec, 1 if self.shared else agents, self.seed, self.run.device)

    def player(self) -> Player:
        """The networks."""
        return NetworkPlayer(self._network(), not self.shared)

    def learner(self) -> Learner:
        """PPO."""
        return PPO(self._network(), self.ppo, self.optim, not self.shared, seed=self.seed, threads=self.run.learn_threads)


@dataclass(frozen=True)
class QExperiment(WorldExperiment):
    """Recurrent Q-learning from replay, one network for all seats."""

    network: QNetworkConfig = field(default_factory=QNetworkConfig)
    q: QConfig = field(default_factory=QConfig)
    explore: ExploreConfig = field(default_factory=ExploreConfig)
    optim: AdamConfig = field(default_factory=AdamConfig)

    def _network(self) -> QNetwork:
        return QNetwork(self.network, self.game()[0], 1, self.seed, self.run.device)

    def player(self) -> Player:
        """Epsilon-greedy, every seat at a rate of its own."""
        return QPlayer(self._network(), self.explore)

    def judge(self) -> Player:
        """Greedy."""
        return QPlayer(self._network(), greedy=True)

    def learner(self) -> Learner:
        """IQL or VDN."""
        return QLearner(self._network(), self.q, self.optim, self.seed, self.run.learn_threads)

    def check(self) -> None:
        """Also that replay and network have sizes."""
        super().check()
        for name in ("n_step", "batch", "capacity", "length", "warmup", "updates", "target_every"):
            whole(f"q.{name}", getattr(self.q, name), 1, 2**31 - 1)
        if self.q.warmup > self.q.capacity:
            raise UsageError(f"q.warmup is {self.q.warmup} with q.capacity {self.q.capacity}: learning would never begin")
        if not 0 <= self.explore.base <= 1:
            raise UsageError(f"explore.base is {self.explore.base}; allowed are probabilities from 0 to 1")
        self.learner()


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
        """Also that a trajectory is a whole number of meta-episodes, since tasks change between them."""
        super().check()
        if self.run.turns % self.meta_game.episode:
            raise UsageError(f"run.turns is {self.run.turns}; allowed are multiples of meta_game.episode, {self.meta_game.episode}")


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


def to_json(experiment: Experiment) -> dict[str, Any]:
    """As plain data, with the name of its class."""
    return {"kind": type(experiment).__name__, **asdict(experiment)}


def from_json(data: dict[str, Any]) -> Experiment:
    """Back from `to_json`; `UsageError` where the data do not fit."""
    kinds = {c.__name__: c for c in (PPOExperiment, QExperiment, MfosExperiment, DiceExperiment, ExactExperiment)}
    data = dict(data)
    kind = data.pop("kind", None)
    if kind not in kinds:
        raise UsageError(f"config.json: kind is {kind!r}; allowed are {', '.join(kinds)}")
    try:
        return _build(kinds[kind], data)
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"config.json does not describe a {kind}: {error}") from None


def _build(kind: Any, data: Any) -> Any:
    """A nested dataclass from nested dictionaries."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], value) for name, value in data.items()})
    if get_origin(kind) is tuple and isinstance(data, list):
        return tuple(_build(get_args(kind)[0], x) for x in data)
    return data


def threads(count: int) -> None:
    """Fix PyTorch's threads, and with them the engine's. Learners have one: they spread chunks over threads themselves."""
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
