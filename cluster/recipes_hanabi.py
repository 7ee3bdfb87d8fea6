"""Recipes in Hanabi: the full game, at the published sizes, and small variants (`-small`) that learn on two cores in minutes."""

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

SAD = "Hu & Foerster 2020 (SAD, and the recurrent recipe)"
IPPO = "de Witt et al. 2020 (IPPO); Bard et al. 2020 (the game)"
POINTS = "reward_per_game/player_0"


def _ppo(entropy: float = 0.02, calm: int = 1000, central: bool = False) -> PPOExperiment:
    """PPO for both seats of the full game. At first the last life costs nothing but the rest of the game, so that play is learned."""
    return PPOExperiment(
        run=RunConfig(updates=1000, tiles=4, tile=256, turns=32, checkpoint_every=50),
        world=WorldConfig("hanabi", transition=TransitionConfig("bomb", 1, 0, start=250, over=250)),
        network=NetworkConfig(hidden=(256, 128), activation="relu", encoding="odds"),
        ppo=PPOConfig(gamma=0.999, lam=0.9, epochs=2, minibatches=8, entropy=entropy, anneal=1000, calm=calm),
        optim=AdamConfig(lr=3e-3),
        shared=True,
        central=central,
    )


def _ppo_small(world: str, updates: int, central: bool = False) -> PPOExperiment:
    """The same in a small variant."""
    part = updates // 6
    return PPOExperiment(
        run=RunConfig(updates=updates, tiles=1, tile=1024, turns=32, checkpoint_every=100),
        world=WorldConfig(world, transition=TransitionConfig("bomb", 1, 0, start=part, over=part)),
        network=NetworkConfig(hidden=(256, 128), activation="relu", encoding="odds"),
        ppo=PPOConfig(gamma=0.999, lam=0.9, epochs=2, minibatches=8, entropy=0.06, anneal=updates, calm=3 * part),
        optim=AdamConfig(lr=4e-3),
        shared=True,
        central=central,
    )


def _q(world: WorldConfig, auxiliary: float = 0.0) -> QExperiment:
    """Recurrent Q-learning at the sizes of Hu & Foerster 2020."""
    return QExperiment(
        run=RunConfig(updates=400_000, tiles=8, tile=160, turns=4, checkpoint_every=5000, tail=1000),
        world=world,
        network=QNetworkConfig(hidden=(512,), recurrent=512),
        q=QConfig(batch=128, capacity=2**17, warmup=10_000, updates=4, target_every=2500, auxiliary=auxiliary),
        explore=ExploreConfig(),
        optim=AdamConfig(lr=6.25e-5, eps=1.5e-5, max_norm=5.0),
    )


def _q_small(world: WorldConfig, updates: int = 4000, length: int = 32, base: float = 0.4) -> QExperiment:
    """The same in a small variant, by the odds of the cards: more exploration, larger steps."""
    return QExperiment(
        run=RunConfig(updates=updates, tiles=1, tile=128, turns=4, checkpoint_every=1000, tail=1000),
        world=world,
        network=QNetworkConfig(hidden=(128,), recurrent=128, encoding="odds"),
        q=QConfig(batch=64, capacity=8192, length=length, warmup=1000, updates=2, target_every=15, anneal=updates),
        explore=ExploreConfig(base=base),
        optim=AdamConfig(lr=2e-3, eps=1.5e-5, max_norm=5.0),
    )


def _obl(world: str, levels: LevelsConfig, base: float = 0.4, temperature: float = 0.0) -> OBLExperiment:
    """Off-Belief Learning in a small variant. Targets are made as games are played: a small replay keeps them fresh."""
    rounds = levels.levels * levels.policy + (levels.levels - 1) * levels.belief
    return OBLExperiment(
        run=RunConfig(updates=rounds, tiles=1, tile=128, turns=4, checkpoint_every=500, tail=100),
        world=WorldConfig(world, bomb="minus-one"),
        network=QNetworkConfig(hidden=(64,), recurrent=64, public=True, encoding="v0"),
        q=QConfig(batch=32, capacity=1024, length=40, warmup=1000, updates=4, target_every=15, anneal=levels.policy),
        explore=ExploreConfig(base=base),
        optim=AdamConfig(lr=2e-3, eps=1.5e-5, max_norm=5.0),
        levels=levels,
        belief=BeliefConfig(hidden=(64,), recurrent=64, head=64),
        belief_optim=AdamConfig(lr=2e-3, max_norm=5.0),
        temperature=temperature,
    )


def _obl_full() -> OBLExperiment:
    """The published sizes: 5.4 million weights of the policy, about 7 of the belief."""
    levels = LevelsConfig(levels=4, policy=100_000, belief=15_000)
    return OBLExperiment(
        run=RunConfig(updates=4 * levels.policy + 3 * levels.belief, tiles=8, tile=800, turns=4, checkpoint_every=5000, tail=1000),
        world=WorldConfig("hanabi"),
        network=QNetworkConfig(hidden=(512, 512), recurrent=512, public=True, encoding="v0"),
        q=QConfig(batch=128, capacity=100_000, warmup=10_000, updates=10, target_every=2500),
        explore=ExploreConfig(),
        optim=AdamConfig(lr=6.25e-5, eps=1.5e-5, max_norm=5.0),
        levels=levels,
        belief=BeliefConfig(hidden=(512, 512), recurrent=512, head=512),
        belief_optim=AdamConfig(lr=2.5e-4, eps=1.5e-5, max_norm=5.0),
    )


