"""Pictures of solve rates at many exams: performance profiles, and bars."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interplay.learners.aggregates import interval, profile

THRESHOLDS = np.linspace(0, 1, 101)

Scores = Mapping[str, np.ndarray]  # by method: solve rates `[seeds, exams]`


def profiles(scores: Scores, title: str, out: Path) -> list[Path]:
    """Share of (seed, exam) with a solve rate above a threshold, and its 95 % interval over seeds (Agarwal et al. 2021); SVG and PNG."""
    figure, axes = _figure(7, 4.2)
    for method, table in scores.items():
        (line,) = axes.step(THRESHOLDS, profile(table, THRESHOLDS), where="post", label=method, linewidth=1.5)
        low, high = interval(table, lambda s: profile(s, THRESHOLDS))
        if len(table) > 1:
            axes.fill_between(THRESHOLDS, low, high, step="post", color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="solve rate τ", ylabel="share of (seed, exam) above τ", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f"performance profile, {title}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return _save(figure, out)


def bars(scores: Scores, exams: Sequence[str], title: str, out: Path) -> list[Path]:
    """Mean solve rate of each exam by method, with standard errors over seeds; SVG and PNG."""
    figure, axes = _figure(max(7, 2 + 0.16 * len(exams) * (len(scores) + 1)), 4.2)
    width, at = 0.8 / len(scores), np.arange(len(exams))
    for k, (method, table) in enumerate(scores.items()):
        error = table.std(0, ddof=1) / math.sqrt(len(table)) if len(table) > 1 else None
        axes.bar(at + (k - (len(scores) - 1) / 2) * width, table.mean(0), width, yerr=error, label=method, error_kw={"linewidth": 0.8})
    axes.set_xticks(at, exams, rotation=40, ha="right", rotation_mode="anchor")
    axes.set(ylabel="solve rate", ylim=(0, 1.02), title=f"exams, {title}")
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    figure.legend(frameon=False, loc="outside lower center", ncols=max(1, min(len(scores), 3)))
    return _save(figure, out)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")


def _save(figure: Any, out: Path) -> list[Path]:
    import matplotlib.pyplot as plt

    files = [out.with_name(f"{out.name}{ending}") for ending in (".svg", ".png")]
    for file in files:
        figure.savefig(file, dpi=150)
    plt.close(figure)
    return files
