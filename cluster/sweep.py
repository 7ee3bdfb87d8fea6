"""`interplay sweep RECIPE`: a grid of settings by seeds, each a run of its own, placed by Ray Tune.

A trial is what `interplay train --local` does, in a process that Tune places: the same folder, the same bits. So a sweep that ends early
loses nothing: the same command skips what is finished, and goes on with what is not from its last checkpoint.
"""

import contextlib
import dataclasses
import io
import itertools
import logging
import math
import os
import shlex
import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import torch
import tyro
from rich.console import Console
from rich.progress import Progress

from interplay.cluster.experiment import Experiment
from interplay.cluster.panel import PLAIN_EVERY
from interplay.cluster.recipe import Recipe
from interplay.cluster.recipes import RECIPES, recipe
from interplay.cluster.record import COUNTERS, RunFolder, tail_means
from interplay.cluster.sweep_table import Sweep, finished, headline, label, show
from interplay.cluster.training import FREE, changes
from interplay.envs.core import UsageError, did_you_mean, whole

EVERY = 3.0  # seconds between what a trial reports to Tune
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
    options, experiment = parse(name, about, flags)
    out = options.out or Path("sweeps") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    names, trials = grid(name, experiment, options, out)
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


def parse(name: str, about: Recipe, arguments: Sequence[str]) -> tuple[SweepOptions, Experiment]:
    """The options, and the experiment with the overrides that all trials share."""
    flat = tyro.conf.arg(name="")
    fields = [
        ("options", Annotated[SweepOptions, flat], field(default=SweepOptions())),
        ("experiment", Annotated[type(about.experiment), flat], field(default=about.experiment)),
    ]
    command = dataclasses.make_dataclass("Sweep", fields, frozen=True)
    text = f"A grid of settings by seeds: {about.title}\n\nCost of a run on two cores: {about.cost}"
    found: Any = tyro.cli(command, prog=f"interplay sweep {name}", args=list(arguments), description=text)
    options = found.options
    whole("--seeds", options.seeds, 1, 2**20)
    whole("--grace", options.grace, 0, 2**31)
    for flag, value in (("--cpus-per-trial", options.cpus_per_trial), ("--gpus-per-trial", options.gpus_per_trial)):
        if not 0 <= value < math.inf:
            raise UsageError(f"{flag} is {value}; allowed are numbers from 0")
    return options, found.experiment


def kinds(experiment: Any, path: str = "") -> dict[str, Any]:
    """Types of all fields of a nested dataclass, by dotted name; without the seed, which a sweep counts up itself."""
    hints, found = get_type_hints(type(experiment)), {}
    for f in dataclasses.fields(experiment):
        value, name = getattr(experiment, f.name), f"{path}{f.name}"
        found |= kinds(value, f"{name}.") if dataclasses.is_dataclass(value) else {name: hints[f.name]}
    return {name: kind for name, kind in found.items() if name != "seed"}


def choices(text: str, known: dict[str, Any]) -> tuple[str, list[Any]]:
    """`FIELD=VALUE,VALUE` as the field's dotted name and its values, read as the flag of that name would be.

    Raises:
        UsageError: no such field, a value of another type, or one that is given twice.
    """
    name, equals, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not values:
        raise UsageError(f"--set is {text!r}; allowed is FIELD=VALUE,VALUE,... such as optim.lr=1e-3,3e-4")
    if name == "seed":
        raise UsageError("--set seed: seeds are counted up from --seed; allowed are --seeds N and --seed FIRST")
    if name not in known:
        raise UsageError(f"--set {name}: there is no such field{did_you_mean(name, known)}")
    found = [_read(name, known[name], value) for value in values.split(",")]
    if len({label(value) for value in found}) < len(found):
        raise UsageError(f"--set {text}: a value is given twice; allowed is each once")
    return name, found


def _read(name: str, kind: Any, text: str) -> Any:
    """One value."""
    words = [text.strip().capitalize()] if kind is bool else text.split()
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            return tyro.cli(kind, args=words, console_outputs=False)
    except SystemExit:
        allowed = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        raise UsageError(f"--set {name}: {text!r} is no value of it; allowed is {allowed}") from None


