"""Recipes in small worlds."""

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_worlds import PPOExperiment, WorldConfig
from interplay.cluster.recipe import Recipe, pair
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPOConfig

WORLDS: dict[str, Recipe] = {
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
        pair(0.0),
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
        pair(1.0),
    ),
}
