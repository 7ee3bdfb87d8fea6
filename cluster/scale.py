"""`interplay scale`: how a recipe's speed grows with env actors, learners and nodes; measured, and predicted for sizes that nobody has."""

import json
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from interplay.cluster.experiment import Experiment
from interplay.cluster.fleet import labels, room
from interplay.cluster.recipes import RECIPES, recipe
from interplay.cluster.record import write
from interplay.cluster.scale_model import Costs, Size, simulate
from interplay.cluster.training import parse
from interplay.envs.core import UsageError, did_you_mean


@dataclass(frozen=True)
class Options:
    """How large runs are to be, and how long to look; the recipe's own flags follow below.

    Attributes:
        env_actors: numbers of env actors, such as 1,2,4.
        learners: numbers of learners.
        nodes: numbers of nodes that env actors stand on; learner and meta-learner are on this one.
        scaling: strong, the recipe's tiles are shared by all env actors; weak, each env actor has as many; or both.
        rounds: that are measured at a time.
        warmup: rounds before these.
        repeats: of every size, in turn.
        simulate: predict up to so many env actors.
        per_node: of the env actors on a machine, in predictions.
        latency: in seconds, of a link between machines in predictions; measured where there are two nodes.
        bandwidth: of such a link, in bytes a second.
        costs: predict from an earlier measurement: its folder. Nothing is measured then.
        address: host:port of a running Ray head; by default a Ray of this machine's own.
        out: the folder to write, new or empty; by default scale/RECIPE-TIME.
    """

    env_actors: str = "1,2"
    learners: str = "1"
    nodes: str = "1"
    scaling: Literal["strong", "weak", "both"] = "both"
    rounds: int = 20
    warmup: int = 5
    repeats: int = 3
    simulate: int = 0
    per_node: int = 16
    latency: float = 3e-4
    bandwidth: float = 1.25e9
    costs: Path | None = None
    address: str | None = None
    out: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Measure, calibrate, predict; prints tables, and the folder as the last line."""
    from interplay.cluster import scale_report

    if not arguments or arguments[0].startswith("-"):
        raise UsageError(f"scale needs a recipe: interplay scale RECIPE [flags]{did_you_mean('', RECIPES)}")
    name = arguments[0]
    options, experiment = parse(name, recipe(name).experiment, arguments[1:], recipe(name), Options, "scale")
    experiment.check()
    sizes = wanted(options, experiment)
    out = options.out or Path("scale") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already and not empty; nothing was written. Allowed is a new folder: --out DIR")
    if options.costs is None:
        rows, costs = measured(experiment, sizes, options)
    else:
        rows, costs = [], stored(options.costs)
    out.mkdir(parents=True, exist_ok=True)
    write(out / "costs.json", {"recipe": name} | asdict(costs))
    scale_report.measured(rows, name, out)
    if options.simulate:
        scale_report.predicted(
            predictions(costs, experiment, options), name, replace(costs, latency=options.latency, bandwidth=options.bandwidth), out
        )
    print(out)


def numbers(name: str, text: str) -> list[int]:
    """What "1,2,4" says.

    Raises:
        UsageError: it is not of that form.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"--{name} is {text!r}; allowed are whole numbers from 1 with commas, such as 1,2,4")
    return sorted(set(found))


def wanted(options: Options, experiment: Experiment) -> list[tuple[str, Size]]:
    """All sizes to be measured, by scaling; everything that is wrong is found here."""
    for name in ("rounds", "warmup", "repeats", "per_node"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(options, name)}; allowed are whole numbers from 1")
    if options.simulate < 0 or options.latency < 0 or not options.bandwidth > 0:
        raise UsageError("--simulate and --latency are not negative, and --bandwidth is above 0")
    actors, learners, nodes = (numbers(n, getattr(options, n.replace("-", "_"))) for n in ("env-actors", "learners", "nodes"))
    tiles = experiment.run.tiles
    if tiles < 1:
        raise UsageError("this recipe plays in its learner, without env actors: there is nothing to scale")
    modes = ("strong", "weak") if options.scaling == "both" else (options.scaling,)
    if "strong" in modes and tiles < max(actors):
        raise UsageError(
            f"--env-actors up to {max(actors)} share run.tiles {tiles}; allowed is one actor a tile: --run.tiles {max(actors)}"
        )
    found = []
    for mode, n, m, k in product(modes, nodes, learners, actors):
        if n <= k and not (mode == "weak" and k == 1 and len(modes) > 1):  # with one env actor both are the same
            found.append((mode, Size(k, m, n, tiles * (k if mode == "weak" else 1))))
    if not found:
        raise UsageError(
            f"--nodes {options.nodes} are more than --env-actors {options.env_actors}; allowed is at least one env actor a node"
        )
    for _, size in found:
        replace(experiment, run=replace(experiment.run, env_actors=size.actors, learners=size.learners, tiles=size.tiles)).check()
    return found


