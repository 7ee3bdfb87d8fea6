"""Metrics that leave a run: names, totals that count nothing twice, the dashboard, and what Prometheus reads of a real run."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs import experiment, pid_of, train

from interplay.cluster import run
from interplay.cluster.dashboard import COLUMNS, ROWS, dashboard
from interplay.cluster.record import RunFolder
from interplay.cluster.runner import LocalRunner, Lost
from interplay.cluster.telemetry import GAUGE, METRICS, TAGS, Exporter, Telemetry, find, gpu_memory, read

SHIPPED = Path(__file__).parent.parent / "deploy" / "grafana" / "interplay.json"
FOLDER = RunFolder(Path("runs/one"), "coin-ppo", experiment("coin"))
HERE = ("coin-ppo", "one", "3")


class Shown:
    """Stands for Ray's counters and gauges: what each would show, by name and tags."""

    def __init__(self):
        self.values, self.calls = {}, Counter()

    def __call__(self, metric):
        shown = self

        class Instrument:
            def set(self, value, tags):
                shown.values[(metric.name, *tags.values())] = value
                shown.calls[metric.name] += 1

            def inc(self, value, tags):
                assert value > 0 and metric.kind != GAUGE  # what Ray asks for
                key = (metric.name, *tags.values())
                shown.values[key] = shown.values.get(key, 0.0) + value

        return Instrument()

    def __getitem__(self, key):
        name, *label = key if isinstance(key, tuple) else (key,)
        return self.values[(f"interplay_{name}", *HERE, *label)]

    def __contains__(self, name):
        return any(key[0] == f"interplay_{name}" for key in self.values)


def telemetry(shown, rows=(), onward=lambda row: None, exporter=None):
    exporter = Exporter(shown) if exporter is None else exporter
    return Telemetry(FOLDER, list(rows), onward, lambda: exporter)


def row(update, act=0.5, **more):
    return {"update": update, "env_steps": 100 * update, "wall_clock_s": 2.0 * update, "time/act": act, "lag": 1.0, **more}


# The table


def test_names_are_those_of_prometheus():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names) == 24
    assert len({(metric.source, metric.kind == "event") for metric in METRICS}) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"interplay_[a-z]+(_[a-z]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind != GAUGE)
        base = metric.name.removesuffix("_total")
        for unit, suffix in {"s": "_seconds", "bytes": "_bytes", "percentunit": "_ratio"}.items():
            assert base.endswith(suffix) == (metric.unit == unit), metric
        assert bool(metric.label) == metric.source.endswith("*")
        assert not metric.label or (re.fullmatch(r"[a-z]+", metric.label) and metric.label not in TAGS)
        assert metric.text.endswith(".")


@pytest.mark.parametrize(
    ("column", "name", "label"),
    [
        ("env_steps", "env_steps_total", ""),
        ("time/act", "phase_seconds_total", "act"),
        ("time/teacher", "phase_seconds_total", "teacher"),
        ("reward_per_step/shaper", "reward_per_step", "shaper"),
        ("reward_per_game/player_1", "reward_per_game", "player_1"),
        ("teacher/lag", "teacher_lag_rounds", ""),
        ("teacher/replay", "teacher_kind_ratio", "replay"),
        ("student/solved", "student_solved_ratio", ""),
        ("ppo/entropy", "figure", "ppo/entropy"),
        ("score", "figure", "score"),
    ],
)
def test_columns_find_their_metrics(column, name, label):
    metric, found = find(column)
    assert (metric.name, found) == (f"interplay_{name}", label)


def test_a_real_row_needs_no_more_than_the_table(tmp_path):
    _, _, rows = train(tmp_path / "run", experiment("accel", updates=5))
    found = {(metric.name.removeprefix("interplay_"), label): value for metric, label, value in read(rows[-1])}
    assert len(found) == sum(value is not None and not math.isnan(value) for value in rows[-1].values())
    assert found["teacher_levels", ""] == rows[-1]["teacher/levels"] == 16
    assert {label for name, label in found if name == "teacher_kind_ratio"} == {"new", "replay", "edit", "sweep", "build"}
    assert {label for name, label in found if name == "phase_seconds_total"} == {"act", "learn", "wait", "teacher"}
    assert all(label.startswith("ppo/") for name, label in found if name == "figure")


# What is exported


