"""The recipes: named experiments, each with its paper, what it should reach, and what it costs."""

from dataclasses import dataclass, field

from interplay.cluster.experiment import (
    AnnealConfig,
    DiceExperiment,
    ExactExperiment,
    Experiment,
    MfosExperiment,
    PPOExperiment,
    QExperiment,
    RunConfig,
    TransitionConfig,
    WorldConfig,
)
from interplay.envs.core import UsageError, did_you_mean
from interplay.learners.dice import DiceConfig
from interplay.learners.exact import ExactConfig
from interplay.learners.metagame import MetaGameConfig
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPOConfig
from interplay.learners.q_learning import QConfig
from interplay.policies.networks import NetworkConfig
from interplay.policies.q_network import QNetworkConfig
from interplay.policies.q_player import ExploreConfig


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    Attributes:
        title: one line.
        paper: who proposed it.
        expects: what it reaches.
        cost: on two CPU cores.
        experiment: what is run.
        reference: published or measured figures to put beside the run's.
    """

    title: str
    paper: str
    expects: str
    cost: str
    experiment: Experiment
    reference: dict[str, float] = field(default_factory=dict)


def _pair(value: float) -> dict[str, float]:
    return {"reward_per_step/player_0": value, "reward_per_step/player_1": value}


def _exact(game: str, rule: str) -> ExactExperiment:
    run = RunConfig(updates=200, tiles=0, checkpoint_every=200, tail=1)
    return ExactExperiment(run=run, exact=ExactConfig(game=game, players=(rule, rule)))


def _mfos(**changes: object) -> MfosExperiment:
    defaults: dict[str, object] = {
        "run": RunConfig(updates=700, tiles=2, tile=256, turns=100, checkpoint_every=100),
        "network": NetworkConfig(hidden=(64,)),
        "ppo": PPOConfig(gamma=0.99, lam=0.95, epochs=2, minibatches=8, entropy=0.0, scale=0.01),
        "optim": AdamConfig(lr=1e-3),
    }
    return MfosExperiment(**(defaults | changes))  # type: ignore[arg-type]


RECIPES: dict[str, Recipe] = {
    "ipd-nl": Recipe(
        "naive gradient learners in the iterated prisoner's dilemma, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (NL-Ex)",
        "-1.99 a step each: mutual defection",
        "5 s",
        _exact("ipd", "naive"),
        _pair(-1.99),
    ),
    "ipd-lola": Recipe(
        "LOLA against LOLA in the iterated prisoner's dilemma, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (LOLA-Ex)",
        "-1.04 a step each: tit-for-tat",
        "10 s",
        _exact("ipd", "lola_shaping"),
        _pair(-1.04),
    ),
    "imp-lola": Recipe(
        "LOLA against LOLA in iterated matching pennies, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (LOLA-Ex)",
        "0 a step, standard deviation over pairs at most 0.05: the mixed equilibrium",
        "10 s",
        _exact("imp", "lola_shaping"),
        _pair(0.0),
    ),
    "chicken-lola": Recipe(
        "LOLA against LOLA in one-shot chicken, exact: mutual arrogance",
        "Lu et al. 2022, M-FOS",
        "below -50: both go straight",
        "5 s",
        _exact("chicken", "lola_full"),
        _pair(-86.6),
    ),
    "ipd-dice": Recipe(
        "LOLA-DiCE from streamed rounds: 20 pairs of memory-one players, look-ahead 2",
        "Foerster et al. 2018, DiCE",
        "-1.12 a step each (look-ahead 1: -1.18, 3: -1.11, without the magic box -1.99)",
        "3 minutes",
        DiceExperiment(
            run=RunConfig(updates=200, tiles=20, tile=128, turns=150, checkpoint_every=50, learn_threads=1, tail=20),
            dice=DiceConfig(seeds=20, lookahead=2),
        ),
        _pair(-1.12),
    ),
    "ipd-mfos": Recipe(
        "M-FOS shapes a naive learner in the iterated prisoner's dilemma (closed-form inner games)",
        "Lu et al. 2022, M-FOS",
        "shaper above -0.58 a step over whole meta-episodes (tit-for-tat gets -1.01, the best static memory-one strategy found -0.64)",
        "3 minutes",
        _mfos(),
        {"reward_per_step/shaper": -0.51, "reward_per_step/naive": -2.14},
    ),
    "ipd-mfos-sampled": Recipe(
        "M-FOS against a naive learner whose games and gradients are sampled round by round",
        "Lu et al. 2022, M-FOS",
        "shaper above tit-for-tat's -1.01 a step",
        "10 minutes",
        _mfos(
            run=RunConfig(updates=200, tiles=1, tile=64, turns=100, checkpoint_every=50),
            meta_game=MetaGameConfig(samples=16, rounds=50),
        ),
        {"reward_per_step/shaper": -0.51},
    ),
    "ipd-mfos-self": Recipe(
        "M-FOS meta-self-play: two shapers, at first against naive learners, then more and more against each other",
        "Lu et al. 2022, M-FOS",
        "both shapers at or above -1.1 a step against each other",
        "5 minutes",
        _mfos(anneal=AnnealConfig(rate=0.005)),
        _pair(-1.01),
    ),
    "coin-ppo": Recipe(
        "independent PPO agents in the Coin Game: everybody takes every coin",
        "Lerer & Peysakhovich 2017 (game), Schulman et al. 2017 (PPO)",
        "near 0 a step each: what one takes the other pays for",
        "5 minutes",
        PPOExperiment(
            run=RunConfig(updates=300, tiles=4, tile=256, turns=64, checkpoint_every=100),
            world=WorldConfig("coin"),
            ppo=PPOConfig(gamma=0.96),
        ),
        _pair(0.0),
    ),
    "lever-ppo": Recipe(
        "independent PPO agents pull one of ten levers: self-play picks one of the nine that pay 1.0",
        "Hu et al. 2020, Other-Play (the game)",
        "1.0 a pull with the partner it grew up with",
        "10 s",
        PPOExperiment(
            run=RunConfig(updates=60, tiles=1, tile=256, turns=8, checkpoint_every=60),
            world=WorldConfig("lever"),
            optim=AdamConfig(lr=5e-3),
        ),
        _pair(1.0),
    ),
    "hanabi-ippo": Recipe(
        "one PPO agent for both seats of Hanabi, the full game",
        "de Witt et al. 2020 (IPPO); Bard et al. 2020 (the game)",
        "a rising curve on two cores; published (1e10 steps): 24.2",
        "30 minutes",
        PPOExperiment(
            run=RunConfig(updates=400, tiles=4, tile=256, turns=64, checkpoint_every=50),
            world=WorldConfig("hanabi", transition=TransitionConfig("bomb", 1, 0, 300)),
            network=NetworkConfig(hidden=(256, 256), activation="relu"),
            ppo=PPOConfig(gamma=0.999, lam=0.95, epochs=2, minibatches=8, entropy=0.01),
            optim=AdamConfig(lr=7e-4),
            shared=True,
        ),
        {"reward_per_game/player_0": 24.2},
    ),
    "hanabi-ippo-small": Recipe(
        "one PPO agent for both seats of Hanabi-Very-Small (one colour, hands of two, one life)",
        "de Witt et al. 2020 (IPPO); Bard et al. 2020 (the game)",
        "about 4 of 5 points with itself",
        "8 minutes",
        PPOExperiment(
            run=RunConfig(updates=600, tiles=2, tile=256, turns=64, checkpoint_every=100),
            world=WorldConfig("hanabi-very-small", transition=TransitionConfig("bomb", 1, 0, 300)),
            network=NetworkConfig(hidden=(128, 128), activation="relu"),
            ppo=PPOConfig(gamma=0.999, lam=0.95, epochs=3, entropy=0.02, anneal=600),
            optim=AdamConfig(lr=1e-3),
            shared=True,
        ),
    ),
    "hanabi-vdn-small": Recipe(
        "value decomposition (VDN) with recurrent replay in Hanabi-Very-Small (one colour, hands of two, one life)",
        "Sunehag et al. 2018 (VDN); Hu & Foerster 2020 (the recurrent recipe)",
        "about 4.4 of 5 points with itself, greedy: interplay crossplay RUN",
        "10 minutes",
        QExperiment(
            run=RunConfig(updates=12_000, tiles=1, tile=128, turns=4, checkpoint_every=2000, tail=1000),
            world=WorldConfig("hanabi-very-small", bomb="minus-one"),
            network=QNetworkConfig(hidden=(128,), recurrent=128),
            q=QConfig(batch=64, capacity=8192, length=32, warmup=1000, updates=2, target_every=15),
            explore=ExploreConfig(base=0.4),
            optim=AdamConfig(lr=2e-3, eps=1.5e-5, max_norm=5.0),
        ),
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe of that name; `UsageError` with the nearest one otherwise."""
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r} is unknown{did_you_mean(name, RECIPES)}")
    return RECIPES[name]
