"""`interplay sweep RECIPE`: a grid of settings by seeds, each a run of its own, placed by Ray Tune.

A trial is what `interplay train --local` does, in a process that Tune places: the same folder, the same bits. So a sweep that ends early
loses nothing: the same command skips what is finished, and goes on with what is not from its last checkpoint.
"""

import logging
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from interplay.cluster.experiment import Experiment
from interplay.cluster.recipe import Recipe
from interplay.cluster.recipes import RECIPES, recipe
from interplay.cluster.record import RunFolder
from interplay.cluster.sweep_grid import grid, replaced
from interplay.cluster.sweep_table import Sweep, finished, headline, show
from interplay.cluster.sweep_trial import line, run_trial
from interplay.cluster.sweep_watch import Watch
from interplay.cluster.training import FREE, changes, parse
from interplay.envs.core import UsageError, did_you_mean, whole

FACTOR = 4  # successive halving: of those that get to a rung, one in so many goes on; rungs are so many times further apart
LIVES = 2  # times that a trial may begin again, from its last checkpoint, because its process or node was lost
# Tune writes no files and no lines of its own; Ctrl-C ends it at once, which loses nothing; a metric may be missing from some rows.
TUNE = {name: "1" for name in ("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "TUNE_DISABLE_SIGINT_HANDLER", "TUNE_DISABLE_STRICT_METRIC_CHECKING")}
TUNE["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints even where it is asked to be silent


@dataclass(frozen=True)
class SweepOptions:
    """What is tried, and where.

    Attributes:
        seeds: of every setting, from --seed on.
        sets: FIELD=VALUE,VALUE,... of the recipe's flags, such as optim.lr=1e-3,3e-4. Given more than once, all combinations are tried.
            A value of several words: "network.hidden=64 64,128".
        out: the sweep's folder; by default sweeps/RECIPE-TIME. One that is there goes on: finished trials are skipped, new ones added.
            On a cluster it has to be a folder that every node sees.
        address: host:port of a running Ray head; by default a Ray of this machine's own, for the time of the sweep.
        cpus_per_trial: that a trial asks for.
        gpus_per_trial: that a trial asks for, with --run.device cuda; with 0.25 four share one.
        asha: the metric by which trials that do badly are stopped early (asynchronous successive halving, Li et al. 2020).
        grace: with --asha: updates before a trial may be stopped, then 4, 16, ... times as many; 0 for a sixteenth of all.
        metric: by which settings are ranked; by default that of --asha, else the recipe's main figure.
        mode: whether much or little of it is good.
        quiet: no progress and no table, only the last line.
    """

    seeds: int = 1
    sets: Annotated[tuple[str, ...], tyro.conf.arg(name="set"), tyro.conf.UseAppendAction] = ()
    out: Path | None = None
    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    asha: str | None = None
    grace: int = 0
    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    quiet: bool = False


def main(arguments: Sequence[str]) -> None:
    """Run a sweep; prints its folder as the last line. Exit code 1 where a trial failed, 130 after Ctrl-C."""
    if not arguments or arguments[0] in ("-h", "--help"):
        raise UsageError(
            f"sweep needs a recipe: interplay sweep RECIPE --seeds N --set FIELD=VALUE,VALUE [flags]{did_you_mean('', RECIPES)}"
        )
    name, flags = arguments[0], list(arguments[1:])
    about = recipe(name)
    options, experiment = parsed(name, about, flags)
    out = options.out or Path("sweeps") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names, trials = grid(name, experiment, options.sets, options.seeds, out)
    for trial in trials:
        check(trial.experiment, options)
    sweep = Sweep.open(out, name, names)
    todo = left(sweep, trials, options.asha is not None)
    try:
        if todo:
            play(sweep, todo, options, len(trials))
    except KeyboardInterrupt:
        if (out / "sweep.json").exists():
            sweep.save()
        again = flags if options.out else [*flags, "--out", str(out)]
        print(f"\nstopped; go on with: interplay sweep {shlex.join([name, *again])}", file=sys.stderr)
        print(out)
        raise SystemExit(130) from None
    rows = sweep.save()
    metric = headline(rows, sweep.names, about.reference, options.metric or options.asha)
    if not options.quiet:
        show(sweep, rows, metric, options.mode)
    print(out)
    failed = [row for row in rows if row["status"] == "failed"]
    if failed:
        print(f"interplay: {len(failed)} of {len(rows)} trials failed; {failed[0]['run']}: {failed[0]['error']}", file=sys.stderr)
        raise SystemExit(1)


def parsed(name: str, about: Recipe, arguments: Sequence[str]) -> tuple[SweepOptions, Experiment]:
    """The options, and the experiment with the overrides that all trials share."""
    options, experiment = parse(name, about.experiment, arguments, about, SweepOptions, "sweep")
    whole("--seeds", options.seeds, 1, 2**20)
    whole("--grace", options.grace, 0, 2**31)
    for flag, value in (("--cpus-per-trial", options.cpus_per_trial), ("--gpus-per-trial", options.gpus_per_trial)):
        if not 0 <= value < math.inf:
            raise UsageError(f"{flag} is {value}; allowed are numbers from 0")
    return options, experiment


def check(chosen: Experiment, options: SweepOptions) -> None:
    """All that is wrong with a trial; on a cluster but for devices, which are its nodes'."""
    try:
        gpu = torch.device(chosen.run.device).type == "cuda"
    except RuntimeError:
        gpu = False  # the check below says what is wrong with it
    if gpu != (options.gpus_per_trial > 0):
        raise UsageError(
            f"run.device is {chosen.run.device} with --gpus-per-trial {options.gpus_per_trial:g}; allowed are cpu with 0, cuda with more"
        )
    if chosen.run.learners > 1:
        raise UsageError(f"run.learners is {chosen.run.learners}; allowed is 1: a trial is one process")
    (replaced(chosen, "run.device", "cpu") if gpu and options.address else chosen).check()


def left(sweep: Sweep, trials: list[RunFolder], asha: bool) -> list[RunFolder]:
    """The trials that are not finished, nor stopped by successive halving that is on again; nothing is written.

    Raises:
        UsageError: a trial that is there was run with other settings than this sweep's.
    """
    free, there = {*FREE, "seed", *sweep.names}, {trial.path.name: trial for trial in sweep.trials()}
    for old in there.values():
        if other := [field for field in changes(old.experiment, trials[0].experiment) if field not in free]:
            raise UsageError(f"{old.path} differs in {', '.join(other)}; allowed are the same settings, those of --set, or a new --out")
    todo = []
    for trial in trials:
        old = there.get(trial.path.name)
        if old is None:
            todo.append(trial)
            continue
        more = trial.experiment.run.updates - old.experiment.run.updates
        if (other := [field for field in changes(old.experiment, trial.experiment) if field not in FREE]) or more < 0:
            raise UsageError(f"{old.path} differs in {', '.join(other) or 'run.updates'}; allowed is a new --out, or more --run.updates")
        if more or not (finished(old) or (asha and sweep.ends.get(old.path.name, ("",))[0] == "stopped")):
            todo.append(trial)
    return todo


def play(sweep: Sweep, todo: list[RunFolder], options: SweepOptions, count: int) -> None:
    """Run trials by Tune; those that fail or are stopped are noted in `sweep.ends`."""
    from interplay.cluster.connect import connect

    os.environ.update(TUNE)
    own = connect(options.address)
    import ray

    try:
        for what, asked in (("CPU", options.cpus_per_trial), ("GPU", options.gpus_per_trial)):
            if asked > (there := ray.cluster_resources().get(what, 0)):
                raise UsageError(
                    f"a trial asks for {asked:g} {what}s, and Ray has {there:g} in all; allowed is --{what.lower()}s-per-trial {there:g}"
                )
        sweep.begin()
        shutil.rmtree(sweep.path / ".tune", ignore_errors=True)  # of a sweep that was killed
        for trial in todo:
            sweep.ends.pop(trial.path.name, None)
            trial.path.mkdir(exist_ok=True)
            for stale in ("summary.json", "error.txt"):
                (trial.path / stale).unlink(missing_ok=True)
            trial.write_config()
        if not options.quiet:
            print(f"{sweep.recipe}: {len(todo)} of {count} trials to run, folder {sweep.path}", file=sys.stderr)
        _tune(sweep, todo, options)
    except KeyboardInterrupt:
        own = True  # trials live as long as this process stays connected
        raise
    finally:
        if own:
            ray.shutdown()
        shutil.rmtree(sweep.path / ".tune", ignore_errors=True)


def _tune(sweep: Sweep, todo: list[RunFolder], options: SweepOptions) -> None:
    """The trials as Tune sees them: each a path, and what it reports."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    updates = max(trial.experiment.run.updates for trial in todo)
    grace, scheduler = min(options.grace or max(1, updates // FACTOR**2), updates), None
    if options.asha:  # at `max_t` Tune stops a trial, which is to end by itself
        scheduler = ASHAScheduler("update", options.asha, options.mode, updates + 1, grace, FACTOR)
    rungs = [grace * FACTOR**k for k in range(32) if grace * FACTOR**k <= updates] if options.asha else []
    space = {"path": tune.grid_search([str(trial.path.resolve()) for trial in todo]), "metric": options.asha, "rungs": rungs}
    called = {"trial_name_creator": lambda trial: Path(trial.config["path"]).name, "trial_dirname_creator": lambda trial: trial.trial_id}
    with Watch(todo, options.quiet) as watch:
        found = tune.Tuner(
            tune.with_resources(run_trial, {"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial}),
            param_space=space,
            tune_config=tune.TuneConfig(scheduler=scheduler, reuse_actors=True, **called),
            run_config=tune.RunConfig(
                name=".tune",
                storage_path=str(sweep.path.resolve()),
                verbose=0,
                callbacks=[watch.callback()],
                failure_config=tune.FailureConfig(max_failures=LIVES),
            ),
        ).fit()
    for result in found:
        path = Path((result.config or {})["path"])
        metrics = result.metrics or {}
        if "failed" in metrics:
            sweep.ends[path.name] = ("failed", metrics["failed"])
        elif result.error is not None:
            sweep.ends[path.name] = ("failed", line(result.error))
        elif not finished(RunFolder.open(path)):
            sweep.ends[path.name] = ("stopped", "")
