"""The run loop: ask, play, learn, tell; checkpoint; and go on from the last checkpoint when a worker is lost."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from interplay.cluster import checkpoint
from interplay.cluster.record import Recorder, RunFolder, tail_means, write
from interplay.cluster.runner import LocalRunner, Lost, Runner, RunState
from interplay.cluster.telemetry import Telemetry, exporter

PATIENCE = 10  # times that a run may fall back to the same checkpoint before it gives up

Watch = Callable[[dict[str, Any]], None]


def train(folder: RunFolder, runner: Runner, reference: dict[str, float], watch: Watch = lambda row: None) -> dict[str, Any]:
    """Run an experiment to its end, from its folder's last checkpoint; writes and returns the summary."""
    recorder = Recorder(folder)
    telemetry = Telemetry(folder, recorder.rows, watch, None if isinstance(runner, LocalRunner) else exporter)
    began = time.perf_counter()
    status = "interrupted"
    try:
        _segments(folder, runner, recorder, telemetry.watch)
        status = "finished"
    finally:
        recorder.close()
        runner.close()
        summary = summarise(folder, recorder, status, reference, recorder.before + time.perf_counter() - began)
    return summary


def summarise(folder: RunFolder, recorder: Recorder, status: str, reference: dict[str, float], seconds: float) -> dict[str, Any]:
    """Write `summary.json`."""
    last = recorder.rows[-1] if recorder.rows else {}
    summary = {
        "recipe": folder.recipe,
        "seed": folder.experiment.seed,
        "status": status,
        "updates": last.get("update", 0),
        "env_steps": last.get("env_steps", 0),
        "wall_clock_s": round(seconds, 3),
        "device": folder.experiment.run.device,
        "metrics": tail_means(recorder.rows, folder.experiment.run.tail),
        "reference": reference,
    }
    write(folder.path / "summary.json", summary)
    return summary


def _segments(folder: RunFolder, runner: Runner, recorder: Recorder, watch: Watch) -> None:
    """Play segment by segment; a checkpoint stands between each two."""
    experiment = folder.experiment
    total, every = experiment.run.updates * experiment.stages, experiment.run.checkpoint_every * experiment.stages
    start, falls = None, 0
    while start is None or start < total:
        try:
            if start is None:
                start = _begin(folder, runner, recorder, watch)
                continue
            end = min(total, (start // every + 1) * every)
            _segment(runner, recorder, folder, start, end, watch)
            _keep(folder, recorder, runner.state(end))
            start, falls = end, 0
        except Lost as loss:
            falls += 1
            if falls > PATIENCE:
                raise RuntimeError(
                    f"gave up after {PATIENCE} tries from one checkpoint; the last worker was lost because: {loss}"
                ) from loss
            start = None
            watch({"event": f"a worker was lost ({loss}); going on from the last checkpoint", "kind": "fall"})
            time.sleep(min(10.0, 0.5 * 2**falls))


def _begin(folder: RunFolder, runner: Runner, recorder: Recorder, watch: Watch) -> int:
    """Bring the runner to the last whole checkpoint; make the first one if there is none."""
    state, number = None, 0
    if checkpoint.numbers(folder.checkpoints):
        state, wrong = checkpoint.newest(folder.checkpoints)
        number = state.number
        for what in wrong:
            watch({"event": f"{what}; it is put aside, going on from checkpoint {number}"})
        checkpoint.drop(folder.checkpoints, number)
    runner.restore(state)
    recorder.rewind(number // folder.experiment.stages)
    if state is None:
        _keep(folder, recorder, runner.state(0))
    return number


def _keep(folder: RunFolder, recorder: Recorder, state: RunState) -> None:
    recorder.flush()
    checkpoint.save(folder.checkpoints, state)


def _segment(runner: Runner, recorder: Recorder, folder: RunFolder, start: int, end: int, watch: Watch) -> None:
    """Rounds start..end-1. Round r acts with version max(start, r - staleness), so rounds overlap with updates where that is allowed."""
    experiment = folder.experiment
    staleness, per_round = experiment.run.staleness, experiment.worlds * experiment.run.turns
    flying: deque[tuple[Any, Any]] = deque()
    issued, began = start, time.perf_counter()
    for number in range(start, end):
        while issued < end and issued <= number + staleness:
            tasks = runner.ask()
            flying.append((tasks, runner.play(issued, max(start, issued - staleness), tasks)))
            issued += 1
        tasks, handle = flying.popleft()
        metrics, outcomes = runner.learn(number, handle)
        runner.tell(tasks, outcomes)
        for text in runner.news():
            watch({"event": text, "kind": "restart"})
        if metrics:
            now = time.perf_counter()
            steps = (number + 1) * per_round
            row = experiment.metrics(metrics, outcomes) | {"speed/env_steps_per_s": per_round * experiment.stages / (now - began)}
            began = now
            watch(recorder.add((number + 1) // experiment.stages, steps, row) | {"in_flight": len(flying) + 1})
