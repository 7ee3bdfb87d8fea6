"""What a suite's results come to: aggregates with intervals as data, as tables and as pictures, written into a folder."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from interplay.cluster import suite_plots
from interplay.cluster.record import write
from interplay.cluster.suite import ALPHAS, Results, SuiteConfig, examine
from interplay.envs.core import UsageError
from interplay.learners.aggregates import improvement, interval, iqm, mean, median, optimality_gap, per_seed_range

LEVEL = 0.95  # of intervals


def hold(name: str, runs: Sequence[Path], seed: int, config: SuiteConfig) -> None:
    """Hold the exams; prints tables, writes `scores.parquet`, `worst.parquet`, `suite.json` and pictures."""
    out = runs[0] / "suite" if config.out is None else config.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and not empty; nothing was written. Allowed is a new folder: --out DIR")
    found = examine(name, runs, seed, config)
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(found.rows), out / "scores.parquet")
    if found.passes.size:
        pq.write_table(pa.Table.from_pylist(list(levels(found))), out / "worst.parquet")
    write(out / "suite.json", summary(found))
    for table in tables(found):
        Console().print(table)
    for path in pictures(found, out):
        print(path)
    print(out)


def levels(found: Results) -> Iterator[dict[str, Any]]:
    """The rows of `worst.parquet`: a candidate's solve rates of every random maze."""
    for k, candidate in enumerate(found.candidates):
        for level, (first, second) in enumerate(found.passes[:, k].T.tolist()):
            yield candidate.about | {"level": level, "first_pass": first, "second_pass": second}


def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and its standard error over seeds, of `[seeds, ...]`; NaN errors of one seed."""
    return values.mean(0), values.std(0, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def aggregate(scores: np.ndarray) -> dict[str, float]:
    """Of solve rates `[seeds, exams]` (Agarwal et al. 2021); bounds are NaN where there is one seed."""
    low, high = interval(scores, iqm, LEVEL)
    worst, best = per_seed_range(scores)
    found = {"mean": mean(scores), "median": median(scores), "iqm": iqm(scores), "iqm_low": low, "iqm_high": high}
    found |= {"optimality_gap": optimality_gap(scores), "seed_min": worst, "seed_max": best}
    return {name: float(value) for name, value in found.items()}


def summary(found: Results) -> dict[str, Any]:
    """Everything but the single scores, as plain data; None where a figure needs more than one seed."""
    told = {}
    for method in found.methods:
        score, error = spread(found.of(method))
        exams = {exam.key: pair(score[k], error[k]) for k, exam in enumerate(found.exams)}
        told[method] = {"seeds": len(found.of(method)), "effort": found.effort[method], "exams": exams}
        told[method]["aggregates"] = {p or "all": _known(aggregate(found.of(method, p))) for p in found.protocols}
        if found.passes.size:
            score, error = spread(found.worst(method))
            told[method]["worst"] = {f"{alpha:g}": pair(score[k], error[k]) for k, alpha in enumerate(ALPHAS)}
    better = {
        p or "all": {a: {b: improvement(found.of(a, p), found.of(b, p)) for b in found.methods if b != a} for a in found.methods}
        for p in found.protocols
    }
    runs = list(dict.fromkeys(str(c.folder.path) for c in found.candidates))
    return found.about | {"runs": runs, "methods": told, "improvement": better}


def pair(score: float, error: float) -> dict[str, float | None]:
    """A mean with its standard error."""
    return _known({"mean": float(score), "stderr": float(error)})


def _known(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def tables(found: Results) -> list[Table]:
    """For the terminal: all figures by method, and where there are several, how often one is better than the other."""
    data = summary(found)
    methods, told = found.methods, data["methods"]
    made = Table(title=f"solve rates, mean ± standard error over seeds; size {found.about['size']}, seed {found.about['seed']}")
    for column in ("", *methods):
        made.add_column(escape(column))
    line = lambda name, cell: made.add_row(escape(name), *(escape(cell(told[m])) for m in methods))
    for exam in found.exams:
        line(exam.key, lambda x, key=exam.key: _cell(x["exams"][key]))
    made.add_section()
    for p in found.protocols:
        of = lambda x, p=p: x["aggregates"][p or "all"]
        name = f"at {p} moves" if p else "all exams"
        line(f"IQM [{LEVEL:.0%}], {name}", lambda x, of=of: _range(of(x), "iqm"))
        line(f"optimality gap, {name}", lambda x, of=of: f"{of(x)['optimality_gap']:.3f}")
        line(f"worst to best seed, {name}", lambda x, of=of: f"{of(x)['seed_min']:.3f} to {of(x)['seed_max']:.3f}")
    if found.passes.size:
        made.add_section()
        for alpha in ALPHAS:
            line(_share(alpha, found.about["worst"]), lambda x, alpha=alpha: _cell(x["worst"][f"{alpha:g}"]))
    made.add_section()
    line("seeds", lambda x: str(x["seeds"]))
    line("env steps a seed", lambda x: f"{x['effort']['env_steps']:,.0f}")
    line("student updates", lambda x: f"{x['effort']['updates']:,.0f}")
    line("wall clock a run [s]", lambda x: f"{x['effort']['wall_clock_s']:,.0f}")
    return [made, *(_better(p, data["improvement"][p or "all"]) for p in found.protocols if len(methods) > 1)]


def _better(protocol: str, chances: dict[str, dict[str, float]]) -> Table:
    """Rows against columns."""
    made = Table(title=f"probability that a seed of the row beats one of the column{f', at {protocol} moves' if protocol else ''}")
    for column in ("", *chances):
        made.add_column(escape(column))
    for a, row in chances.items():
        made.add_row(escape(a), *("" if a == b else f"{row[b]:.2f}" for b in chances))
    return made


def _cell(figure: dict[str, float | None]) -> str:
    return f"{figure['mean']:.3f}" + ("" if figure["stderr"] is None else f" ± {figure['stderr']:.3f}")


def _range(figures: dict[str, float | None], name: str) -> str:
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    return f"{figures[name]:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def _share(alpha: float, levels: int) -> str:
    return f"all of {levels:,} random mazes" if alpha == 1 else f"worst {100 * alpha:g} %"


def pictures(found: Results, out: Path) -> list[Path]:
    """Performance profiles, and bars of the exams, for each protocol; returns the files."""
    files = []
    for p in found.protocols:
        scores = {method: found.of(method, p) for method in found.methods}
        exams = [e.name for e in found.exams if e.protocol in ("", p)]
        ending, title = f"-{p}" if p else "", f"time limit {p}" if p else "the students' own time limit"
        files += suite_plots.profiles(scores, title, out / f"profile{ending}")
        files += suite_plots.bars(scores, exams, title, out / f"exams{ending}")
    return files
