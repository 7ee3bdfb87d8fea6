"""The ladder of zero-shot coordination: teams that train alone in games small enough to be solved, and what strangers among them get.

A population of teams learns side by side by one method. `self_play` is the mean return of a team with itself, `cross_play`
that of the first player of one team with the second of another; both are computed, not sampled.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from interplay.envs.core import UsageError, did_you_mean, whole
from interplay.envs.hanabi_tree import HanabiTree
from interplay.envs.levers import Levers, two_stage
from interplay.envs.petgame import PetGame
from interplay.envs.symmetry import group
from interplay.envs.tiny_hanabi import TinyHanabi
from interplay.envs.tree import Floats, grow
from interplay.learners.exact_op import Equivariant, choose, conventions
from interplay.learners.exact_zsc import cross_play, mean_pair, value
from interplay.learners.tabular_obl import TabularConfig, TabularOBL
from interplay.policies.trajectory import Trajectory

Playable = PetGame | TinyHanabi | Levers | HanabiTree

GAMES: dict[str, Callable[[], Playable]] = {
    "pet": PetGame,
    "tiny-hanabi": TinyHanabi,
    "lever": Levers,
    "two-stage-lever": two_stage,
    "hanabi-1-2-2-1-1": partial(HanabiTree, 1, 2, 2, 1, 1),  # colours, ranks, hand, information, lives
    "hanabi-1-3-1-1-1": partial(HanabiTree, 1, 3, 1, 1, 1),
    "hanabi-2-1-1-1-1": partial(HanabiTree, 2, 1, 1, 1, 1),
}
METHODS = ("self-play", "other-play", "off-belief")


@dataclass(frozen=True)
class ClimbConfig:
    """Self-play and Other-Play: gradient ascent on exact returns.

    Attributes:
        rate: η of the natural gradient.
        spread: standard deviation of the logits at the start.
        symmetry: which of the game's renamings Other-Play is told of ("all", or as the game names them).
        candidates: policies that each team trains, to choose one by a mark that does not depend on names (Treutlein et al. 2021).
    """

    rate: float = 1.0
    spread: float = 0.5
    symmetry: str = "all"
    candidates: int = 1


@dataclass(frozen=True)
class LadderConfig:
    """Who learns what, and how.

    Attributes:
        game: one of `GAMES`.
        method: "self-play", "other-play" or "off-belief".
        teams: how many learn, independently of each other.
        levels: of Off-Belief Learning.
        level_updates: from one level to the next.
        climb: of self-play and Other-Play.
        table: of Off-Belief Learning.
    """

    game: str = "pet"
    method: str = "off-belief"
    teams: int = 10
    levels: int = 1
    level_updates: int = 200
    climb: ClimbConfig = field(default_factory=ClimbConfig)
    table: TabularConfig = field(default_factory=TabularConfig)


class LadderLearner:
    """A population that learns by Off-Belief Learning from samples, or by exact gradients. It needs no trajectories.

    Args:
        config: who learns what, and how.
        seed: decides first policies and draws; team t's depend on (seed, t) alone.
    """

    def __init__(self, config: LadderConfig, seed: int = 0) -> None:
        check(config)
        game = GAMES[config.game]()
        self.config, self.tree, self.updates = config, grow(game), 0
        if config.method == "off-belief":
            self.table = TabularOBL(self.tree, config.table, seed, config.teams)
            return
        names, known = "none" if config.method == "self-play" else config.climb.symmetry, game.symmetries()
        if names not in known:
            raise UsageError(f"climb.symmetry {names!r} is unknown in {config.game}{did_you_mean(names, known)}")
        self.places = group(self.tree, known[names])
        self.space = Equivariant(self.tree, self.places)
        size = (config.climb.candidates, self.space.count)
        self.logits = np.concatenate([np.random.default_rng((seed, t)).normal(0, config.climb.spread, size) for t in range(config.teams)])

    def policies(self) -> Floats:
        """What each team plays, `[teams, I, A]`."""
        if self.config.method == "off-belief":
            return np.exp(self.table.log_policy())
        every, k = self.space.policy(self.logits), self.config.climb.candidates
        if k == 1:
            return every
        worth, mark = value(self.tree, every), conventions(self.tree, every, self.places)
        return every[[t * k + choose(worth[t * k : (t + 1) * k], mark[t * k : (t + 1) * k]) for t in range(self.config.teams)]]

    def update(self, trajectory: Trajectory | None = None) -> dict[str, float]:
        """One step of all teams; the metrics are of the policies after it."""
        metrics: dict[str, float] = {}
        if self.config.method == "off-belief":
            if self.updates and self.updates % self.config.level_updates == 0 and self.table.level < self.config.levels:
                self.table.ascend(self.table.log_policy())
            metrics = {"loss/td_error": self.table.update(), "obl/level": float(self.table.level)}
        else:
            self.logits = self.space.climb(self.logits, self.config.climb.rate)
        self.updates += 1
        alone, met = mean_pair(cross_play(self.tree, self.policies()))
        return metrics | {"self_play": alone, "cross_play": met}

    def policy(self) -> dict[str, Tensor]:
        """`{"policies": [teams, I, A]}`, probabilities of moves by information state."""
        return {"policies": torch.from_numpy(self.policies())}

    def state_dict(self) -> dict[str, Tensor]:
        """Tables or logits, and how far they have come."""
        if self.config.method != "off-belief":
            return {"logits": torch.tensor(self.logits), "updates": torch.tensor(self.updates)}
        t = self.table
        arrays = {"q": t.q, "target": t.target, "visits": t.visits, "past": t.past}
        counts = {"level": t.level, "updates": self.updates}
        return {name: torch.tensor(x) for name, x in (arrays | counts).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.updates = int(state["updates"])
        if self.config.method != "off-belief":
            self.logits = state["logits"].numpy().copy()
            return
        t = self.table
        t.level = int(state["level"]) - 1
        t.ascend(state["past"].numpy().copy())
        t.q, t.target, t.visits = (state[name].numpy().copy() for name in ("q", "target", "visits"))
        t.updates = self.updates


def check(config: LadderConfig) -> None:
    """`UsageError` where something cannot be."""
    climb, table = config.climb, config.table
    for name, word, known in (("game", config.game, GAMES), ("method", config.method, METHODS)):
        if word not in known:
            raise UsageError(f"{name} {word!r} is unknown{did_you_mean(word, known)}")
    whole("teams", config.teams, 2, 10_000)
    for name, number in (
        ("levels", config.levels),
        ("level_updates", config.level_updates),
        ("climb.candidates", climb.candidates),
        ("table.games", table.games),
        ("table.sync", table.sync),
    ):
        whole(name, number, 1, 1_000_000)
    for name, number in (("climb.rate", climb.rate), ("climb.spread", climb.spread), ("table.temperature", table.temperature)):
        if not 0 < number < float("inf"):
            raise UsageError(f"{name} is {number}; allowed are finite numbers above 0")
    if not 0 <= table.explore <= 1 or not 0.5 < table.power <= 1:
        raise UsageError(
            f"table.explore is {table.explore} and table.power {table.power}; allowed are numbers from 0 to 1, and numbers above 0.5 to 1"
        )
