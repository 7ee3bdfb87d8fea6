"""Recipes in Hanabi."""

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_obl import OBLExperiment
from interplay.cluster.experiment_worlds import PPOExperiment, QExperiment, TransitionConfig, WorldConfig
from interplay.cluster.recipe import Recipe
from interplay.learners.levels import LevelsConfig
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPOConfig
from interplay.learners.q_learning import QConfig
from interplay.policies.hand_belief import BeliefConfig
from interplay.policies.networks import NetworkConfig
from interplay.policies.q_network import QNetworkConfig
from interplay.policies.q_player import ExploreConfig

HANABI: dict[str, Recipe] = {
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
    "hanabi-very-small-obl": Recipe(
        "Off-Belief Learning, two levels, in Hanabi-Very-Small (one colour, hands of two, one life)",
        "Hu et al. 2021 (OBL)",
        "level 1 plays with strangers as with itself; level 2 above it: interplay crossplay RUN@STEP...",
        "3 minutes",
        OBLExperiment(
            run=RunConfig(updates=4500, tiles=1, tile=128, turns=4, checkpoint_every=500, tail=100),
            world=WorldConfig("hanabi-very-small", bomb="minus-one"),
            network=QNetworkConfig(hidden=(64,), recurrent=64, public=True, encoding="v0"),
            q=QConfig(batch=64, capacity=8192, length=32, warmup=1000, updates=2, target_every=15, anneal=2000),
            explore=ExploreConfig(base=0.4),
            optim=AdamConfig(lr=2e-3, eps=1.5e-5, max_norm=5.0),
            levels=LevelsConfig(levels=2, policy=2000, belief=500),
            belief=BeliefConfig(hidden=(64,), recurrent=64, head=64),
            belief_optim=AdamConfig(lr=2e-3, max_norm=5.0),
        ),
    ),
}