def test_gauges_and_counters_of_a_made_up_run():
    shown = Shown()
    seen = []
    told = telemetry(shown, onward=seen.append)
    sent = [
        row(1, 0.5, **{"reward_per_game/player_0": 2.0, "ppo/entropy": 1.5}),
        row(2, 0.25, **{"reward_per_game/player_0": math.nan, "ppo/entropy": None, "transfer/bytes": 4096.0}),
        {"event": "a worker", "kind": "restart"},
        {"event": "something else"},
        row(4, 0.125, **{"transfer/bytes": 1024.0, "in_flight": 3}),  # a row may be missing: updates and steps are running totals
    ]
    for one in sent:
        told.watch(one)
    assert seen == sent
    assert (shown["env_steps_total"], shown["updates_total"], shown["wall_clock_seconds_total"]) == (400, 4, 8)
    assert shown["phase_seconds_total", "act"] == 0.875
    assert shown["trajectory_bytes_total"] == 5120
    assert shown["env_actor_restarts_total"] == 1 and "checkpoint_falls_total" not in shown
    assert (shown["policy_lag_updates"], shown["rounds_in_flight"]) == (1, 3)
    assert shown["reward_per_game", "player_0"] == 2.0 and shown["figure", "ppo/entropy"] == 1.5  # what is not known changes nothing


def test_a_fall_counts_nothing_twice():
    shown = Shown()
    told = telemetry(shown)
    for one in [row(1, 1.0), row(2, 1.0), row(3, 1.0), {"event": "lost", "kind": "fall"}, row(2, 64.0, lag=0.0), row(3, 64.0, lag=0.0)]:
        told.watch(one)
    assert (shown["env_steps_total"], shown["updates_total"], shown["phase_seconds_total", "act"]) == (300, 3, 3.0)
    assert shown["checkpoint_falls_total"] == 1
    assert shown["policy_lag_updates"] == 0.0  # gauges show what is
    told.watch(row(4, 1.0))
    assert (shown["env_steps_total"], shown["phase_seconds_total", "act"]) == (400, 4.0)


def test_a_resumed_run_starts_at_its_total():
    before = [row(1, 0.5), row(2, 0.5)]
    elsewhere, same = Shown(), Shown()
    telemetry(elsewhere, before).watch(row(3, 0.25))
    assert (elsewhere["env_steps_total"], elsewhere["phase_seconds_total", "act"]) == (300, 1.25)
    exporter = Exporter(same)
    first = telemetry(same, exporter=exporter)
    for one in [*before, {"event": "", "kind": "fall"}]:
        first.watch(one)
    second = telemetry(same, before, exporter=exporter)  # in the process of the first
    for one in [row(3, 0.25), {"event": "", "kind": "fall"}]:
        second.watch(one)
    assert (same["env_steps_total"], same["phase_seconds_total", "act"], same["checkpoint_falls_total"]) == (300, 1.25, 2)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_totals_are_those_of_each_updates_first_row(stretches, random):
    """Stretches of rows (how far back, how many): the oracle is a dictionary by update."""
    shown, first, at = Shown(), {}, 0
    told = telemetry(shown)
    for back, count in stretches:
        at = max(0, at - back)
        for _ in range(count):
            at += 1
            seconds = random.randrange(1, 64) / 64  # sums are exact
            first.setdefault(at, seconds)
            told.watch(row(at, seconds))
    assert shown["updates_total"] == max(first) and shown["env_steps_total"] == 100 * max(first)
    assert shown["phase_seconds_total", "act"] == sum(first.values())


def test_several_runs_are_told_apart():
    shown = Shown()
    exporter = Exporter(shown)
    for k in range(2):
        other = RunFolder(Path(f"runs/{k}"), "coin-ppo", experiment("coin"))
        Telemetry(other, [], lambda row: None, lambda: exporter).watch(row(k + 1))
    assert [shown.values["interplay_env_steps_total", "coin-ppo", str(k), "3"] for k in range(2)] == [100, 200]


@pytest.mark.parametrize("where", ["connection", "metric"])
def test_a_failure_is_told_once_and_the_run_goes_on(where):
    def fail(metric=None):
        raise OSError("no agent")

    seen = []
    told = Telemetry(FOLDER, [], seen.append, fail if where == "connection" else lambda: Exporter(fail))
    for k in range(3):
        told.watch(row(k + 1))
    events = [one["event"] for one in seen if "event" in one]
    assert events == ["metrics are not exported any more (OSError: no agent); the run goes on"]
    assert [one["update"] for one in seen if "update" in one] == [1, 2, 3]


class Falling:
    """A local runner whose learner is lost once, in a round."""

    def __init__(self, made, at):
        self.runner, self.at = LocalRunner(made), at

    def __getattr__(self, name):
        return getattr(self.runner, name)

    def learn(self, number, handle):
        if number == self.at:
            self.at = None
            raise Lost("a test")
        return self.runner.learn(number, handle)


