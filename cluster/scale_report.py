"""What `interplay scale` shows: tables, Parquet, plots."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from interplay.cluster.scale_model import Costs

BUSY = ("env", "transport", "learner", "meta-learner")


def measured(rows: list[dict[str, Any]], name: str, out: Path) -> None:
    """Print what was measured, beside what the simulation says of it; write `measured.parquet` and `scale.png/svg`."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    pq.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), out / "measured.parquet")
    columns = ("scaling n/l/a", "tiles", "env steps/s", "of ideal", "at work %", "bottleneck", "simulated")
    table = Table(*columns, title=f"{name}: nodes/learners/env actors; at work: {', '.join(BUSY)}")
    for row in rows:
        table.add_row(*_cells(row))
    Console().print(table)
    errors = [abs(error(row)) for row in rows if "predicted" in row]
    if errors:
        print(f"the simulation is off by {np.median(errors):.0%} in the middle, {max(errors):.0%} at most")
    local = rows[0]
    for row in rows[1:]:
        if row["env_actors"] == 1 and row["learners"] == 1 and row["tiles"] == local["tiles"]:
            size = row["bytes"] / 1e6
            print(f"one env actor over Ray has {row['speed'] / local['speed']:.2f} of the speed in one process, {size:.2f} MB a round")
    busiest = max(rows[1:], key=lambda row: row["env_actors"])
    print(f"the coordinator takes {busiest['cpu/trajectory'] * 1e3:.2f} ms of a core a trajectory, with {busiest['env_actors']} env actors")
    _draw(rows, name, out / "scale")


def error(row: dict[str, Any]) -> float:
    """Of the simulation, relative to what was measured."""
    return row["predicted"] / row["speed"] - 1


def _cells(row: dict[str, Any]) -> list[str]:
    size = "/".join(str(row[n]) for n in ("nodes", "learners", "env_actors")) if row["env_actors"] else ""
    found = [
        f"{row['scaling']} {size}",
        str(row["tiles"]),
        f"{row['speed']:,.0f}",
        f"{row['efficiency']:.2f}" if "efficiency" in row else "",
    ]
    guess = f"{row['predicted']:,.0f} ({error(row):+.0%})" if "predicted" in row else ""
    return [*found, " ".join(f"{row[f'busy/{who}']:.0%}".rstrip("%") for who in BUSY), row["bottleneck"], guess]


def _draw(rows: list[dict[str, Any]], name: str, out: Path) -> None:
    """Speed by env actors with the ideal and the simulation beside it, and where the rounds go."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
    over = [row for row in rows if row["env_actors"]]
    for mode, n, m in dict.fromkeys((r["scaling"], r["nodes"], r["learners"]) for r in over):
        one = [r for r in over if r["env_actors"] == 1 and (r["nodes"], r["learners"]) == (n, m)] if mode == "weak" else []
        curve = sorted(
            {r["env_actors"]: r for r in one + [r for r in over if (r["scaling"], r["nodes"], r["learners"]) == (mode, n, m)]}.items()
        )
        x, some = [k for k, _ in curve], [r for _, r in curve]
        label = f"{mode}, {n} node{'s' * (n > 1)}, {m} learner{'s' * (m > 1)}"
        (drawn,) = left.plot(x, [r["speed"] for r in some], "o-", label=label)
        left.fill_between(
            x, [r["speed/least"] for r in some], [r["speed/most"] for r in some], color=drawn.get_color(), alpha=0.2, linewidth=0
        )
        left.plot(x, [r["predicted"] for r in some], "x:", color=drawn.get_color())
    first = over[0]
    most = max(r["env_actors"] for r in over)
    left.plot([1, most], [first["speed"] / first["env_actors"] * k for k in (1, most)], "--", color="0.6", label="ideal")
    left.axhline(rows[0]["speed"], color="0.6", linewidth=1, label="in one process")
    left.plot([], [], "x:", color="0.3", label="simulated")
    left.set(xlabel="env actors", ylabel="env steps / s", title=name, ylim=(0, None))
    left.set_xticks(sorted({r["env_actors"] for r in over}))
    left.legend(frameon=False, fontsize=8)
    names = ["in process" if not r["env_actors"] else f"{r['scaling']} {r['nodes']}n {r['learners']}l {r['env_actors']}a" for r in rows]
    base = np.zeros(len(rows))
    for who in BUSY:
        share = np.array([r[f"busy/{who}"] for r in rows])
        right.barh(names, share, left=base, label=who)
        base += share
    right.invert_yaxis()
    right.set(xlabel="at work, share of a round (above 1: side by side)")
    right.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(BUSY))
    for kind in (".svg", ".png"):
        figure.savefig(out.with_suffix(kind), dpi=150)
    plt.close(figure)


def predicted(rows: list[dict[str, Any]], name: str, costs: Costs, out: Path) -> None:
    """Print and write what the simulation says of larger sizes, and what it assumes."""
    pq.write_table(pa.Table.from_pylist(rows), out / "predicted.parquet")
    columns = ("actors/learners/machines", "tiles", "env steps/s", "round [s]", "age [s]", "at work %", "bottleneck")
    table = Table(*columns, title=f"{name}: simulated; at work: {', '.join(BUSY)}")
    for row in rows:
        size = "/".join(f"{row[n]:,}" for n in ("actors", "learners", "machines"))
        busy = " ".join(f"{row[f'busy/{who}']:.0%}".rstrip("%") for who in BUSY)
        table.add_row(
            size, f"{row['tiles']:,}", f"{row['speed']:,.0f}", f"{row['round']:.3g}", f"{row['age']:.3g}", busy, row["bottleneck"]
        )
    Console().print(table)
    print(
        f"links between machines: {costs.bandwidth / 1e9:.3g} GB/s, {costs.latency * 1e3:.3g} ms; a core for every thread of an env actor"
    )
    print("acts vary as the measured ones did; nothing is lost; all that is assumed: interplay.cluster.scale_model")
