"""How long the parts of a run's rounds take at one size, and what links between nodes do: the simulation's service times are made of it."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from interplay.cluster.experiment import Experiment
from interplay.cluster.fleet import labels, nodes, split
from interplay.cluster.run import rounds
from interplay.cluster.runner import LocalRunner
from interplay.cluster.scale_model import Costs, Size, slope
from interplay.cluster.streaming import RayRunner, Seat
from interplay.envs.core import UsageError

LARGE = 4  # times as many tiles, for the slopes of service times
PROBE = 32 * 2**20  # bytes
PARTS = ("round", "ask", "issue", "act", "learn", "bytes", "cpu")  # of a row of figures, in seconds but for bytes

Row = dict[str, float]


def sized(experiment: Experiment, size: Size) -> Experiment:
    """The experiment at a size."""
    run = replace(experiment.run, env_actors=size.actors, learners=size.learners, tiles=size.tiles)
    return replace(experiment, run=run)


def chosen(count: int, wanted: str) -> list[str]:
    """Ids of so many nodes with some labels, this process's own first.

    Raises:
        UsageError: there are fewer.
    """
    import ray

    here = ray.get_runtime_context().get_node_id()
    found = sorted(nodes(labels(wanted)), key=lambda node: (node != here, node))
    if count > len(found):
        raise UsageError(f"--nodes is {count}; allowed are 1 to {len(found)}: so many nodes are there")
    return found[:count]


class Timed:
    """A runner whose questions and orders are timed."""

    def __init__(self, runner: Any) -> None:
        self.runner, self.row = runner, Row(ask=0.0, issue=0.0)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    def ask(self) -> Any:
        """Ask, timed."""
        return self._timed("ask", self.runner.ask)

    def play(self, *order: Any) -> Any:
        """Let a round be played, timed."""
        return self._timed("issue", lambda: self.runner.play(*order))

    def _timed(self, name: str, step: Any) -> Any:
        began = time.perf_counter()
        found = step()
        self.row[name] += time.perf_counter() - began
        return found

    def taken(self) -> Row:
        """What was timed since this was called last."""
        row, self.row = self.row, Row(ask=0.0, issue=0.0)
        return row


def measure(experiment: Experiment, size: Size | None, count: int, warmup: int) -> list[Row]:
    """`count` rounds' figures, after `warmup` more that are not told, over Ray at a size; None: all in this process."""
    if size is None:
        made, runner = experiment, Timed(LocalRunner(experiment))
    else:
        made = sized(experiment, size)
        runner = Timed(RayRunner(made, "scale"))
        where = chosen(size.nodes, made.run.env_labels)
        shares = split(size.tiles, size.actors)
        runner.runner.plan = [Seat(*share, where[k * len(where) // len(shares)]) for k, share in enumerate(shares)]
    try:
        runner.restore(None)
        return list(_rows(runner, made, count, warmup))
    finally:
        runner.close()


def _rows(runner: Any, experiment: Experiment, count: int, warmup: int) -> Iterator[Row]:
    total = (warmup + count) * experiment.stages
    began, cpu = time.perf_counter(), time.process_time()
    for done in rounds(runner, experiment, 0, total):
        now, spent = time.perf_counter(), time.process_time()
        acts = [outcome["time/act"] for outcome in done.outcomes]
        row = Row(round=now - began, act=max(acts, default=0.0), cpu=spent - cpu)
        row |= {"learn": done.metrics.get("time/learn", 0.0), "bytes": done.metrics.get("transfer/bytes", 0.0)} | runner.taken()
        began, cpu = now, spent
        if done.number >= warmup * experiment.stages:
            yield row


def mean(rows: list[Row]) -> Row:
    """Mean figures of a round."""
    return {name: float(np.mean([row[name] for row in rows])) for name in PARTS}


def shares(row: Row, staleness: int) -> dict[str, float]:
    """What share of a mean round env, learner and meta-learner are at work, and transport: what nobody's work accounts for."""
    env, learner, meta = (row[name] / row["round"] for name in ("act", "learn", "ask"))
    path = max(learner, env + meta) if staleness else env + learner + meta
    return {"env": env, "transport": max(0.0, 1 - path), "learner": learner, "meta-learner": meta}


def calibrated(experiment: Experiment, small: list[Row], large: list[Row], pair: list[Row], link: tuple[float, float]) -> Costs:
    """Service times from rounds of one env actor and one learner with the experiment's tiles (`small`) and `LARGE` times as many (`large`).

    `pair` are rounds with two learners, if there are any; `link` is latency and bytes a second between machines.
    """
    run = experiment.run
    one, two, tiles = mean(small), mean(large), (run.tiles, LARGE * run.tiles)
    rest = lambda row: max(0.0, row["round"] - row["ask"] - row["issue"] - row["act"] - row["learn"])
    acts = np.array([row["act"] for row in small])
    weights = sum(x.nbytes for x in experiment.learner().policy().values())
    costs = Costs(
        steps=run.tile * run.turns,
        staleness=run.staleness,
        act=slope(tiles, (one["act"], two["act"])),
        jitter=tuple(float(x) for x in np.sort(acts / acts.mean())),
        rest=slope(tiles, (rest(one), rest(two))),
        ask=slope(tiles, (one["ask"], two["ask"])),
        issue=one["issue"],
        learn=slope(tiles, (one["learn"], two["learn"])),
        shared=1.0,
        sums=sums(experiment),
        trajectory=one["bytes"] / run.tiles,
        weights=float(weights),
        latency=link[0],
        bandwidth=link[1],
        cores=float(os.cpu_count() or 1),
        act_threads=run.act_threads,
        learn_threads=0 if run.device.startswith("cuda") else run.learn_threads,
    )
    return replace(costs, shared=divided(costs, run.tiles, mean(pair)["learn"])) if pair else costs


def sums(experiment: Experiment) -> int:
    """All-reduces in an update: one a minibatch."""
    ppo = getattr(experiment, "ppo", None)
    return 1 if ppo is None else ppo.epochs * ppo.minibatches


def divided(costs: Costs, tiles: int, seconds: float) -> float:
    """The part of an update that learners divide, from how long two on one machine take."""
    whole = costs.learn[0] + costs.learn[1] * tiles
    crowd = max(1.0, 2 * costs.learn_threads / costs.cores)
    return float(np.clip(2 * (1 - seconds / (crowd * whole)), 0.0, 1.0))


def probe(source: str, target: str) -> tuple[float, float]:
    """Latency in seconds and bytes a second from one node's object store to another's."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote: Any = ray.remote(num_cpus=0)
    on = lambda node: {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
    make = remote(lambda size: np.zeros(size, np.uint8)).options(**on(source))
    take = remote(lambda x: int(x[-1])).options(**on(target))

    def seconds(size: int) -> float:
        refs = [make.remote(size) for _ in range(6)]
        ray.wait(refs, num_returns=len(refs), fetch_local=False)
        found = []
        for ref in refs:
            began = time.perf_counter()
            ray.get(take.remote(ref))
            found.append(time.perf_counter() - began)
        return float(np.median(found[1:]))

    few, many = seconds(200_000), seconds(PROBE)  # what is smaller than 100 kB travels with the call
    return few, (PROBE - 200_000) / max(1e-6, many - few)
