"""The Grafana dashboard of runs, made of the table of metrics, so that the names in both are the same."""

from dataclasses import dataclass
from typing import Any

from interplay.cluster.telemetry import EVENT, GAUGE, METRICS, TAGS, Metric

SCHEMA = 42  # of Grafana's classic dashboards
COLUMNS = 24  # of Grafana's grid
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
CHOSEN = 'recipe=~"$recipe", run=~"$run"'


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: above it.
        metrics: names of what it shows, without "interplay_".
        width: of `COLUMNS`.
        kind: "timeseries", or "stat" for one number.
        rate: whether counters are shown as what they gain in a second.
        unit: Grafana's; by default the first metric's.
        stacked: whether series stand on each other.
    """

    title: str
    metrics: tuple[str, ...]
    width: int = 12
    kind: str = "timeseries"
    rate: bool = False
    unit: str = ""
    stacked: bool = False


ROWS = {
    "Run": (
        Panel("Env steps", ("env_steps_total",), 6, "stat"),
        Panel("Updates", ("updates_total",), 6, "stat"),
        Panel("Wall clock", ("wall_clock_seconds_total",), 4, "stat"),
        Panel("Coordinator last seen, seconds ago", ("heartbeat_timestamp_seconds",), 4, "stat"),
        Panel("Restarts and falls", ("env_actor_restarts_total", "checkpoint_falls_total"), 4, "stat"),
    ),
    "Speed": (
        Panel("Throughput", ("env_steps_per_second",)),
        Panel("Where the time goes", ("phase_seconds_total",), rate=True, unit="percentunit", stacked=True),
        Panel("Policy lag and rounds in flight", ("policy_lag_updates", "rounds_in_flight")),
        Panel("Trajectories", ("trajectory_bytes_total",), rate=True, unit="Bps"),
        Panel(
            "Restarts, falls to a checkpoint, new placements", ("env_actor_restarts_total", "checkpoint_falls_total", "placements_total")
        ),
        Panel("GPU memory", ("gpu_memory_allocated_bytes", "gpu_memory_used_bytes")),
    ),
    "Returns": (
        Panel("Reward in a game", ("reward_per_game",)),
        Panel("Reward in an env step", ("reward_per_step",)),
    ),
    "Environment design": (
        Panel("Levels solved", ("student_solved_ratio",), 8),
        Panel("Return on the levels played", ("student_return",), 8),
        Panel("Score of levels", ("teacher_score", "builder_worth"), 8),
        Panel("Levels in the buffer", ("teacher_levels",), 8),
        Panel("Teacher's lag", ("teacher_lag_rounds",), 8),
        Panel("Kinds of levels", ("teacher_kind_ratio",), 8, stacked=True),
    ),
    "Everything else": (Panel("Figures", ("figure",), COLUMNS),),
}
HEIGHT = {"stat": 4, "timeseries": 8}


def expression(metric: Metric, rate: bool) -> str:
    """PromQL of a metric. A total stands in every process of a run, so the largest is the run's; events and rates add up; times are ago."""
    kept = ", ".join((*TAGS, metric.label) if metric.label else TAGS)
    chosen = CHOSEN + (', figure=~"$figure"' if metric.label == "figure" else "")
    series = f"{metric.exported}{{{chosen}}}"
    if rate and metric.kind != GAUGE:
        return f"sum by ({kept}) (rate({series}[$window]))"
    since = "time() - " if metric.name.endswith("_timestamp_seconds") else ""
    return f"{since}{'sum' if metric.kind == EVENT else 'max'} by ({kept}) ({series})"


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "annotations": {"list": []},
        "description": "Runs of interplay, from the metrics that Ray exports.",
        "editable": True,
        "graphTooltip": 1,
        "id": None,
        "links": [],
        "panels": _panels(),
        "refresh": "10s",
        "schemaVersion": SCHEMA,
        "tags": ["interplay", "ray"],
        "templating": {"list": _variables()},
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": "interplay",
        "uid": "interplay",
        "version": 1,
    }


def _panels() -> list[dict[str, Any]]:
    """Rows of panels from left to right, from top to bottom."""
    known = {metric.name.removeprefix("interplay_"): metric for metric in METRICS}
    made, x, y = list[dict[str, Any]](), 0, 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []})
        y += 1
        for panel in panels:
            height = HEIGHT[panel.kind]
            shown = [known[name] for name in panel.metrics]
            place = {"x": x, "y": y, "w": panel.width, "h": height}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel, shown)})
            x += panel.width
            if x >= COLUMNS:
                x, y = 0, y + height
    return made


def _panel(panel: Panel, shown: list[Metric]) -> dict[str, Any]:
    """A panel without its place."""
    several = len(shown) > 1
    legend = lambda m: " ".join(["{{run}}", *([f"{{{{{m.label}}}}}"] if m.label else []), *([_short(m)] if several else [])])
    defaults: dict[str, Any] = {"unit": panel.unit or shown[0].unit, "noValue": "0" if panel.kind == "stat" else "-"}
    options: dict[str, Any] = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "textMode": "value_and_name"}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {"drawStyle": "line", "fillOpacity": 30 if panel.stacked else 0, "showPoints": "auto", "stacking": stacking}
        defaults["custom"]["spanNulls"] = 60_000  # ms: a late scrape leaves no gap
        options = {"legend": {"displayMode": "list", "placement": "bottom", "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": " ".join(metric.text for metric in shown),
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": "ABCDEFGH"[k],
                "datasource": SOURCE,
                "expr": expression(metric, panel.rate),
                "legendFormat": legend(metric),
                "instant": False,
                "range": True,
            }
            for k, metric in enumerate(shown)
        ],
    }


def _short(metric: Metric) -> str:
    return metric.name.removeprefix("interplay_").removesuffix("_total").replace("_", " ")


def _variables() -> list[dict[str, Any]]:
    """What is chosen above the panels: data source, recipes, runs, figures, and the window of rates."""
    updates, figures = "ray_interplay_updates_total", "ray_interplay_figure"
    every = [1, 5, 15, 60]
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0},
        _choice("recipe", "Recipe", f"label_values({updates}, recipe)"),
        _choice("run", "Run", f'label_values({updates}{{recipe=~"$recipe"}}, run)'),
        _choice("figure", "Figure", f"label_values({figures}{{{CHOSEN}}}, figure)"),
        {
            "name": "window",
            "label": "Rates over",
            "type": "interval",
            "query": ",".join(f"{minutes}m" for minutes in every),
            "current": {"selected": True, "text": "5m", "value": "5m"},
            "options": [{"selected": minutes == 5, "text": f"{minutes}m", "value": f"{minutes}m"} for minutes in every],
            "hide": 0,
        },
    ]


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    """Any of the values of a tag."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"{name}-values"},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
        "hide": 0,
    }