def test_the_loop_feeds_it(tmp_path, monkeypatch):
    """Checkpoints stand at 0, 3, 6: lost in round 5, updates 4 and 5 are made twice."""
    shown, rows = Shown(), defaultdict(list)
    monkeypatch.setattr(run, "exporter", lambda: Exporter(shown))
    monkeypatch.setattr(run.time, "sleep", lambda seconds: None)
    made = experiment("coin", staleness=2)
    folder = RunFolder.create(tmp_path / "one", "coin-ppo", made)
    runner: Any = Falling(made, 5)
    summary = run.train(folder, runner, {}, lambda one: rows[one.get("update")].append(one))
    assert {update: len(found) for update, found in rows.items()} == {None: 1, 1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 1, 7: 1}
    assert shown["env_steps_total"] == summary["env_steps"] == 7 * 4 * 64 * 12
    assert shown["updates_total"] == 7 and shown["checkpoint_falls_total"] == 1
    assert shown["phase_seconds_total", "act"] == pytest.approx(sum(rows[k][0]["time/act"] for k in range(1, 8)))
    assert shown.calls["interplay_policy_lag_updates"] == 9  # of all rows
    assert [rows[k][-1]["in_flight"] for k in range(1, 8)] == [3, 2, 1, 3, 2, 1, 1]  # rounds to a checkpoint, at most staleness + 1


def test_memory_is_looked_up_on_gpus_only(monkeypatch):
    assert gpu_memory("cpu") == {}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (30, 80) if device == "cuda:1" else None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 20 if device == "cuda:1" else None)
    assert gpu_memory("cuda:1") == {"memory/gpu_allocated": 20.0, "memory/gpu_used": 50.0}


def test_a_local_run_never_loads_ray(tmp_path):
    words = ["lever-ppo", "--local", "--options.quiet", "--run.updates", "2", "--run-dir", str(tmp_path / "run")]
    words = [word.replace("--options.", "--") for word in words]
    code = f"import sys; from interplay.cluster.training import main; main({words!r}); sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["updates"] == 2


# The dashboard


def test_the_shipped_dashboard_is_the_generated_one():
    printed = subprocess.run([sys.executable, "-m", "interplay.cluster.telemetry"], capture_output=True, text=True, check=True).stdout
    assert SHIPPED.read_text() == printed, "make it anew: python -m interplay.cluster.telemetry > deploy/grafana/interplay.json"
    assert json.loads(printed) == dashboard()


def test_every_expression_names_a_metric_and_every_metric_is_shown():
    shipped = json.loads(SHIPPED.read_text())
    known = {f"ray_{metric.name}": metric for metric in METRICS}
    shown = set()
    variables = {variable["name"] for variable in shipped["templating"]["list"]}
    for panel in shipped["panels"]:
        assert (panel["type"] == "row") == ("targets" not in panel)
        for target in panel.get("targets", []):
            names = re.findall(r"ray_\w+", target["expr"])
            assert len(names) == 1 and target["expr"].count("(") == target["expr"].count(")")
            metric = known[names[0]]
            shown.add(names[0])
            assert set(re.findall(r"\$(\w+)", target["expr"])) <= variables
            assert ("rate(" in target["expr"]) <= (metric.kind != GAUGE)  # the rate of a gauge would mean nothing
            kept = set(re.findall(r"by \((.*?)\)", target["expr"])[0].split(", "))
            assert kept == {*TAGS, *([metric.label] if metric.label else [])}
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept
        assert len({target["refId"] for target in panel.get("targets", [])}) == len(panel.get("targets", []))
    assert shown == set(known)
    for variable in shipped["templating"]["list"]:
        assert set(re.findall(r"ray_\w+", variable.get("definition", ""))) <= set(known)
        assert set(re.findall(r"\$(\w+)", str(variable.get("definition", "")))) <= variables


