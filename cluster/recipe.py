"""What a recipe is: a named experiment, with its paper, what it should reach, and what it costs."""

from dataclasses import dataclass, field

from interplay.cluster.experiment import Experiment


@dataclass(frozen=True)
class Recipe:
    """A named experiment.

    Attributes:
        title: one line.
        paper: who proposed it.
        expects: what it reaches.
        cost: on two CPU cores.
        experiment: what is run.
        reference: published or measured figures to put beside the run's.
    """

    title: str
    paper: str
    expects: str
    cost: str
    experiment: Experiment
    reference: dict[str, float] = field(default_factory=dict)


def pair(value: float) -> dict[str, float]:
    """Reference figures where both players earn the same."""
    return {"reward_per_step/player_0": value, "reward_per_step/player_1": value}