def measured(experiment: Experiment, sizes: list[tuple[str, Size]], options: Options) -> tuple[list[dict[str, Any]], Costs]:
    """Rows of figures for every size, a run in this process among them, and the service times; repeats go round all sizes in turn."""
    from interplay.cluster.connect import connect
    from interplay.cluster.scale_measure import LARGE, calibrated, chosen, measure, probe

    tiles, pairs = experiment.run.tiles, any(size.learners > 1 for _, size in sizes)
    each = experiment.run.cpus
    most = max(size.actors for _, size in sizes)
    connect(options.address, max(os.cpu_count() or 1, math.ceil(most * each)))
    if (able := room(each, labels(experiment.run.env_labels))) < most:
        raise UsageError(f"--env-actors up to {most} ask for {most * each:g} CPUs; allowed are up to {able}: so many have room here")
    here, *others = chosen(max(size.nodes for _, size in sizes), experiment.run.env_labels)
    link = probe(here, others[0]) if others else (options.latency, options.bandwidth)
    base = [Size(1, 1, 1, tiles), Size(1, 1, 1, LARGE * tiles), *([Size(1, 2, 1, tiles)] if pairs else [])]
    every: list[Size | None] = [None, *dict.fromkeys([*base, *(size for _, size in sizes)])]
    found: dict[Size | None, list[list[dict[str, float]]]] = {size: [] for size in every}
    for _ in range(options.repeats):
        for size in every:
            found[size].append(measure(experiment, size, options.rounds, options.warmup))
    flat = lambda size: [row for rows in found[size] for row in rows]
    calm = replace(experiment, run=replace(experiment.run, staleness=0))
    if experiment.run.staleness:  # service times are those of somebody who is alone
        base_rows = [measure(calm, size, options.rounds, options.warmup) for size in base]
    else:
        base_rows = [flat(size) for size in base]
    costs = calibrated(experiment, base_rows[0], base_rows[1], base_rows[2] if pairs else [], link)
    machines = _machines()
    rows = [row_of("in process", None, found[None], experiment)]
    for mode, size in sizes:
        guess = simulate(costs, replace(size, machines=min(size.nodes, machines)))
        rows.append(row_of(mode, size, found[size], experiment) | {"predicted": guess.speed, "predicted/bottleneck": guess.bottleneck})
    for mode in ("strong", "weak"):
        _efficiency([row for row in rows if row["scaling"] == mode], rows)
    return rows, costs


def row_of(mode: str, size: Size | None, repeats: list[list[dict[str, float]]], experiment: Experiment) -> dict[str, Any]:
    """A size's figures: means over rounds, medians over repeats."""
    import numpy as np

    from interplay.cluster.scale_measure import mean, shares

    means = [mean(rows) for rows in repeats]
    middle = {name: float(np.median([m[name] for m in means])) for name in means[0]}
    at = size or Size(0, 1, 1, experiment.run.tiles)
    steps = experiment.run.tile * experiment.run.turns * at.tiles
    speeds = sorted(steps / m["round"] for m in means)
    busy = shares(middle, experiment.run.staleness if size else 0)
    return {
        "scaling": mode,
        "nodes": at.nodes,
        "learners": at.learners,
        "env_actors": at.actors,
        "tiles": at.tiles,
        "speed": float(np.median(speeds)),
        "speed/least": speeds[0],
        "speed/most": speeds[-1],
        **{f"seconds/{name}": middle[name] for name in ("round", "ask", "issue", "act", "learn")},
        "bytes": middle["bytes"],
        "cpu/trajectory": middle["cpu"] / max(1, at.actors),
        **{f"busy/{name}": share for name, share in busy.items()},
        "bottleneck": max(busy, key=busy.__getitem__),
    }


def _efficiency(rows: list[dict[str, Any]], every: list[dict[str, Any]]) -> None:
    """Speed for each env actor, relative to the fewest with as many nodes and learners."""
    for row in rows:
        like = [r for r in every if r["scaling"] in ("strong", "weak") and (r["nodes"], r["learners"]) == (row["nodes"], row["learners"])]
        least = min(like, key=lambda r: r["env_actors"])
        row["efficiency"] = row["speed"] / row["env_actors"] / (least["speed"] / least["env_actors"])


def _machines() -> int:
    """How many machines the nodes of this cluster are on."""
    import ray

    return len({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]})


def stored(folder: Path) -> Costs:
    """Service times that were measured before."""
    try:
        data = json.loads((folder / "costs.json").read_text())
        data.pop("recipe", None)
        kind: Any = Costs
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in data.items()})
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{folder} has no readable costs.json ({error}); allowed is a folder that `interplay scale` wrote") from None


def predictions(costs: Costs, experiment: Experiment, options: Options) -> list[dict[str, Any]]:
    """Sizes up to the largest, ten times as many env actors from each to the next; as many tiles for each (weak scaling)."""
    counts = [10**k for k in range(8) if 10**k < options.simulate] + [options.simulate]
    found = []
    for learners, actors in product(numbers("learners", options.learners), counts):
        machines = -(-actors // options.per_node)
        size = Size(actors, learners, machines, actors * experiment.run.tiles, machines)
        at = replace(costs, cores=max(costs.cores, float(options.per_node * costs.act_threads)), latency=options.latency)
        found.append(asdict(size) | simulate(replace(at, bandwidth=options.bandwidth), size).row())
    return found
