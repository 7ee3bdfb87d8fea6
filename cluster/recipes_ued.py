"""Recipes of environment design: mazes at the published sizes, and small ones (`-small`) that separate methods on two cores in minutes."""

from dataclasses import replace

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_fruit import FruitExperiment
from interplay.cluster.experiment_ued import MakerConfig, UEDExperiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.cluster.recipe import Recipe
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPOConfig
from interplay.learners.priorities import BufferConfig
from interplay.learners.teacher import Method, TeacherConfig
from interplay.policies.grid_network import GridConfig
from interplay.policies.networks import NetworkConfig


def _full(teacher: TeacherConfig, maker: MakerConfig, lr: float = 1e-4, gamma: float = 0.995, entropy: float = 0.001) -> UEDExperiment:
    """13 x 13 mazes, the published network, 32 x 256 steps a round."""
    return UEDExperiment(
        run=RunConfig(updates=30_000, tiles=1, tile=32, turns=256, checkpoint_every=500, tail=100),
        world=WorldConfig("maze", size=13, rounds=250, actions=7),
        ppo=PPOConfig(gamma=gamma, lam=0.98, epochs=5, minibatches=1, entropy=entropy),
        optim=AdamConfig(lr=lr, max_norm=0.5),
        maker=maker,
        teacher=teacher,
    )


def _small(teacher: TeacherConfig) -> UEDExperiment:
    """7 x 7 mazes, a narrower LSTM, five students side by side."""
    return UEDExperiment(
        run=RunConfig(updates=1000, tiles=1, tile=160, turns=64, checkpoint_every=250, tail=50),
        world=WorldConfig("maze", size=7, rounds=60, actions=3),
        network=GridConfig(filters=16, recurrent=32, head=32),
        ppo=PPOConfig(gamma=0.98, lam=0.95, epochs=3, minibatches=1, entropy=0.01),
        optim=AdamConfig(lr=1e-3, max_norm=0.5),
        maker=MakerConfig(walls=25, edits=5),
        teacher=replace(teacher, buffer=replace(teacher.buffer, capacity=512), keep=64, sweep=8, tries=4, period=32),
        students=5,
    )


def _built(method: Method, students: int) -> UEDExperiment:
    """Levels built by a teacher, the published settings (32 levels a round)."""
    replay = 0.95 if method == "repaired" else 0.5
    teacher = TeacherConfig(method, replay=replay, buffer=BufferConfig(temperature=0.1))
    made = _full(teacher, MakerConfig(walls=60), entropy=0.0)
    return replace(made, run=replace(made.run, tile=32 * students), students=students)


def _built_small(method: Method, students: int) -> UEDExperiment:
    """The same in 7 x 7 mazes."""
    made = _small(TeacherConfig(method))
    optim = replace(made.optim, lr=5e-4)
    return replace(made, run=replace(made.run, tile=64 * students), optim=optim, builder=NetworkConfig(hidden=(64, 64)), students=students)


def _fruit() -> FruitExperiment:
    """One room of 3 x 3 cells; SAMPLR's and PLR's students side by side."""
    return FruitExperiment(
        run=RunConfig(updates=300, tiles=1, tile=320, turns=32, checkpoint_every=100, tail=20),
        network=GridConfig(filters=8, recurrent=16, head=16),
        ppo=PPOConfig(gamma=0.99, lam=0.95, epochs=4, minibatches=2, entropy=0.02, scale=0.1),
        optim=AdamConfig(lr=3e-3, max_norm=0.5),
        teacher=TeacherConfig("plr", "pvl", robust=False, buffer=BufferConfig(capacity=256, temperature=1.0)),
    )


PLR = TeacherConfig("plr", replay=0.5, robust=False)
ROBUST = TeacherConfig("plr", replay=0.5)
ACCEL = TeacherConfig("accel", replay=0.8, buffer=BufferConfig(staleness=0.5))
# 256 worlds: 24,576 levels for 2,048 steps each. Of 30,000 rounds 3,400 learn: there are 34 times 768 that sweep and 100 that learn.
SFL = TeacherConfig("sfl", sweep=96, tries=8, keep=1000, period=100)

PAIRED_PAPER = "Dennis et al. 2020, Emergent Complexity and Zero-shot Transfer"
DR_PAPER = "Tobin et al. 2017 (domain randomisation); the setting of Dennis et al. 2020"
PLR_PAPER = "Jiang et al. 2021, Prioritized Level Replay"
ROBUST_PAPER = "Jiang et al. 2021, Replay-Guided Adversarial Environment Design"
ACCEL_PAPER = "Parker-Holder et al. 2022, Evolving Curricula with Regret-Based Environment Design"
SFL_PAPER = "Rutherford et al. 2024, No Regrets (sampling for learnability)"

