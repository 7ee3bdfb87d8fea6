"""What a run shows of itself while it runs: metrics under stable names, at the port where Ray's metrics agent is read by Prometheus.

One table says which metrics there are and where in a row of metrics each comes from; Ray puts `ray_` before their names. The Grafana
dashboard is made of the same table: `python -m interplay.cluster.telemetry > deploy/grafana/interplay.json`.

Counters hold the run's totals, in every process that has a part in it: one that goes on from a checkpoint starts where the rows end,
and rows that are made a second time after a fall are not counted again. So a total is the largest of a run's series, not their sum.
"""

import functools
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from interplay.cluster.record import RunFolder

TAGS = ("recipe", "run", "seed")  # of every metric: the recipe, the name of the run's folder, the seed
GAUGE, TOTAL, SUM, EVENT = "gauge", "total", "sum", "event"

Row = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: without Ray's prefix; base units and `_total` as Prometheus wants them.
        kind: "gauge", or a counter: "total" of a column that is a running total, "sum" of a column, or of an "event".
        unit: Grafana's name of its unit.
        source: a column of the rows of metrics ("time/*": all that begin so; "*": all that no other metric takes), or an event's kind.
        text: what it is.
        label: the tag that holds what the star of `source` stands for.
    """

    name: str
    kind: str
    unit: str
    source: str
    text: str
    label: str = ""

    @property
    def exported(self) -> str:
        """Its name in Prometheus."""
        return f"ray_{self.name}"


HEARTBEAT = Metric("interplay_heartbeat_timestamp_seconds", GAUGE, "s", "", "When the coordinator was last alive.")
METRICS = (
    HEARTBEAT,
    Metric("interplay_env_steps_total", TOTAL, "short", "env_steps", "Env steps that were learned from, of all worlds."),
    Metric("interplay_updates_total", TOTAL, "short", "update", "Updates of the learner, those with nothing to learn from included."),
    Metric("interplay_wall_clock_seconds_total", TOTAL, "s", "wall_clock_s", "Wall-clock time that the run has taken."),
    Metric("interplay_env_steps_per_second", GAUGE, "ops", "speed/env_steps_per_s", "Env steps per second in the last update."),
    Metric(
        "interplay_phase_seconds_total",
        SUM,
        "s",
        "time/*",
        "Seconds by phase: learn and wait are the learner's, act is the mean env actor's beside it, teacher the meta-learner's.",
        "phase",
    ),
    Metric("interplay_policy_lag_updates", GAUGE, "short", "lag", "Updates between the policy that acted and the one that learned."),
    Metric("interplay_rounds_in_flight", GAUGE, "short", "in_flight", "Rounds asked for and not learned from yet."),
    Metric("interplay_trajectory_bytes_total", SUM, "bytes", "transfer/bytes", "Bytes of trajectories that the learner took."),
    Metric("interplay_env_actor_restarts_total", EVENT, "short", "restart", "Env actors that died and were replaced: rounds played again."),
    Metric("interplay_placements_total", EVENT, "short", "placement", "Times that actors were placed anew: nodes came, left or were slow."),
    Metric("interplay_checkpoint_falls_total", EVENT, "short", "fall", "Falls back to the last checkpoint after a loss."),
    Metric("interplay_reward_per_game", GAUGE, "short", "reward_per_game/*", "Reward of a player in a game.", "player"),
    Metric("interplay_reward_per_step", GAUGE, "short", "reward_per_step/*", "Reward of a player in an env step.", "player"),
    Metric("interplay_student_solved_ratio", GAUGE, "percentunit", "student/solved", "Share of the levels played that were solved."),
    Metric("interplay_student_return", GAUGE, "short", "student/return", "Return of the students on the levels played."),
    Metric("interplay_teacher_score", GAUGE, "short", "teacher/score", "Mean score (regret, as estimated) of the levels in the buffer."),
    Metric("interplay_builder_worth", GAUGE, "short", "builder/worth", "What levels were worth to who built them: regret with PAIRED."),
    Metric("interplay_teacher_levels", GAUGE, "short", "teacher/levels", "Levels in the buffer."),
    Metric("interplay_teacher_lag_rounds", GAUGE, "short", "teacher/lag", "Rounds that the teacher had not heard of when it chose levels."),
    Metric("interplay_teacher_kind_ratio", GAUGE, "percentunit", "teacher/*", "Share of the tiles that played levels of a kind.", "kind"),
    Metric("interplay_gpu_memory_allocated_bytes", GAUGE, "bytes", "memory/gpu_allocated", "Most that the learner's tensors took."),
    Metric("interplay_gpu_memory_used_bytes", GAUGE, "bytes", "memory/gpu_used", "In use on the learner's GPU, by all its processes."),
    Metric("interplay_figure", GAUGE, "short", "*", "Every other figure of the run's metrics.", "figure"),
)
BEAT = 5.0  # seconds
_BY_SOURCE = {metric.source: metric for metric in METRICS if metric.kind != EVENT}
_BY_EVENT = {metric.source: metric for metric in METRICS if metric.kind == EVENT}


def find(column: str) -> tuple[Metric, str]:
    """The metric that a column belongs to, and the value of its label ("" where it has none)."""
    if column in _BY_SOURCE:
        return _BY_SOURCE[column], ""
    group, _, rest = column.partition("/")
    return (_BY_SOURCE[f"{group}/*"], rest) if f"{group}/*" in _BY_SOURCE else (_BY_SOURCE["*"], column)


def read(row: Row) -> Iterator[tuple[Metric, str, float]]:
    """Every number of a row, with its metric and label; what is not known (None, NaN) is left out."""
    for column, value in row.items():
        if value is not None and not math.isnan(value):
            yield (*find(column), float(value))


def gpu_memory(device: str) -> dict[str, float]:
    """Columns on the memory of a device, in bytes; none where that is no GPU."""
    if not device.startswith("cuda"):
        return {}
    free, whole = torch.cuda.mem_get_info(device)
    return {"memory/gpu_allocated": float(torch.cuda.max_memory_allocated(device)), "memory/gpu_used": float(whole - free)}


def instrument(metric: Metric) -> Any:
    """Ray's counter or gauge for a metric."""
    from ray.util.metrics import Counter, Gauge

    keys = (*TAGS, metric.label) if metric.label else TAGS
    return (Gauge if metric.kind == GAUGE else Counter)(metric.name, metric.text, keys)


