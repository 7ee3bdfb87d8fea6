"""Small experiments and a way to run them, for the tests of the runtime."""

import dataclasses
import os
from typing import Any

from interplay.cluster import checkpoint, run
from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_obl import OBLExperiment
from interplay.cluster.experiment_shaping import AnnealConfig, DiceExperiment, ExactExperiment, MfosExperiment
from interplay.cluster.experiment_ued import MakerConfig, UEDExperiment
from interplay.cluster.experiment_worlds import PPOExperiment, QExperiment, TransitionConfig, WorldConfig
from interplay.cluster.record import RunFolder
from interplay.cluster.runner import LocalRunner
from interplay.learners.dice import DiceConfig
from interplay.learners.exact import ExactConfig
from interplay.learners.levels import LevelsConfig
from interplay.learners.metagame import MetaGameConfig
from interplay.learners.ppo import PPOConfig
from interplay.learners.priorities import BufferConfig
from interplay.learners.q_learning import QConfig
from interplay.learners.teachers import TeacherConfig
from interplay.policies.grid_network import GridConfig
from interplay.policies.hand_belief import BeliefConfig
from interplay.policies.networks import NetworkConfig
from interplay.policies.q_network import QNetworkConfig

SMALL = RunConfig(updates=7, tiles=4, tile=64, turns=12, checkpoint_every=3, learn_threads=1, tail=1)
PPO = PPOConfig(epochs=2, minibatches=2)


def mazes(settings):
    """What tiny experiments in mazes share: two students, four tiles of eight worlds."""
    return {
        "seed": 3,
        "run": dataclasses.replace(settings, tile=8),
        "world": WorldConfig("maze", size=5, rounds=12, actions=3),
        "network": GridConfig(4, 2, 8, 4),
        "ppo": PPO,
        "maker": MakerConfig(walls=6, edits=3),
        "students": 2,
    }


def experiment(kind, **changes):
    """A tiny experiment of each kind; `changes` go to its run."""
    settings = dataclasses.replace(SMALL, **changes)
    meta = MetaGameConfig(episode=6)
    turns = WorldConfig("hanabi-very-small", transition=TransitionConfig("bomb", 1, 0, 4))
    replay = QConfig(batch=8, capacity=64, length=16, warmup=8, updates=2, target_every=3)
    return {
        "coin": PPOExperiment(3, settings, WorldConfig("coin", rounds=5), NetworkConfig((16,)), PPO),
        "gru": PPOExperiment(3, settings, WorldConfig("coin", rounds=5), NetworkConfig((16,), recurrent=8), PPO),
        "shared": PPOExperiment(3, settings, WorldConfig("public-goods", rounds=5), NetworkConfig((16,)), PPO, shared=True),
        "central": PPOExperiment(3, settings, WorldConfig("coin", rounds=5), NetworkConfig((16,), recurrent=8), PPO, central=True),
        "turns": PPOExperiment(3, settings, turns, NetworkConfig((16,), encoding="v0"), PPO, shared=True),
        "replay": QExperiment(3, settings, WorldConfig("hanabi-very-small"), QNetworkConfig((16,), 8), replay),
        "sad": QExperiment(
            3,
            settings,
            WorldConfig("hanabi-very-small", sad=True, permute=True),
            QNetworkConfig((16,), 8, True, "v0"),
            dataclasses.replace(replay, method="iql", auxiliary=0.25, anneal=6),
        ),
        "obl": OBLExperiment(
            3,
            settings,
            WorldConfig("hanabi-very-small"),
            QNetworkConfig((16,), 8, True, "v0"),
            dataclasses.replace(replay, anneal=3),
            levels=LevelsConfig(levels=2, policy=2, belief=2),
            belief=BeliefConfig((16,), 8, 16),
        ),
        "mfos": MfosExperiment(3, settings, meta, NetworkConfig((16,)), PPO),
        "mfos-sampled": MfosExperiment(3, settings, MetaGameConfig(episode=6, samples=4, rounds=5), NetworkConfig((16,)), PPO),
        "mfos-self": MfosExperiment(3, settings, meta, NetworkConfig((16,)), PPO, anneal=AnnealConfig(0.2)),
        "dice": DiceExperiment(3, dataclasses.replace(settings, tiles=4, tile=16), DiceConfig(seeds=4, batch=8)),
        "accel": UEDExperiment(teacher=TeacherConfig("accel", replay=0.8, buffer=BufferConfig(capacity=16, fill=0.5)), **mazes(settings)),
        "lanes": UEDExperiment(
            teacher=TeacherConfig("plr", lanes=True, robust=False, buffer=BufferConfig(capacity=16, fill=0.5)), **mazes(settings)
        ),
        "sfl": UEDExperiment(teacher=TeacherConfig("sfl", sweep=2, tries=1, keep=8, period=3), **mazes(settings)),
        "paired": UEDExperiment(teacher=TeacherConfig("paired"), builder=NetworkConfig((16,)), **mazes(settings)),
        "repaired": UEDExperiment(
            teacher=TeacherConfig("repaired", buffer=BufferConfig(capacity=16, fill=0.5)), builder=NetworkConfig((16,)), **mazes(settings)
        ),
        "exact": ExactExperiment(3, dataclasses.replace(settings, tiles=0), ExactConfig(games=20)),
    }[kind]


def train(path, made, runner=None, watch=lambda row: None):
    """Run to the end; returns (digest of the learner's last checkpoint, summary, rows)."""
    folder = RunFolder.open(path) if (path / "config.json").exists() else RunFolder.create(path, "test", made)
    summary = run.train(folder, LocalRunner(made) if runner is None else runner, {}, watch)
    return checkpoint.digest(checkpoint.load(folder.checkpoints)), summary, folder.rows()


def over_ray(path, made, watch=None):
    """The same over Ray; `watch(runner, row)` sees what passes."""
    from interplay.cluster.streaming import RayRunner

    runner = RayRunner(made)
    return train(path, made, runner, (lambda row: None) if watch is None else lambda row: watch(runner, row))


def pid_of(actor):
    """The process of a Ray actor."""
    import ray

    found: Any = ray.get(actor.__ray_call__.remote(lambda self: os.getpid()))
    return found