def test_panels_fill_the_grid_and_do_not_overlap():
    panels = json.loads(SHIPPED.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == len(ROWS) + sum(map(len, ROWS.values()))
    cells = Counter()
    for panel in panels:
        at = panel["gridPos"]
        cells.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    bottom = max(y for _, y in cells) + 1
    assert set(cells) == {(x, y) for x in range(COLUMNS) for y in range(bottom)} and set(cells.values()) == {1}


# A real run


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine's own, loopback only, that reports metrics every second; gives where they are read."""
    ray = pytest.importorskip("ray")
    from interplay.cluster.connect import connect

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_metrics_report_interval_ms", "1000")
        assert connect(None, cpus=2)
        yield f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
        ray.shutdown()


def scrape(url):
    """Series of ours, as {(name, {tag: value})}."""
    with urllib.request.urlopen(url, timeout=10) as page:
        lines = page.read().decode().splitlines()
    found = {}
    for line in lines:
        if line.startswith("ray_interplay_"):
            parts = re.fullmatch(r"(\w+){(.*)} (\S+)", line)
            assert parts, line
            name, tags, value = parts.groups()
            tags = dict(re.findall(r'(\w+)="(.*?)"', tags))
            label = [tags[key] for key in ("phase", "player", "figure", "kind") if key in tags]
            key = (name.removeprefix("ray_interplay_"), tags["recipe"], tags["run"], tags["seed"], *label)
            assert key not in found
            found[key] = float(value)
    return found


def by_category(spans):
    found = defaultdict(list)
    for span in spans:
        found[span["cat"]].append(span)
    return found


def timeline(whole):
    """Ray's timeline, once it is whole: processes send their spans every second."""
    ray: Any = pytest.importorskip("ray")
    until = time.monotonic() + 20
    while not whole(by_category(spans := ray.timeline())) and time.monotonic() < until:
        pass
    return spans


@pytest.mark.timeout(240)
def test_prometheus_reads_what_the_run_did(cluster, tmp_path):
    """Two env actors, one of which is killed; another run of the same name beside it; and Ray's timeline of it all."""
    from interplay.cluster.streaming import RayRunner

    ray: Any = pytest.importorskip("ray")

    made, events, names, spans = experiment("coin", env_actors=2, staleness=1), [], [], []
    mine = ("test", "one", "3")
    runner, beside = RayRunner(made, "one"), RayRunner(experiment("exact"), "one")

    def watch(row):
        events.extend([row] if "event" in row else [])
        if row.get("update") == 2:
            pid: Any = pid_of(runner.hosts[1])
            os.kill(pid, signal.SIGKILL)
            beside.restore(None)
            names.extend(ray.util.list_named_actors(all_namespaces=True))
        if row.get("update") == 4:
            until = time.monotonic() + 30  # Ray forgets gauges that nobody sets
            while not (beat := scrape(cluster).get(("heartbeat_timestamp_seconds", *mine))) and time.monotonic() < until:
                time.sleep(0.5)
            assert beat and 0 <= time.time() - beat < 30
        if row.get("update") == 7:  # while there are actors to send their spans
            spans.extend(timeline(lambda spans: len(spans["task::update"]) == 7))

    _, summary, rows = train(tmp_path / "one", made, runner, watch)
    beside.close()
    assert [event["event"] for event in events] == ["EnvActor(tiles 2-3) was lost; another has played its round again"]
    kinds = ["EnvActor(tiles 0-1)", "EnvActor(tiles 2-3)", "Learner", "Learner", "MetaLearner", "MetaLearner"]
    assert sorted(actor["name"] for actor in names) == [f"one/{kind}" for kind in kinds]
    assert len({actor["namespace"] for actor in names}) == 2

    until = time.monotonic() + 30
    while (found := scrape(cluster)).get(("env_steps_total", *mine)) != summary["env_steps"] and time.monotonic() < until:
        time.sleep(0.5)
    assert found["env_steps_total", *mine] == summary["env_steps"] == 7 * 4 * 64 * 12
    assert found["updates_total", *mine] == 7
    assert found["env_actor_restarts_total", *mine] == 1 and ("checkpoint_falls_total", *mine) not in found
    for phase in ("act", "learn", "wait"):
        assert found["phase_seconds_total", *mine, phase] == pytest.approx(sum(row[f"time/{phase}"] for row in rows))
    assert found["trajectory_bytes_total", *mine] == sum(row["transfer/bytes"] for row in rows)
    assert rows[0]["transfer/bytes"] > 4 * 64 * 12 * 2 * (36 + 3 * 4)  # an observation of 36 planes and three numbers a player and step
    assert found["policy_lag_updates", *mine] == rows[-1]["lag"] == 0
    assert found["reward_per_game", *mine, "player_1"] == rows[-1]["reward_per_game/player_1"]
    assert found["figure", *mine, "ppo/entropy"] == rows[-1]["ppo/entropy"]

    of = by_category(spans)
    updates = of["task::update"]
    assert len(updates) == 7 and len(of["task::rollout (tiles 0-1)"]) == 7
    for update in updates:
        inside = [
            span
            for span in of["task:deserialize_arguments"]
            if (span["pid"], span["tid"]) == (update["pid"], update["tid"]) and 0 <= span["ts"] - update["ts"] < update["dur"]
        ]
        assert len(inside) == 1  # the transfer
