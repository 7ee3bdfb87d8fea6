"""What a person sees of a run: one live panel in a terminal, plain lines elsewhere, and a table at the end."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from interplay.cluster.recipe import Recipe
from interplay.cluster.record import RunFolder

PLAIN_EVERY = 10.0  # seconds between plain lines


class Panel:
    """Shows rows of metrics as they come. Use as a context."""

    def __init__(self, folder: RunFolder, about: Recipe, quiet: bool) -> None:
        self.folder, self.about, self.quiet = folder, about, quiet
        self.console = Console(stderr=True)
        self.live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal and not quiet else None
        self.last = 0.0

    def __enter__(self) -> "Panel":
        if not self.quiet:
            where = self.folder.experiment.run
            print(f"{self.folder.recipe}: {self.about.title}", file=sys.stderr)
            print(f"run folder {self.folder.path}, seed {self.folder.experiment.seed}, {where.env_actors} env actor(s)", file=sys.stderr)
        if self.live:
            self.live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        if self.live:
            self.live.__exit__(*details)

    def watch(self, row: dict[str, Any]) -> None:
        """Take in a row, or an event."""
        if self.quiet:
            return
        if "event" in row:
            self.console.print(row["event"])
            return
        if self.live:
            self.live.update(self._table(row))
        elif time.perf_counter() - self.last > PLAIN_EVERY or row["update"] >= self.folder.experiment.run.updates:
            self.last = time.perf_counter()
            print(_line(row, self.folder.experiment.run.updates), file=sys.stderr, flush=True)

    def _table(self, row: dict[str, Any]) -> Table:
        table = Table(title=f"{self.folder.recipe}  update {row['update']}/{self.folder.experiment.run.updates}", min_width=60)
        table.add_column("what")
        table.add_column("now", justify="right")
        for name, value in shown(row).items():
            table.add_row(name, value)
        return table


def shown(row: dict[str, Any]) -> dict[str, str]:
    """The parts of a row worth a glance: earnings, speed, where the time goes."""
    found = {
        name.removeprefix("reward_per_step/"): f"{value:+.3f} a step" for name, value in row.items() if name.startswith("reward_per_step/")
    }
    if row["env_steps"]:
        found["env steps"] = f"{row['env_steps']:,} ({row.get('speed/env_steps_per_s', 0):,.0f}/s)"
    found["wall clock"] = f"{row['wall_clock_s']:.0f} s"
    times = {name.removeprefix("time/"): value for name, value in row.items() if name.startswith("time/")}
    total = sum(times.values()) or 1.0
    found["time"] = ", ".join(f"{name} {value / total:.0%}" for name, value in times.items())
    return found


def _line(row: dict[str, Any], updates: int) -> str:
    return f"update {row['update']}/{updates}  " + "  ".join(f"{name}: {value}" for name, value in shown(row).items())


def report(summary: dict[str, Any], folder: RunFolder) -> None:
    """The closing table: the reference figures against this run's, and where things are."""
    console = Console(stderr=True)
    table = Table(title=f"{summary['recipe']} ({summary['status']}, {summary['env_steps']:,} env steps, {summary['wall_clock_s']:.0f} s)")
    for column in ("figure", "reference", "this run"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in summary["metrics"].items():
        if name in summary["reference"] or name.startswith("reward_per_step/"):
            reference = summary["reference"].get(name)
            table.add_row(name, "" if reference is None else f"{reference:+.3f}", f"{value:+.3f}")
    console.print(table)
    console.print(f"metrics {folder.path / 'metrics.parquet'}; curves: interplay plot {folder.path}", soft_wrap=True)
