"""The ladder of Off-Belief Learning (Hu et al. 2021): each level is learned against a belief about the play of the one below.

Stages are counted in pairs: stage 2 (k - 1) trains the policy of level k, the next one the belief about that policy's play, from which
level k + 1 is trained. Level 1 needs no learned belief: below it everybody moves at random.
"""

from dataclasses import dataclass
from typing import Any

from interplay.learners.core import Task


@dataclass(frozen=True)
class LevelsConfig:
    """When a stage is over.

    Attributes:
        levels: how many.
        policy, belief: updates of a policy's and of a belief's stage, at most.
        window, gain: a policy has converged when its score, averaged over `window` updates, is not higher by `gain` than it was over the
            `window` before; 0 for never.
    """

    levels: int = 1
    policy: int = 1000
    belief: int = 300
    window: int = 0
    gain: float = 0.0


class Levels:
    """A meta-learner that asks for one stage after the other, and in the end goes on with the last."""

    def __init__(self, config: LevelsConfig) -> None:
        self.config, self.stage, self.rounds, self.scores = config, 0, 0, list[float]()  # the last two windows

    def ask(self, n: int) -> list[Task]:
        """The same stage for all tiles."""
        return [Task(options={"stage": self.stage})] * n

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """Count what belongs to this stage; where rounds overlap, late ones of the stage before may still arrive."""
        if tasks[0].options["stage"] != self.stage:
            return
        self.rounds += 1
        score = sum(outcome["score"] for outcome in outcomes) / len(outcomes)
        self.scores = [*self.scores, score][-2 * self.config.window :] if self.config.window else []
        if self.stage < 2 * (self.config.levels - 1) and self.done():
            self.stage, self.rounds, self.scores = self.stage + 1, 0, []

    def done(self) -> bool:
        """Whether this stage is over."""
        c, scores = self.config, self.scores
        if self.stage % 2:
            return self.rounds >= c.belief
        converged = c.window > 0 and len(scores) == 2 * c.window and sum(scores[c.window :]) - sum(scores[: c.window]) < c.gain * c.window
        return converged or self.rounds >= c.policy

    def state_dict(self) -> dict[str, Any]:
        """The stage, how long it has lasted, and its last scores."""
        return {"stage": self.stage, "rounds": self.rounds, "scores": list(self.scores)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on."""
        self.stage, self.rounds, self.scores = int(state["stage"]), int(state["rounds"]), list(state["scores"])
