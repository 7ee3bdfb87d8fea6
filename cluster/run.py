"""The run loop: ask, play, learn, tell; checkpoint; and go on from the last checkpoint when a worker is lost.

It stops between two updates when it is asked to (SIGTERM), and when the actors should be placed anew: rounds in flight are learned from, a
checkpoint is written, and the run ends there, or goes on from there.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from interplay.cluster import checkpoint
from interplay.cluster.experiment import Experiment
from interplay.cluster.record import Recorder, RunFolder, tail_means, write
from interplay.cluster.runner import LocalRunner, Lost, Runner, RunState
from interplay.cluster.telemetry import Telemetry, exporter
from interplay.envs.core import UsageError

PATIENCE = 10  # times that a run may fall back to the same checkpoint before it gives up

Watch = Callable[[dict[str, Any]], None]


class Notice:
    """Whether the run has been asked to stop at the next update."""

    given = False


@contextmanager
def notice() -> Iterator[Notice]:
    """Hears SIGTERM, as spot nodes and schedulers send it before they take a machine away. Only the main thread can."""
    found = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = signal.signal(signal.SIGTERM, lambda *_: setattr(found, "given", True))
    try:
        yield found
    finally:
        signal.signal(signal.SIGTERM, before)


def train(
    folder: RunFolder,
    runner: Runner,
    reference: dict[str, float],
    watch: Watch = lambda row: None,
    recorder: Recorder | None = None,
) -> dict[str, Any]:
    """Run an experiment to its end, from its folder's last checkpoint; writes and returns the summary.

    `recorder` is the folder's, where somebody else wants to have its rows written too.
    """
    recorder = recorder or Recorder(folder)
    telemetry = Telemetry(folder, recorder.rows, watch, None if isinstance(runner, LocalRunner) else exporter)
    began, status, failed = time.perf_counter(), "interrupted", True
    try:
        with notice() as stop, telemetry:
            if _segments(folder, runner, recorder, telemetry.watch, stop):
                status = "finished"
        failed = False
    finally:
        runner.close()
        try:
            recorder.close()
            summary = summarise(folder, recorder, status, reference, recorder.before + time.perf_counter() - began)
        except OSError as error:
            summary = {}
            if not failed:
                raise _unwritable(folder, error) from error
    return summary


def _unwritable(folder: RunFolder, error: OSError) -> UsageError:
    done = checkpoint.numbers(folder.checkpoints)
    last = f"checkpoint {done[-1]} is whole" if done else "there is no checkpoint yet"
    return UsageError(f"{folder.path} cannot be written ({error.strerror or error}); {last}: make room, then --resume {folder.path}")


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


def _segments(folder: RunFolder, runner: Runner, recorder: Recorder, watch: Watch, stop: Notice) -> bool:
    """Play segment by segment; a checkpoint stands between each two. Returns whether the run is finished, and not only stopped."""
    experiment = folder.experiment
    total, every = experiment.run.updates * experiment.stages, experiment.run.checkpoint_every * experiment.stages
    start, falls, settle = None, 0, Settle(runner, total, stop)
    while start is None or start < total:
        try:
            if start is None:
                start = _begin(folder, runner, recorder, watch)
                continue
            end = _segment(runner, recorder, folder, start, min(total, (start // every + 1) * every), watch, settle)
            state = runner.state(end)
            _keep(folder, recorder, state)
            start, falls = end, 0
            if stop.given:
                break
            if settle.why:
                watch({"event": f"{settle.why}: checkpoint {end} is written, actors are placed anew", "kind": "placement"})
                settle.why = ""
                runner.restore(state)
        except Lost as loss:
            falls += 1
            if falls > PATIENCE:
                raise RuntimeError(
                    f"gave up after {PATIENCE} tries from one checkpoint; the last worker was lost because: {loss}"
                ) from loss
            start = None
            if stop.given:
                recorder.rewind(max(checkpoint.numbers(folder.checkpoints), default=0) // experiment.stages)
                break
            watch({"event": f"a worker was lost ({loss}); going on from the last checkpoint", "kind": "fall"})
            time.sleep(min(10.0, 0.5 * 2**falls))
    return start == total


@dataclass
class Settle:
    """Asks after every round whether the segment should end here."""

    runner: Runner
    total: int
    stop: Notice
    why: str = ""

    def __call__(self, number: int) -> bool:
        """Whether the run was asked to stop, or its actors should be placed anew, after `number` rounds."""
        self.why = self.why or self.runner.unsettled(self.total - number)
        return self.stop.given or bool(self.why)


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
    try:
        recorder.flush()
        checkpoint.save(folder.checkpoints, state)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _segment(runner: Runner, recorder: Recorder, folder: RunFolder, start: int, end: int, watch: Watch, settle: Settle) -> int:
    """Rounds from `start`, to `end` or to where the segment should end sooner; returns how many have been played then."""
    experiment = folder.experiment
    per_round, began, number = experiment.worlds * experiment.run.turns, time.perf_counter(), start
    for done in rounds(runner, experiment, start, end, settle):
        number = done.number + 1
        for text in runner.news():
            watch({"event": text, "kind": "restart"})
        if done.metrics:
            now = time.perf_counter()
            row = experiment.metrics(done.metrics, done.outcomes) | {"speed/env_steps_per_s": per_round * experiment.stages / (now - began)}
            began = now
            watch(recorder.add(number // experiment.stages, number * per_round, row) | {"in_flight": done.flying + 1})
    return number


@dataclass
class Round:
    """A round that has been learned from.

    Attributes:
        number: which.
        metrics: the learner's; empty before an update is whole.
        outcomes: of the tiles.
        flying: rounds that have been asked for and not been learned from.
    """

    number: int
    metrics: dict[str, float]
    outcomes: list[dict[str, Any]]
    flying: int


def rounds(
    runner: Runner, experiment: Experiment, start: int, end: int, last: Callable[[int], bool] = lambda number: False
) -> Iterator[Round]:
    """Rounds start ... end - 1. Round r acts with version max(start, r - staleness), so rounds overlap with updates where that is allowed.

    After `last(number of rounds)` no more of them are begun, and the segment ends with those in flight, where an update is whole.
    """
    staleness, flying = experiment.run.staleness, deque[tuple[Any, Any]]()
    issued = number = start
    while number < end:
        while issued < end and issued <= number + staleness:
            tasks = runner.ask()
            flying.append((tasks, runner.play(issued, max(start, issued - staleness), tasks)))
            issued += 1
        tasks, handle = flying.popleft()
        metrics, outcomes = runner.learn(number, handle)
        runner.tell(tasks, outcomes)
        yield Round(number, metrics, outcomes, len(flying))
        number += 1
        if last(number):
            end = min(end, -(-issued // experiment.stages) * experiment.stages)