class Exporter:
    """The metrics of this process, made by `make` when they are first needed."""

    def __init__(self, make: Callable[[Metric], Any] = instrument) -> None:
        self.make = functools.cache(make)
        self.totals = dict[tuple[str, ...], float]()  # what counters show, by name and tags

    def set(self, metric: Metric, tags: dict[str, str], value: float) -> None:
        """Let a gauge show `value`."""
        self.make(metric).set(value, tags=tags)

    def add(self, metric: Metric, tags: dict[str, str], value: float) -> None:
        """Let a counter show `value` more."""
        self.lift(metric, tags, self.totals.get((metric.name, *tags.values()), 0.0) + value)

    def lift(self, metric: Metric, tags: dict[str, str], total: float) -> None:
        """Let a counter show `total`, unless it shows more."""
        key = (metric.name, *tags.values())
        more = total - self.totals.get(key, 0.0)
        if more > 0:
            self.make(metric).inc(more, tags=tags)
            self.totals[key] = total


@functools.cache
def _exporter(session: str, worker: str) -> Exporter:
    return Exporter()


def exporter() -> Exporter:
    """This process's, of its connection to Ray: counters live as long as both."""
    import ray

    here = ray.get_runtime_context()
    return _exporter(here.get_session_name(), here.get_worker_id())


class Telemetry:
    """Stands between the run loop and who watches it, and exports what passes. A run never fails because of it.

    Args:
        folder: of the run.
        rows: that the run has already.
        onward: who else takes rows and events.
        source: where the exporter comes from; None: nothing is exported.
    """

    def __init__(
        self, folder: RunFolder, rows: list[Row], onward: Callable[[Row], None], source: Callable[[], Exporter] | None = exporter
    ) -> None:
        self.tags = {"recipe": folder.recipe, "run": folder.path.resolve().name, "seed": str(folder.experiment.seed)}
        self.onward, self.seen = onward, 0  # seen: the newest update that is counted
        self.totals = dict[tuple[Metric, str], float]()
        for row in rows:
            self._count(row)
        self.exporter: Exporter | None = None
        self.quiet = threading.Event()
        if source is not None:
            self._safely(lambda: setattr(self, "exporter", source()))

    def __enter__(self) -> "Telemetry":
        """Let the heart beat: a gauge of the time, while this process lives."""
        if self.exporter is not None:
            self.beating = threading.Thread(target=self._beat, daemon=True)
            self.beating.start()
        return self

    def __exit__(self, *details: Any) -> None:
        self.quiet.set()

    def _beat(self) -> None:
        while self.exporter is not None:
            self._safely(lambda: self.exporter and self.exporter.set(HEARTBEAT, self.tags, time.time()))
            if self.quiet.wait(BEAT):
                return

    def watch(self, row: Row) -> None:
        """Take in a row, or an event, and hand it on."""
        if self.exporter is not None:
            self._safely(lambda: self._event(row) if "event" in row else self._row(row))
        self.onward(row)

    def _safely(self, step: Callable[[], None]) -> None:
        """Take a step; if it fails, say so, and take no more."""
        try:
            step()
        except Exception as error:
            self.exporter = None
            self.onward({"event": f"metrics are not exported any more ({type(error).__name__}: {error}); the run goes on"})

    def _event(self, row: Row) -> None:
        assert self.exporter is not None
        if metric := _BY_EVENT.get(row.get("kind", "")):
            self.exporter.add(metric, self.tags, 1.0)

    def _row(self, row: Row) -> None:
        assert self.exporter is not None
        self._count(row)
        for metric, label, value in read(row):
            tags = self.tags | ({metric.label: label} if metric.label else {})
            if metric.kind == GAUGE:
                self.exporter.set(metric, tags, value)
            else:
                self.exporter.lift(metric, tags, self.totals.get((metric, label), 0.0))

    def _count(self, row: Row) -> None:
        """Add a row to the totals, unless its update has been counted."""
        if row["update"] <= self.seen:
            return
        self.seen = row["update"]
        for metric, label, value in read(row):
            if metric.kind in (TOTAL, SUM):
                self.totals[metric, label] = value + (self.totals.get((metric, label), 0.0) if metric.kind == SUM else 0.0)


def main() -> None:
    """Print the Grafana dashboard."""
    import json

    from interplay.cluster.dashboard import dashboard

    print(json.dumps(dashboard(), indent=1))


if __name__ == "__main__":
    main()
