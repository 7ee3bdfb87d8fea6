"""`interplay train`: from the command line to a run folder."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tyro

from interplay.cluster.experiment import Experiment
from interplay.cluster.recipe import Recipe
from interplay.cluster.recipes import RECIPES, recipe
from interplay.cluster.record import RunFolder
from interplay.cluster.transport import transport
from interplay.envs.core import UsageError, did_you_mean

# What may differ from the stored config when a run is resumed: it changes where and how long, not what.
FREE = (
    "run.updates",
    "run.env_actors",
    "run.learn_threads",
    "run.device",
    "run.env_labels",
    "run.learner_labels",
    "run.env_gpus",
    "run.learner_gpus",
    "run.transport",
    "run.patience",
)


@dataclass(frozen=True)
class Options:
    """Where a run happens.

    Attributes:
        run_dir: the run's folder, new or empty; by default runs/RECIPE-TIME-seedN.
        local: everything in this process, without Ray.
        address: host:port of a running Ray head; by default a Ray of this machine's own, for the time of the run.
        resume: a run folder to go on with, from its last checkpoint.
        quiet: no progress, only the last line.
    """

    run_dir: Path | None = None
    local: bool = False
    address: str | None = None
    resume: Path | None = None
    quiet: bool = False


def parse(
    name: str, experiment: Experiment, arguments: Sequence[str], about: Recipe, kind: Any = Options, command: str = "train"
) -> tuple[Any, Experiment]:
    """The options of a command, of class `kind`, and the experiment with the overrides of the command line."""
    flat = tyro.conf.arg(name="")
    fields = [
        ("options", Annotated[kind, flat], field(default=kind())),
        ("experiment", Annotated[type(experiment), flat], field(default=experiment)),  # type: ignore[misc]
    ]
    form: Any = dataclasses.make_dataclass("Flags", fields, frozen=True)
    text = f"{about.title}\n\nPaper: {about.paper}\n\nExpected: {about.expects}\n\nCost on two cores: {about.cost}"
    found = tyro.cli(form, prog=f"interplay {command} {name}", args=list(arguments), description=text)
    return found.options, found.experiment


def resumed(arguments: Sequence[str]) -> Path | None:
    """The folder after `--resume`, if there is one (read before all else: its config is the overrides' default)."""
    for k, word in enumerate(arguments):
        if word == "--resume" and k + 1 < len(arguments):
            return Path(arguments[k + 1])
        if word.startswith("--resume="):
            return Path(word.partition("=")[2])
    return None


def changes(before: Any, after: Any, path: str = "") -> list[str]:
    """Dotted names of the fields in which two configs differ."""
    found = []
    for f in dataclasses.fields(before):
        old, new, name = getattr(before, f.name), getattr(after, f.name), f"{path}{f.name}"
        if dataclasses.is_dataclass(old):
            found += changes(old, new, f"{name}.")
        elif old != new:
            found.append(name)
    return found


def prepare(arguments: Sequence[str]) -> tuple[RunFolder, Recipe, Options]:
    """Everything that can be wrong with a command is found here, before anything is started or written."""
    if not arguments or arguments[0] in ("-h", "--help"):
        raise UsageError(f"train needs a recipe: interplay train RECIPE [flags]{did_you_mean('', RECIPES)}")
    name, flags = arguments[0], arguments[1:]
    about, experiment = recipe(name), recipe(name).experiment
    earlier = resumed(flags)
    if earlier is not None:
        stored = RunFolder.open(earlier)
        if stored.recipe != name:
            raise UsageError(
                f"{earlier} is a run of {stored.recipe}, not of {name}; allowed is interplay train {stored.recipe} --resume {earlier}"
            )
        experiment = stored.experiment
    options, chosen = parse(name, experiment, flags, about)
    chosen.check()
    if options.local and options.address:
        raise UsageError("--local and --address exclude each other: a local run needs no Ray")
    transport(chosen.run)
    if options.local and chosen.run.learners > 1:
        raise UsageError(f"run.learners is {chosen.run.learners} with --local; allowed is 1 in one process, or a run over Ray")
    if earlier is None:
        place = options.run_dir or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-seed{chosen.seed}"
        return RunFolder.create(place, name, chosen), about, options
    return _reopen(earlier, name, experiment, chosen, options), about, options


def _reopen(path: Path, name: str, stored: Experiment, chosen: Experiment, options: Options) -> RunFolder:
    """A run folder to go on with; refuses changes that would make it another run."""
    from interplay.cluster import checkpoint

    if options.run_dir is not None:
        raise UsageError("--resume and --run-dir exclude each other: a resumed run stays in its folder")
    other = [field for field in changes(stored, chosen) if field not in FREE]
    if other:
        raise UsageError(f"--resume {path}: {', '.join(other)} differ from the run's config; allowed to change are {', '.join(FREE)}")
    folder = RunFolder(path, name, chosen)
    done = checkpoint.newest(folder.checkpoints)[0].number // chosen.stages
    if done >= chosen.run.updates:
        raise UsageError(f"{path} is finished ({done} updates); to go on, raise --run.updates above {done}")
    folder.write_config()
    return folder


def main(arguments: Sequence[str]) -> None:
    """Run a recipe; prints the run folder as the last line."""
    folder, about, options = prepare(arguments)
    from interplay.cluster.panel import Panel, report
    from interplay.cluster.run import train

    panel = Panel(folder, about, options.quiet)
    try:
        runner = make_runner(folder, options)
    except UsageError:
        _forget(folder, options)
        raise
    try:
        with panel:
            summary = train(folder, runner, about.reference, panel.watch)
    except KeyboardInterrupt:
        _stopped(folder, "\nstopped", 130)
    if summary["status"] != "finished":
        _stopped(folder, f"stopped by SIGTERM after update {summary['updates']}, with a checkpoint", 143)
    if not options.quiet:
        report(summary, folder)
    print(folder.path)


def _stopped(folder: RunFolder, how: str, code: int) -> NoReturn:
    print(f"{how}; go on with: interplay train {folder.recipe} --resume {folder.path}", file=sys.stderr)
    print(folder.path)
    raise SystemExit(code)


def make_runner(folder: RunFolder, options: Options) -> Any:
    """The local runner, or one over Ray."""
    if options.local:
        from interplay.cluster.runner import LocalRunner

        return LocalRunner(folder.experiment)
    from interplay.cluster.connect import connect
    from interplay.cluster.streaming import RayRunner

    connect(options.address)
    return RayRunner(folder.experiment, folder.path.resolve().name)


def _forget(folder: RunFolder, options: Options) -> None:
    """Take back a folder in which nothing has happened yet."""
    if options.resume is None:
        (folder.path / "config.json").unlink(missing_ok=True)
        folder.path.rmdir()
