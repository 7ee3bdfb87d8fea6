"""`interplay plot RUN...`: curves of the runs' metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from interplay.cluster.record import COUNTERS, RunFolder
from interplay.envs.core import UsageError, did_you_mean


@dataclass(frozen=True)
class PlotArguments:
    """Plot metrics of runs. Runs of one recipe are drawn as one curve: their mean, and the range over seeds.

    Attributes:
        runs: run folders.
        metrics: which to draw; by default what every player earns a step.
        x: what is on the x axis.
        out: file name without ending; by default `plot` in the first run's folder.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    metrics: tuple[str, ...] = ()
    x: Literal["update", "env_steps", "wall_clock_s"] = "update"
    out: Path | None = None


POINTS = 200  # of a curve
LABELS = {"update": "updates", "env_steps": "env steps", "wall_clock_s": "wall clock [s]"}


def main(arguments: Sequence[str]) -> None:
    """Write an SVG and a PNG; prints their paths."""
    options = tyro.cli(PlotArguments, prog="interplay plot", args=list(arguments))
    if not options.runs:
        raise UsageError("plot needs a run folder: interplay plot RUN...")
    folders = [RunFolder.open(path) for path in options.runs]
    curves = {folder.path: folder.rows() for folder in folders}
    known = sorted({name for rows in curves.values() for row in rows for name in row if name not in COUNTERS})
    if not known:
        raise UsageError(f"{', '.join(map(str, options.runs))}: no metrics yet; they are written at every checkpoint")
    for name in options.metrics:
        if name not in known:
            raise UsageError(f"metric {name!r} is unknown{did_you_mean(name, known)}")
    chosen = list(options.metrics) or [name for name in known if name.startswith("reward_per_step/")]
    out = options.out or folders[0].path / "plot"
    for path in draw(folders, curves, chosen, options.x, out):
        print(path)


def thinned(values: np.ndarray) -> np.ndarray:
    """Means over equal stretches of the last axis, where it has more than `POINTS`: single updates are noise."""
    if values.shape[-1] <= POINTS:
        return values
    return np.stack([part.mean(-1) for part in np.array_split(values, POINTS, axis=-1)], -1)


def draw(folders: list[RunFolder], curves: dict[Path, list[dict]], metrics: list[str], x: str, out: Path) -> list[Path]:
    """One panel: a curve for every (recipe, metric), with the range over the recipe's runs. Returns the files written."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    recipes = list(dict.fromkeys(folder.recipe for folder in folders))
    for recipe in recipes:
        runs = [curves[folder.path] for folder in folders if folder.recipe == recipe]
        for name in metrics:
            series = [[(row[x], row[name]) for row in rows if row.get(name) is not None] for rows in runs]
            series = [s for s in series if s]
            if not series:
                continue
            length = min(map(len, series))
            at = np.array([[p[0] for p in s[:length]] for s in series]).mean(0)
            values = np.array([[p[1] for p in s[:length]] for s in series])
            at, values = thinned(at), thinned(values)
            label = name.removeprefix("reward_per_step/")
            (line,) = axes.plot(at, values.mean(0), label=label if len(recipes) == 1 else f"{recipe}: {label}", linewidth=1.5)
            if len(series) > 1:
                axes.fill_between(at, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, linewidth=0)
    count = len(folders)
    axes.set(xlabel=LABELS[x], ylabel="reward a step" if all(n.startswith("reward_per_step/") for n in metrics) else "value")
    axes.set_title(", ".join(recipes) + (f" ({count} runs: mean and range)" if count > len(recipes) else ""))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    files = [out.with_suffix(".svg"), out.with_suffix(".png")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    plt.close(figure)
    return files
