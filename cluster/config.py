"""`config.json`: an experiment as plain data, and back."""

from dataclasses import asdict, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from interplay.cluster.experiment import Experiment
from interplay.cluster.experiment_fruit import FruitExperiment
from interplay.cluster.experiment_ladder import LadderExperiment
from interplay.cluster.experiment_obl import OBLExperiment
from interplay.cluster.experiment_shaping import DiceExperiment, ExactExperiment, MfosExperiment
from interplay.cluster.experiment_ued import UEDExperiment
from interplay.cluster.experiment_worlds import PPOExperiment, QExperiment
from interplay.envs.core import UsageError

KINDS = (
    PPOExperiment,
    QExperiment,
    OBLExperiment,
    UEDExperiment,
    FruitExperiment,
    LadderExperiment,
    MfosExperiment,
    DiceExperiment,
    ExactExperiment,
)


def to_json(experiment: Experiment) -> dict[str, Any]:
    """As plain data, with the name of its class."""
    return {"kind": type(experiment).__name__, **asdict(experiment)}


def from_json(data: dict[str, Any]) -> Experiment:
    """Back from `to_json`; `UsageError` where the data do not fit."""
    kinds = {c.__name__: c for c in KINDS}
    data = dict(data)
    kind = data.pop("kind", None)
    if kind not in kinds:
        raise UsageError(f"config.json: kind is {kind!r}; allowed are {', '.join(kinds)}")
    try:
        return _build(kinds[kind], data)
    except (TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"config.json does not describe a {kind}: {error}") from None


def _build(kind: Any, data: Any) -> Any:
    """A nested dataclass from nested dictionaries."""
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{name: _build(hints[name], value) for name, value in data.items()})
    if get_origin(kind) is tuple and isinstance(data, list):
        return tuple(_build(get_args(kind)[0], x) for x in data)
    return data
