"""`interplay eval RUN... --suite mazes`: students of environment design at exams nobody trained on, and their worst random mazes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.console import Console
from rich.progress import Progress

from interplay.cluster.candidates import Candidate, common, crowd, effort, methods, students
from interplay.cluster.exams import PROTOCOLS, SUITES, Exam, held_out, sit
from interplay.cluster.experiment import threads
from interplay.cluster.record import RunFolder
from interplay.envs.core import UsageError, did_you_mean, whole
from interplay.envs.maze_paths import lengths
from interplay.learners.aggregates import cvar

ALPHAS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # shares of the worst mazes
PASS = 10  # attempts at each random maze, in each of two passes


@dataclass(frozen=True)
class SuiteConfig:
    """How exams are held.

    Attributes:
        attempts: with --suite: at each exam, shared among its mazes.
        protocol: with --suite: the time limits of the named mazes, 450 moves (Dennis et al. 2020), 250 (Coward et al. 2024), or both.
        worst: with --suite: random solvable mazes of the runs' own size, of which the worst are looked at; 0 for none.
        walls: with --suite: placed in random mazes; 0 for the most that any of the runs placed.
        greedy: with --suite: students make their likeliest move, not one drawn.
        out: with --suite: the folder to write, new or empty; by default `suite` in the first run's folder.
    """

    attempts: int = 100
    protocol: Literal["450", "250", "both"] = "both"
    worst: int = 10_000
    walls: int = 0
    greedy: bool = False
    out: Path | None = None

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that are asked for."""
        return PROTOCOLS if self.protocol == "both" else (self.protocol,)


@dataclass
class Results:
    """All that was found.

    Attributes:
        about: how exams were held.
        candidates: who sat them.
        exams: which.
        rows: one a candidate and exam.
        scores: `[candidates, exams]`, solve rates.
        passes: `[2, candidates, mazes]`, solve rates of random mazes in two passes; no mazes where none were asked for.
        effort: by method, means over its runs: environment steps, updates and seconds.
    """

    about: dict[str, Any]
    candidates: list[Candidate]
    exams: list[Exam]
    rows: list[dict[str, Any]] = field(default_factory=list)
    scores: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    passes: np.ndarray = field(default_factory=lambda: np.zeros((2, 0, 0)))
    effort: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """In the order in which they were given."""
        return list(dict.fromkeys(c.method for c in self.candidates))

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those of the exams; ("",) where the exams belong to none."""
        return tuple(p for p in PROTOCOLS if any(e.protocol == p for e in self.exams)) or ("",)

    def of(self, method: str, protocol: str | None = None) -> np.ndarray:
        """Solve rates `[seeds, exams]` of a method, by one protocol (None: at all exams)."""
        sat = [protocol is None or e.protocol in ("", protocol) for e in self.exams]
        return self.scores[[c.method == method for c in self.candidates]][:, sat]

    def worst(self, method: str) -> np.ndarray:
        """Mean solve rates over the worst mazes `[seeds, ALPHAS]`: chosen by the first pass, scored on the second."""
        mine = [k for k, c in enumerate(self.candidates) if c.method == method]
        return np.stack([cvar(self.passes[0, k], self.passes[1, k], ALPHAS) for k in mine])


def examine(name: str, runs: Sequence[Path], seed: int, config: SuiteConfig) -> Results:
    """Let all students of all runs sit the exams of a suite."""
    if name not in SUITES:
        raise UsageError(f"suite {name!r} is unknown{did_you_mean(name, SUITES)}")
    whole("--seed", seed, 0, 2**32 - 1)
    folders = [RunFolder.open(path) for path in runs]
    size, rounds = common(folders)
    whole("--attempts", config.attempts, 1, 2**20)
    whole("--worst", config.worst, 0, 2**20)
    walls = whole("--walls", config.walls, 0, size * size - 2) or crowd(folders, size)
    exams = SUITES[name](size, rounds, walls, config.attempts, config.protocols)
    random = [Exam("random", held_out("clutter", size, config.worst, walls=walls), rounds, PASS)] if config.worst else []
    named = zip(methods(folders), folders, strict=True)
    candidates = [c for method, folder in named for c in students(method, folder, config.greedy)]
    about = {"suite": name, "seed": seed, "size": size, "rounds": rounds, "walls": walls, "greedy": config.greedy}
    about |= {"attempts": config.attempts, "worst": config.worst, "attempts_a_pass": PASS}
    found = Results(about, candidates, exams, effort=effort(methods(folders), folders))
    work = len(candidates) * sum(len(e.mazes.goal) * e.attempts for e in [*exams, *random, *random])
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("attempts", total=work)
        play(found, random, seed, lambda n: progress.advance(bar, n))
    return found


def play(found: Results, random: list[Exam], seed: int, watch: Any) -> None:
    """Fill in rows, scores and passes."""
    shortest = [lengths(exam.mazes).mean() for exam in found.exams]
    passes = [[] for _ in range(2)]
    for candidate in found.candidates:
        experiment = candidate.folder.experiment
        threads(experiment.run.act_threads)
        actions, device = candidate.player.network.spec.actions, experiment.run.device
        for exam, best in zip(found.exams, shortest, strict=True):
            came = sit(candidate.player, exam, actions, candidate.dice(seed, exam.key), device, watch)
            solved = came.reward > 0
            facts = {"exam": exam.name, "protocol": exam.protocol, "rounds": exam.rounds, "mazes": len(solved), "attempts": solved.size}
            facts |= {"solved": float(solved.mean()), "reward": float(came.reward.mean())}
            facts |= {"moves": float(came.moves[solved].mean()) if solved.any() else None, "shortest": float(best)}
            found.rows.append(candidate.about | facts)
        for number in range(2):
            for exam in random:
                came = sit(candidate.player, exam, actions, candidate.dice(seed, f"pass {number}"), device, watch)
                passes[number].append((came.reward > 0).mean(1))
    found.scores = np.array([row["solved"] for row in found.rows]).reshape(len(found.candidates), len(found.exams))
    found.passes = np.array(passes).reshape(2, len(found.candidates), -1)