UED: dict[str, Recipe] = {
    "maze-dr": Recipe(
        "students in random mazes, 13 x 13",
        DR_PAPER,
        "published (250 M steps, 25 blocks): solves .43 of the named mazes",
        "a day; meant for a GPU",
        _full(TeacherConfig("dr"), MakerConfig(walls=60)),
    ),
    "maze-plr": Recipe(
        "prioritised level replay in mazes",
        PLR_PAPER,
        "published (250 M steps, 25 blocks): .59 of the named mazes",
        "a day; meant for a GPU",
        _full(PLR, MakerConfig(walls=60), lr=3e-4, gamma=0.999, entropy=0.0),
    ),
    "maze-plr-robust": Recipe(
        "robust prioritised level replay in mazes: students learn from replayed levels only",
        ROBUST_PAPER,
        "published (250 M steps, 25 blocks): .68 of the named mazes",
        "a day; meant for a GPU",
        _full(ROBUST, MakerConfig(walls=60), lr=3e-4, gamma=0.999, entropy=0.0),
    ),
    "maze-accel": Recipe(
        "ACCEL in mazes: levels evolve from empty ones",
        ACCEL_PAPER,
        "published (20,000 updates, 60 blocks): .88 of the named mazes",
        "a day; meant for a GPU",
        _full(ACCEL, MakerConfig("empty", walls=0), lr=3e-4, gamma=0.999, entropy=0.0),
    ),
    "maze-sfl": Recipe(
        "sampling for learnability in mazes: those that are solved about half of the time",
        SFL_PAPER,
        "published (300 M steps of training): solves 99.5 % of random mazes, 65 % of the worst 1 %",
        "days; meant for a GPU",
        replace(
            _full(SFL, MakerConfig(walls=60), lr=2.5e-4, gamma=0.99),
            run=RunConfig(updates=30_000, tiles=8, tile=32, turns=256, checkpoint_every=500, tail=100),
            ppo=PPOConfig(gamma=0.99, lam=0.95, clip=0.04, epochs=4, minibatches=4, entropy=0.0),
        ),
    ),
    "maze-paired": Recipe(
        "PAIRED in mazes: a teacher learns to build what its friend solves and the student does not",
        PAIRED_PAPER,
        "published (250 M steps, 25 blocks): .33 of the named mazes",
        "days; meant for a GPU",
        _built("paired", students=2),
    ),
    "maze-repaired": Recipe(
        "REPAIRED in mazes: PAIRED's teacher fills the buffer of robust prioritised level replay",
        ROBUST_PAPER,
        "published (250 M steps, 25 blocks): .38 of the named mazes",
        "days; meant for a GPU",
        _built("repaired", students=2),
    ),
    "maze-minimax": Recipe(
        "a minimax adversary builds mazes that the student does not solve",
        PAIRED_PAPER,
        "published (250 M steps, 25 blocks): .04 of the named mazes",
        "a day; meant for a GPU",
        _built("minimax", students=1),
    ),
    "maze-paired-small": Recipe("PAIRED in 7 x 7 mazes", PAIRED_PAPER, "", "5 minutes", _built_small("paired", students=2)),
    "maze-repaired-small": Recipe("REPAIRED in 7 x 7 mazes", ROBUST_PAPER, "", "5 minutes", _built_small("repaired", students=2)),
    "maze-minimax-small": Recipe("a minimax adversary in 7 x 7 mazes", PAIRED_PAPER, "", "5 minutes", _built_small("minimax", students=1)),
    "fruit-samplr": Recipe(
        "SAMPLR against PLR, ten students each, in fruit choices that a curriculum biases: who eats what is best in truth?",
        "Jiang et al. 2022, Grounding Aleatoric Uncertainty for Unsupervised Environment Design",
        "SAMPLR's eat the banana (.7 x 3 < .3 x 10), PLR's the apple that pays in 98 of 100 of their levels",
        "3 minutes",
        _fruit(),
        {"optimal_rate/samplr": 1.0, "optimal_rate/plr": 0.0},
    ),
    "maze-dr-small": Recipe("students in random 7 x 7 mazes", DR_PAPER, "", "5 minutes", _small(TeacherConfig("dr"))),
    "maze-plr-small": Recipe("prioritised level replay in 7 x 7 mazes", PLR_PAPER, "", "5 minutes", _small(PLR)),
    "maze-plr-robust-small": Recipe("robust prioritised level replay in 7 x 7 mazes", ROBUST_PAPER, "", "5 minutes", _small(ROBUST)),
    "maze-accel-small": Recipe(
        "ACCEL in 7 x 7 mazes, from empty ones on",
        ACCEL_PAPER,
        "",
        "5 minutes",
        replace(_small(ACCEL), maker=MakerConfig("empty", walls=0, edits=5)),
    ),
    "maze-sfl-small": Recipe("sampling for learnability in 7 x 7 mazes", SFL_PAPER, "", "5 minutes", _small(SFL)),
}
