"""`interplay eval RUN...`: play trained policies without learning."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from interplay.cluster import checkpoint
from interplay.cluster.experiment import Experiment
from interplay.cluster.record import RunFolder, write
from interplay.cluster.suite import SuiteConfig
from interplay.cluster.suite_report import hold
from interplay.cluster.tiles import TileHost
from interplay.envs.core import UsageError

SCORES = ("reward_per_step/", "self_play", "cross_play")


@dataclass(frozen=True)
class EvalArguments:
    """Play trained policies on fresh games, without learning.

    Attributes:
        runs: run folders.
        rounds: rollouts of the run's own length to play.
        seed: of the games; training used the run's own.
        suite: "mazes": students of mazes sit exams in others that nobody was trained on.
        exams: how they are held.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    rounds: int = 4
    seed: int = 1_000_003
    suite: str | None = None
    exams: Annotated[SuiteConfig, tyro.conf.arg(name="")] = field(default_factory=SuiteConfig)


def main(arguments: Sequence[str]) -> None:
    """Print a table of scores, and write `eval.json` into each run folder; or hold exams (see `suite`)."""
    options = tyro.cli(EvalArguments, prog="interplay eval", args=list(arguments))
    if not options.runs:
        raise UsageError("eval needs a run folder: interplay eval RUN...")
    if options.suite is not None:
        hold(options.suite, options.runs, options.seed, options.exams)
        return
    if options.exams != SuiteConfig():
        raise UsageError("--attempts, --protocol, --worst, --walls, --greedy and --out are for exams; allowed with --suite mazes")
    if options.rounds < 1 or not 0 <= options.seed < 2**32:
        raise UsageError(f"--rounds is {options.rounds} and --seed {options.seed}; allowed are rounds from 1, seeds from 0 to {2**32 - 1}")
    folders = [RunFolder.open(path) for path in options.runs]
    table = Table(title="reward a step (or points), mean ± standard error over worlds")
    for column in ("run", "figure", "mean", "± s.e."):
        table.add_column(column)
    for folder in folders:
        for name, (mean, error) in evaluate(folder, options.rounds, options.seed).items():
            table.add_row(str(folder.path), name, f"{mean:+.4f}", f"{error:.4f}")
    Console().print(table)


def evaluate(folder: RunFolder, rounds: int, seed: int) -> dict[str, tuple[float, float]]:
    """Scores of a run's last checkpoint: mean and standard error by player; also written to `eval.json`."""
    state = checkpoint.load(folder.checkpoints)
    trained = folder.experiment
    learner = trained.learner()
    learner.load_state_dict(state.learner)
    if not trained.run.tiles:  # nothing is played: an exact learner's metrics describe the players before the step
        found = {name: (value, 0.0) for name, value in learner.update(None).items() if name.startswith(SCORES)}
    else:
        found = _play(dataclasses.replace(trained.scored(), seed=seed), learner.policy(), rounds)
    scores = {name: {"mean": mean, "stderr": error} for name, (mean, error) in found.items()}
    write(folder.path / "eval.json", {"seed": seed, "rounds": rounds, "metrics": scores})
    return found


def _play(experiment: Experiment, weights: dict[str, Tensor], rounds: int) -> dict[str, tuple[float, float]]:
    """Play on fresh worlds with frozen weights."""
    host = TileHost(experiment, 0, experiment.run.tiles)
    host.seat(experiment.judge())
    rewards, ends, learned = [], [], 0.0
    exam = experiment.exam()
    for number in range(rounds):
        played = host.play(number, 0, weights, exam.ask(experiment.run.tiles), None)
        assert played.trajectory is not None
        rewards.append(played.trajectory.reward.double().mean(0))  # [B, A]
        ends.append((played.trajectory.terminated | played.trajectory.truncated).double().mean(0))  # [B]
        learned += sum(o.get("reward_per_step/learner", 0.0) for o in played.outcomes) / len(played.outcomes)
    score, ended = torch.stack(rewards).mean(0), torch.stack(ends).mean(0)
    spread = lambda x: x.std(0) / math.sqrt(len(x))
    named = lambda values: {f"reward_per_step/player_{a}": float(x) for a, x in enumerate(values)}
    means = experiment.metrics(named(score.mean(0)), [{"reward_per_step/learner": learned / rounds}])
    errors = experiment.metrics(named(spread(score)), [{"reward_per_step/learner": math.nan}])  # the learners' spread is not recorded
    found = {name: (mean, errors[name]) for name, mean in means.items() if name != "reward_per_step/learner"}
    if ended.sum() > 0:
        mean = score.mean(0) / ended.mean()
        error = spread(score - mean * ended.unsqueeze(1)) / ended.mean()
        found |= {f"reward_per_game/player_{a}": (float(m), float(e)) for a, (m, e) in enumerate(zip(mean, error, strict=True))}
    return found
