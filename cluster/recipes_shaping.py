"""Recipes of opponent shaping."""

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_shaping import AnnealConfig, DiceExperiment, ExactExperiment, MfosExperiment
from interplay.cluster.recipe import Recipe, pair
from interplay.learners.dice import DiceConfig
from interplay.learners.exact import ExactConfig
from interplay.learners.metagame import MetaGameConfig
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPOConfig
from interplay.policies.networks import NetworkConfig


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


SHAPING: dict[str, Recipe] = {
    "ipd-nl": Recipe(
        "naive gradient learners in the iterated prisoner's dilemma, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (NL-Ex)",
        "-1.99 a step each: mutual defection",
        "5 s",
        _exact("ipd", "naive"),
        pair(-1.99),
    ),
    "ipd-lola": Recipe(
        "LOLA against LOLA in the iterated prisoner's dilemma, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (LOLA-Ex)",
        "-1.04 a step each: tit-for-tat",
        "10 s",
        _exact("ipd", "lola_shaping"),
        pair(-1.04),
    ),
    "imp-lola": Recipe(
        "LOLA against LOLA in iterated matching pennies, exact, 1000 pairs at once",
        "Foerster et al. 2018, LOLA (LOLA-Ex)",
        "0 a step, standard deviation over pairs at most 0.05: the mixed equilibrium",
        "10 s",
        _exact("imp", "lola_shaping"),
        pair(0.0),
    ),
    "chicken-lola": Recipe(
        "LOLA against LOLA in one-shot chicken, exact: mutual arrogance",
        "Lu et al. 2022, M-FOS",
        "below -50: both go straight",
        "5 s",
        _exact("chicken", "lola_full"),
        pair(-86.6),
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
        pair(-1.12),
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
        pair(-1.01),
    ),
}
