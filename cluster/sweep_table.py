"""What came of the trials of a sweep: a row for every trial, and for every setting its mean over seeds.

The rows are read off the run folders, so they cover all trials in the sweep's folder, whichever command added them.
"""

import functools
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from interplay.cluster import checkpoint
from interplay.cluster.record import RunFolder, tail_means, write
from interplay.envs.core import UsageError, did_you_mean

FACTS = ("seed", "status", "update", "env_steps", "wall_clock_s", "error", "run")  # columns besides settings and metrics

Row = dict[str, Any]


@dataclass(frozen=True)
class Standing:
    """How a setting stands.

    Attributes:
        setting: values of the fields that differ between settings.
        rows: of its trials.
        mean, stderr: of the metric over finished seeds: standard deviation (of a sample) by the root of their number; NaN where unknown.
    """

    setting: tuple[Any, ...]
    rows: list[Row]
    mean: float
    stderr: float


@dataclass
class Sweep:
    """A sweep's folder.

    Attributes:
        path: where it is.
        recipe: name of the recipe that all trials run.
        names: dotted names of the fields that differ between settings.
        ends: how trials ended that are not finished, by their folder's name: ("failed" or "stopped", why).
    """

    path: Path
    recipe: str
    names: tuple[str, ...]
    ends: dict[str, tuple[str, str]] = field(default_factory=dict)

    @staticmethod
    def open(path: Path, recipe: str, names: Sequence[str]) -> "Sweep":
        """A new sweep, or one that is there and gets more settings; nothing is written yet.

        Raises:
            UsageError: something else is there, or a sweep of another recipe.
        """
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return Sweep(path, recipe, tuple(names))
        try:
            before = json.loads((path / "sweep.json").read_text())
            other, known = before["recipe"], before["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(f"{path} is there already and no sweep; nothing was written. Allowed is a new folder: --out DIR") from None
        if other != recipe:
            raise UsageError(f"{path} is a sweep of {other}, not of {recipe}; allowed is a new folder: --out DIR")
        file = path / "sweep.parquet"
        rows = pq.read_table(file).to_pylist() if file.exists() else []
        ends = {Path(row["run"]).name: (row["status"], row["error"]) for row in rows if row["status"] in ("failed", "stopped")}
        return Sweep(path, recipe, tuple(dict.fromkeys([*known, *names])), ends)

    def begin(self) -> None:
        """Write `sweep.json`: from here on the folder is a sweep."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write(self.path / "sweep.json", {"recipe": self.recipe, "settings": self.names})
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written ({error.strerror}); allowed is a folder that this user may write") from None

    def trials(self) -> list[RunFolder]:
        """All run folders there, by setting and seed."""
        found = [RunFolder.open(file.parent) for file in self.path.glob("*/config.json")]
        return sorted(found, key=lambda trial: ([_order(x) for x in self.setting(trial)], trial.experiment.seed))

    def setting(self, trial: RunFolder) -> tuple[Any, ...]:
        """The values of the fields that differ between settings."""
        return tuple(functools.reduce(getattr, name.split("."), trial.experiment) for name in self.names)

    def row(self, trial: RunFolder) -> Row:
        """What came of a trial: its setting, the facts and the metrics (of an unfinished one: as far as it got)."""
        done, rows = finished(trial), trial.rows()
        status, why = ("finished", "") if done else self.ends.get(trial.path.name, ("interrupted", ""))
        if status == "interrupted" and not checkpoint.numbers(trial.checkpoints):
            status = "waiting"
        last = rows[-1] if rows else {}
        facts = (trial.experiment.seed, status, last.get("update", 0), last.get("env_steps", 0), last.get("wall_clock_s", 0.0))
        row = {name: label(x) if isinstance(x, tuple) else x for name, x in zip(self.names, self.setting(trial), strict=True)}
        return row | dict(zip(FACTS, (*facts, why, str(trial.path)), strict=True)) | tail_means(rows, trial.experiment.run.tail)

    def save(self) -> list[Row]:
        """Write `sweep.parquet`, whole or not at all: a row for every trial; returns the rows."""
        rows = [self.row(trial) for trial in self.trials()]
        names = list(dict.fromkeys(name for row in rows for name in row))
        aside = self.path / ".sweep.parquet.partial"
        pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), aside)
        aside.rename(self.path / "sweep.parquet")
        return rows

    def ranked(self, rows: list[Row], metric: str | None, mode: str) -> list[Standing]:
        """How settings stand by `metric`, over finished seeds; best first, those without a figure last."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row[name] for name in self.names), []).append(row)
        found = []
        for setting, mine in groups.items():
            values = [row[metric] for row in mine if row["status"] == "finished" and row.get(metric) is not None] if metric else []
            mean = float(np.mean(values)) if values else math.nan
            error = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
            found.append(Standing(setting, mine, mean, error))
        sign = -1 if mode == "max" else 1
        return sorted(found, key=lambda one: math.inf if math.isnan(one.mean) else sign * one.mean)


def finished(trial: RunFolder) -> bool:
    """Whether a run folder says that its run came to its end."""
    try:
        return json.loads((trial.path / "summary.json").read_text())["status"] == "finished"
    except FileNotFoundError:
        return False


def headline(rows: list[Row], names: Sequence[str], reference: dict[str, float], asked: str | None) -> str | None:
    """The metric that settings are ranked by; None where there are none yet.

    Raises:
        UsageError: the one that is asked for is none of the metrics.
    """
    known = list(dict.fromkeys(name for row in rows for name in row if name not in (*FACTS, *names)))
    if asked is not None and known:
        if asked not in known:
            raise UsageError(f"metric {asked!r} is unknown{did_you_mean(asked, known)}")
        return asked
    main = [name for name in reference if name in known] + sorted(name for name in known if name.startswith("reward_per_step/"))
    return next(iter(main + known), None)


def show(sweep: Sweep, rows: list[Row], metric: str | None, mode: str) -> None:
    """Print on stderr a table with a row for every setting, best first, and a line for every trial that failed."""
    console = Console(stderr=True)
    table = Table(title=f"{sweep.recipe}: mean ± standard error over finished seeds, best ({mode}) first")
    for name in sweep.names:
        table.add_column(name)
    table.add_column("seeds", justify="right")
    table.add_column(metric or "no metrics yet", justify="right")
    table.add_column("not finished")
    for one in sweep.ranked(rows, metric, mode):
        counts = Counter(row["status"] for row in one.rows)
        done = counts.pop("finished", 0)
        figure = "-" if math.isnan(one.mean) else f"{one.mean:.4g}" + ("" if math.isnan(one.stderr) else f" ± {one.stderr:.2g}")
        other = ", ".join(f"{count} {status}" for status, count in counts.items())
        table.add_row(*map(label, one.setting), f"{done}/{len(one.rows)}", figure, other)
    console.print(table)
    for row in rows:
        if row["status"] == "failed":
            console.print(f"failed at update {row['update']}: {row['run']}: {row['error']}", markup=False, highlight=False, soft_wrap=True)


def label(value: Any) -> str:
    """A value in a table or in the name of a folder: parts of a tuple are joined by x."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _order(value: Any) -> tuple[bool, Any]:
    """Numbers by size, all else by name."""
    number = isinstance(value, (int, float))
    return not number, value if number else label(value)
