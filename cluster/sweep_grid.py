"""The grid of a sweep: lists of values read as the recipe's flags are, and all their combinations by seeds as runs."""

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from interplay.cluster.experiment import Experiment
from interplay.cluster.record import RunFolder
from interplay.cluster.sweep_table import label
from interplay.envs.core import UsageError, did_you_mean, whole


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


def grid(name: str, experiment: Experiment, sets: Sequence[str], seeds: int, out: Path) -> tuple[list[str], list[RunFolder]]:
    """Names of the fields that are swept, and the trials, none of them made yet: the product of all values, for each seed.

    The first seed of every setting comes before any second one, so that what is there early covers the whole grid.
    """
    lists = [choices(text, kinds(experiment)) for text in sets]
    names = [field for field, _ in lists]
    if len(set(names)) < len(names):
        raise UsageError(f"--set names a field twice ({', '.join(names)}); allowed is FIELD=VALUE,VALUE,... once for each")
    whole("--seed", experiment.seed, 0, 2**32 - seeds)
    trials = []
    for seed in range(experiment.seed, experiment.seed + seeds):
        for values in itertools.product(*(values for _, values in lists)):
            chosen = replaced(experiment, "seed", seed)
            for field_name, value in zip(names, values, strict=True):
                chosen = replaced(chosen, field_name, value)
            called = [f"{field}={label(value)}" for field, value in zip(names, values, strict=True)]
            trials.append(RunFolder(out / ",".join([*called, f"seed={seed}"]).replace("/", "_"), name, chosen))
    return names, trials
