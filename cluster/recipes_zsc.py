"""Recipes of zero-shot coordination."""

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_ladder import LadderExperiment
from interplay.cluster.recipe import Recipe
from interplay.learners.exact_ladder import LadderConfig

ZSC: dict[str, Recipe] = {
    "toy-obl": Recipe(
        "Off-Belief Learning in the pet game, twenty teams from samples: no conventions (compare --ladder.method self-play)",
        "Hu et al. 2021, Off-Belief Learning (the game); the values by enumeration",
        "5.0 with itself and with strangers; self-play gets 10 with itself, 0 with strangers",
        "5 s",
        LadderExperiment(
            run=RunConfig(updates=400, tiles=0, checkpoint_every=200, tail=1),
            ladder=LadderConfig("pet", "off-belief", teams=20, level_updates=400),
        ),
        {"self_play": 5.0, "cross_play": 5.0},
    ),
    "lever-op": Recipe(
        "Other-Play in the lever game, twenty teams: all pull the lever that needs no agreement (compare --ladder.method self-play)",
        "Hu et al. 2020, Other-Play",
        "0.9 with itself and with strangers; self-play gets 1.0 with itself, 0.11 with strangers",
        "5 s",
        LadderExperiment(
            run=RunConfig(updates=200, tiles=0, checkpoint_every=200, tail=1),
            ladder=LadderConfig("lever", "other-play", teams=20),
        ),
        {"self_play": 0.9, "cross_play": 0.9},
    ),
}