def replaced(config: Any, name: str, value: Any) -> Any:
    """A nested frozen dataclass with the field of that dotted name replaced."""
    head, _, rest = name.partition(".")
    return dataclasses.replace(config, **{head: replaced(getattr(config, head), rest, value) if rest else value})


def grid(name: str, experiment: Experiment, options: SweepOptions, out: Path) -> tuple[list[str], list[RunFolder]]:
    """Names of the fields that are swept, and the trials, none of them made yet: the product of all values, for each seed.

    The first seed of every setting comes before any second one, so that what is there early covers the whole grid.
    """
    lists = [choices(text, kinds(experiment)) for text in options.sets]
    names = [field for field, _ in lists]
    if len(set(names)) < len(names):
        raise UsageError(f"--set names a field twice ({', '.join(names)}); allowed is FIELD=VALUE,VALUE,... once for each")
    whole("--seed", experiment.seed, 0, 2**32 - options.seeds)
    trials = []
    for seed in range(experiment.seed, experiment.seed + options.seeds):
        for values in itertools.product(*(values for _, values in lists)):
            chosen = replaced(experiment, "seed", seed)
            for field_name, value in zip(names, values, strict=True):
                chosen = replaced(chosen, field_name, value)
            check(chosen, options)
            called = [f"{field}={label(value)}" for field, value in zip(names, values, strict=True)]
            trials.append(RunFolder(out / ",".join([*called, f"seed={seed}"]).replace("/", "_"), name, chosen))
    return names, trials


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
            sweep.ends[path.name] = ("failed", _line(result.error))
        elif not finished(RunFolder.open(path)):
            sweep.ends[path.name] = ("stopped", "")


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
        tune.report({name: row[name] for name in COUNTERS if name in row} | means)

    try:
        folder = RunFolder.open(Path(config["path"]))
        recent = deque[dict[str, Any]](maxlen=folder.experiment.run.tail)
        train(folder, LocalRunner(folder.experiment), recipe(folder.recipe).reference, watch)
    except Exception as error:
        with contextlib.suppress(OSError):
            (Path(config["path"]) / "error.txt").write_text(traceback.format_exc())
        return {"failed": _line(error)}
    return {}


def _line(error: BaseException) -> str:
    """The first line of an error."""
    first = (str(error).strip() or "no words").splitlines()[0]
    return first if isinstance(error, UsageError) else f"{type(error).__name__}: {first}"


class Watch:
    """What a person sees of a sweep: a bar in a terminal, plain lines elsewhere. Use as a context."""

    def __init__(self, todo: list[RunFolder], quiet: bool) -> None:
        self.updates = {str(trial.path.resolve()): 0 for trial in todo}
        self.total = sum(trial.experiment.run.updates for trial in todo)
        self.ended, self.last, self.quiet = 0, 0.0, quiet
        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True) if console.is_terminal and not quiet else None

    def __enter__(self) -> "Watch":
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task("updates", total=self.total)
        return self

    def __exit__(self, *details: Any) -> None:
        if self.bar:
            self.bar.stop()

    def see(self, path: str, update: int, ended: bool) -> None:
        """A trial has got to an update, or has ended."""
        self.updates[path], self.ended = max(self.updates[path], update), self.ended + ended
        done, text = sum(self.updates.values()), f"{self.ended}/{len(self.updates)} trials ended"
        if self.bar:
            self.bar.update(self.task, completed=done, description=text)
        elif not self.quiet and time.perf_counter() - self.last > PLAIN_EVERY:
            self.last = time.perf_counter()
            print(f"{text}, {done}/{self.total} updates", file=sys.stderr, flush=True)

    def callback(self) -> Any:
        """What Tune calls."""
        from ray import tune

        see = self.see

        class Seen(tune.Callback):
            def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
                see(trial.config["path"], int(result.get("update", 0)), False)

            def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                see(trial.config["path"], 0, True)

            def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                see(trial.config["path"], 0, True)

        return Seen()
