"""Who may sit down at a table: `RUN`, a trained policy at its last checkpoint; `RUN@STEP`, at an earlier one; or a rule bot by name."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from interplay.cluster import checkpoint
from interplay.cluster.experiment_worlds import WorldExperiment
from interplay.cluster.record import RunFolder
from interplay.envs.core import UsageError, did_you_mean
from interplay.policies.hanabi_bots import BOTS, bot
from interplay.policies.player import Player


@dataclass(frozen=True)
class Entrant:
    """One of them.

    Attributes:
        name: as it was given.
        path: the run's folder; None for a bot.
        step: of the checkpoint; None for the last.
    """

    name: str
    path: Path | None = None
    step: int | None = None

    @property
    def label(self) -> str:
        """A short name."""
        return Path(self.name).name

    @property
    def folder(self) -> RunFolder:
        """The run."""
        assert self.path is not None
        return RunFolder.open(self.path)

    @property
    def experiment(self) -> WorldExperiment:
        """What was run."""
        made = self.folder.experiment
        if not isinstance(made, WorldExperiment):
            raise UsageError(f"{self.name} is a run of a {type(made).__name__}; allowed are runs in a registered world")
        return made

    @property
    def kind(self) -> str:
        """What it has in common with others of its kind that were trained apart: the recipe, and the step."""
        return self.name if self.path is None else self.folder.recipe + ("" if self.step is None else f"@{self.step}")

    @property
    def world(self) -> tuple[str, dict[str, Any]]:
        """The game that it was trained for, by the game's own rules, without what only some players see."""
        world = replace(self.experiment.scored().world, sad=False)
        return world.name, world.params()

    @property
    def sad(self) -> bool:
        """Whether it wants to see which move its partner thought best."""
        return self.path is not None and self.experiment.world.sad

    def player(self, greedy: bool) -> Player:
        """Who acts."""
        if self.path is None:
            return bot(self.name)
        experiment, folder = self.experiment, self.folder
        learner, found = experiment.learner(), experiment.judge()
        learner.load_state_dict(checkpoint.load(folder.checkpoints, self.step).learner)
        found.load(learner.policy())
        if greedy:
            found.greedy = True  # type: ignore[attr-defined]
        return found


def entrant(name: str) -> Entrant:
    """By its name; `UsageError` where there is no such run, step or bot."""
    if name in BOTS:
        return Entrant(name)
    run, _, step = name.rpartition("@")
    if run and step.isdigit() and not Path(name).exists():
        path, number = Path(run), int(step)
    else:
        path, number = Path(name), None
    if not path.exists():
        raise UsageError(f"{name!r} is neither a run folder nor a rule bot{did_you_mean(name, BOTS)}")
    there = checkpoint.numbers(RunFolder.open(path).checkpoints)
    if number is not None and number not in there:
        raise UsageError(f"{path} has no checkpoint {number}; allowed are {', '.join(map(str, there)) or 'none yet'}")
    return Entrant(name, path, number)
