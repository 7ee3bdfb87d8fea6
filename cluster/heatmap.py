"""Matrices as pictures: cross-play scores, and which move answers which."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def scores(table: np.ndarray, names: Sequence[str], title: str, out: Path) -> None:
    """Cross-play scores `[K, K]`, rows in seat 0, as SVG and PNG."""
    size = 1.6 + 0.75 * len(names)
    figure, axes = _figure(size + 1, size)
    shown = axes.imshow(table, cmap="viridis")
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(title=f"{title}: mean score", xlabel="other seats", ylabel="seat 0")
    middle = (np.nanmin(table) + np.nanmax(table)) / 2
    for (i, j), value in np.ndenumerate(table):
        axes.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=8, color="white" if value < middle else "black")
    figure.colorbar(shown, ax=axes, shrink=0.8)
    _save(figure, out)


def replies(counts: np.ndarray, moves: Sequence[str], title: str, out: Path) -> None:
    """p(next move | move) from counts `[actions, actions]`; rows that never happened stay white."""
    total = counts.sum(1, keepdims=True)
    shares = np.where(total > 0, counts / np.maximum(total, 1), np.nan)
    size = 2 + 0.24 * len(moves)
    figure, axes = _figure(size + 1, size)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(moves)), moves, rotation=90, fontsize=7)
    axes.set_yticks(range(len(moves)), moves, fontsize=7)
    axes.set(title=f"{title}: p(next move | move)", xlabel="next player's move", ylabel="move")
    figure.colorbar(shown, ax=axes, shrink=0.8)
    _save(figure, out)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained")


def _save(figure: Any, out: Path) -> None:
    import matplotlib.pyplot as plt

    for ending in (".svg", ".png"):
        figure.savefig(out.with_suffix(ending), dpi=150)
    plt.close(figure)
