"""The teacher of PAIRED and its kin as one who acts: it builds the levels that students then play."""

from collections.abc import Callable

from torch import Tensor

from interplay.envs.engine import Batch
from interplay.policies.player import NetworkPlayer
from interplay.policies.rollout import rollout
from interplay.policies.trajectory import Trajectory

BUILT = 1  # the stage of a trajectory that is a teacher's


class Architect:
    """Builds levels in worlds of its own.

    Args:
        worlds: a batch of builders' worlds (`envs.maze_builder`), one a level.
        player: the teacher.
        steps: pieces of a level.
        finished: the levels `[N, bytes]` of worlds in which all pieces are placed.
    """

    def __init__(self, worlds: Batch, player: NetworkPlayer, steps: int, finished: Callable[[Batch], Tensor]) -> None:
        self.worlds, self.player, self.steps, self.finished = worlds, player, steps, finished

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over the teacher's part of `{..., "teacher.flat": [1, D]}`."""
        self.player.load({"flat": weights["teacher.flat"]})

    def build(self, number: int) -> tuple[Tensor, Trajectory]:
        """The levels of round `number`, and the play that built them; what they are worth is not known yet (`pay`)."""
        self.worlds.reset()
        play, _ = rollout(self.worlds, self.player, self.steps, number * self.steps, self.player.start(self.worlds))
        return self.finished(self.worlds), play

    @staticmethod
    def pay(play: Trajectory, worth: Tensor) -> None:
        """A building ends with its last piece, and is paid then: `worth` `[N]`."""
        play.reward[-1] = worth.unsqueeze(1)
        play.terminated[-1] = True
        play.stage = BUILT


def regret(best: Tensor, mean: Tensor) -> Tensor:
    """What students have missed `[L]` (Dennis et al. 2020): of the best and the mean returns `[S, L]` of S students on L levels.

        two students:   max_ret(antagonist, the second) - mean_ret(protagonist, the first)
        more:           the best of all - the mean of all  (population PAIRED)

    Never below 0.
    """
    missed = best[1] - mean[0] if len(best) == 2 else best.amax(0) - mean.mean(0)
    return missed.clamp(min=0)


def hardship(best: Tensor, mean: Tensor) -> Tensor:
    """What a minimax adversary earns `[L]`: minus the students' mean return."""
    return -mean.mean(0)
