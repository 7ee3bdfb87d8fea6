"""A trial of a sweep, as Tune runs it: a run folder that is trained in one process."""

import contextlib
import math
import time
from collections import deque
from pathlib import Path
from typing import Any

from interplay.cluster.recipes import recipe
from interplay.cluster.record import COUNTERS, Recorder, RunFolder, tail_means
from interplay.envs.core import UsageError, did_you_mean

EVERY = 3.0  # seconds between what a trial reports to Tune


def run_trial(config: dict[str, Any]) -> dict[str, Any]:
    """One trial, in a process of Tune's: goes on where its folder says. What fails in it would fail again, so Tune gets it in words.

    Args:
        config: "path" of its run folder; "metric" that has to be there, and the "rungs" (numbers of updates) at which, for halving.
    """
    import traceback

    from ray import tune

    from interplay.cluster.run import train
    from interplay.cluster.runner import LocalRunner

    told = {"at": -math.inf, "update": 0}

    def watch(row: dict[str, Any]) -> None:
        if "event" in row:
            return
        recent.append(row)
        rung = any(told["update"] < at <= row["update"] for at in config["rungs"])
        if not rung and row["update"] < folder.experiment.run.updates and time.monotonic() - told["at"] < EVERY:
            return
        told.update(at=time.monotonic(), update=row["update"])
        means = tail_means(list(recent), len(recent))
        if rung and config["metric"] not in means:
            raise UsageError(f"--asha {config['metric']}: there is no such metric{did_you_mean(config['metric'], means)}")
        if rung:
            recorder.flush()  # it may be stopped here, in the midst of anything
        tune.report({name: row[name] for name in COUNTERS if name in row} | means)

    try:
        folder = RunFolder.open(Path(config["path"]))
        recent = deque[dict[str, Any]](maxlen=folder.experiment.run.tail)
        recorder = Recorder(folder)
        train(folder, LocalRunner(folder.experiment), recipe(folder.recipe).reference, watch, recorder)
    except Exception as error:
        with contextlib.suppress(OSError):
            (Path(config["path"]) / "error.txt").write_text(traceback.format_exc())
        return {"failed": line(error)}
    return {}


def line(error: BaseException) -> str:
    """The first line of an error."""
    first = (str(error).strip() or "no words").splitlines()[0]
    return first if isinstance(error, UsageError) else f"{type(error).__name__}: {first}"