VERY_SMALL = WorldConfig("hanabi-very-small", bomb="minus-one")
HANABI: dict[str, Recipe] = {
    "hanabi-ippo": Recipe(
        "one PPO agent for both seats of Hanabi, the full game",
        IPPO,
        "22 points on two cores, 20 after four minutes (while a lost game keeps its score); published (1e10 steps): 24.2",
        "25 minutes",
        _ppo(),
        {POINTS: 24.2},
    ),
    "hanabi-ippo-entropy": Recipe(
        "PPO in Hanabi with much entropy and short traces, whose seeds are said to play well together",
        "Forkel & Foerster 2025",
        "published (1e10 steps, recurrent): 24.5 with itself and with other seeds",
        "30 minutes",
        _ppo(entropy=0.05, calm=0),
        {POINTS: 24.5},
    ),
    "hanabi-mappo": Recipe(
        "PPO in Hanabi with a critic that sees both hands",
        "Yu et al. 2022 (MAPPO)",
        "published (1e10 steps): 24.0",
        "40 minutes",
        _ppo(central=True),
        {POINTS: 24.0},
    ),
    "hanabi-ippo-small": Recipe(
        "one PPO agent for both seats of Hanabi-Small (two colours, hands of two, one life)",
        IPPO,
        "8 of 10 points with itself, 7.2 with other seeds: interplay crossplay RUN...",
        "15 minutes",
        _ppo_small("hanabi-small", updates=1560),
    ),
    "hanabi-very-small-ippo": Recipe(
        "one PPO agent for both seats of Hanabi-Very-Small (one colour, hands of two, one life)",
        IPPO,
        "4.7 of 5 points with itself, 3.1 with other seeds: interplay crossplay RUN...",
        "5 minutes",
        _ppo_small("hanabi-very-small", updates=540),
    ),
    "hanabi-mappo-small": Recipe(
        "PPO in Hanabi-Small with a critic that sees both hands",
        "Yu et al. 2022 (MAPPO)",
        "",
        "20 minutes",
        _ppo_small("hanabi-small", updates=1560, central=True),
    ),
    "hanabi-vdn": Recipe(
        "value decomposition (VDN) with recurrent replay in Hanabi",
        "Sunehag et al. 2018 (VDN); " + SAD,
        "published: about 24 with itself, 2 to 5 with strangers; days on two cores",
        "days; meant for a GPU",
        _q(WorldConfig("hanabi")),
        {POINTS: 24.0},
    ),
    "hanabi-sad": Recipe(
        "simplified action decoding: VDN whose players see which move their partner thought best",
        SAD,
        "published: 24.0 with itself, 2.5 with strangers; days on two cores",
        "days; meant for a GPU",
        _q(WorldConfig("hanabi", sad=True)),
        {POINTS: 23.97},
    ),
    "hanabi-op": Recipe(
        "Other-Play: SAD in which every player sees the colours in another order, with the auxiliary task",
        "Hu et al. 2020 (Other-Play)",
        "published: 24.1 with itself, 22.1 with strangers; days on two cores",
        "days; meant for a GPU",
        _q(WorldConfig("hanabi", sad=True, permute=True), auxiliary=0.25),
        {POINTS: 24.06},
    ),
    "hanabi-vdn-small": Recipe(
        "value decomposition (VDN) with recurrent replay in Hanabi-Very-Small (one colour, hands of two, one life)",
        "Sunehag et al. 2018 (VDN); " + SAD,
        "4.6 of 5 points with itself, greedy: interplay crossplay RUN",
        "5 minutes",
        _q_small(VERY_SMALL),
    ),
    "hanabi-sad-small": Recipe(
        "simplified action decoding in Hanabi-Very-Small",
        SAD,
        "4.5 of 5 points with itself, greedy: interplay crossplay RUN",
        "5 minutes",
        _q_small(WorldConfig("hanabi-very-small", bomb="minus-one", sad=True)),
    ),
    "hanabi-op-small": Recipe(
        "Other-Play in Hanabi-Small (two colours, so that there is something to exchange)",
        "Hu et al. 2020 (Other-Play)",
        "7.0 of 10 points with itself, 6.6 with other seeds: interplay crossplay RUN...",
        "15 minutes",
        _q_small(WorldConfig("hanabi-small", bomb="minus-one", permute=True), updates=6000, length=40, base=0.2),
    ),
    "hanabi-very-small-obl": Recipe(
        "Off-Belief Learning, two levels, in Hanabi-Very-Small",
        "Hu et al. 2021 (OBL)",
        "level 1 plays with strangers as with itself; level 2 above it: interplay crossplay RUN@STEP...",
        "5 minutes",
        _obl("hanabi-very-small", LevelsConfig(levels=2, policy=2000, belief=500)),
    ),
    "hanabi-small-obl": Recipe(
        "Off-Belief Learning, two levels, in Hanabi-Small (two colours)",
        "Hu et al. 2021 (OBL)",
        "level 1 plays with strangers as with itself; level 2 above it: interplay crossplay RUN@STEP...",
        "15 minutes",
        _obl("hanabi-small", LevelsConfig(levels=2, policy=3000, belief=500), base=0.1, temperature=0.04),
    ),
    "hanabi-obl": Recipe(
        "Off-Belief Learning, four levels, in Hanabi",
        "Hu et al. 2021 (OBL)",
        "published: level 1 20.9 with itself and with strangers, level 4 24.1 and 23.8; days on two cores",
        "days; meant for a GPU",
        _obl_full(),
        {POINTS: 20.92},
    ),
}
