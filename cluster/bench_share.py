"""`python -m interplay.cluster.bench_share RECIPE`: where the time of training goes, in this process.

The world's share is what the engine takes (rules, observations, resets), the policy's the rest of acting, the learner's the rest.
"""

import sys
import time
from typing import Any

import torch

from interplay.cluster.experiment import Experiment, threads
from interplay.cluster.recipes import recipe
from interplay.cluster.runner import LocalRunner
from interplay.cluster.tiles import Played


class Clock:
    """Seconds spent in functions that it wraps; on a GPU it waits for them to be done."""

    def __init__(self, device: str) -> None:
        self.seconds, self.gpu = 0.0, device.startswith("cuda")

    def wrap(self, function: Any) -> Any:
        """The same function, timed."""

        def timed(*arguments: Any) -> Any:
            began = self.now()
            result = function(*arguments)
            self.seconds += self.now() - began
            return result

        return timed

    def now(self) -> float:
        """Seconds, when everything asked for so far is done."""
        if self.gpu:
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(experiment: Experiment, updates: int, warm: int = 3) -> dict[str, float]:
    """Shares of `updates` updates after some that are not counted (they compile, and fill a replay)."""
    threads(1)
    runner = LocalRunner(experiment)
    runner.restore(None)
    assert runner.host is not None
    clocks = {name: Clock(experiment.run.device) for name in ("world", "act", "learn")}
    for env in runner.host.envs:
        env.step = clocks["world"].wrap(env.step)  # type: ignore[method-assign]
    play, learn = clocks["act"].wrap(runner.play), clocks["learn"].wrap(runner.learn)
    learned = 0
    number = 0
    while learned < updates + warm:
        tasks = runner.ask()
        played: Played = play(number, number, tasks)
        metrics, outcomes = learn(number, played)
        runner.tell(tasks, outcomes)
        number += 1
        learned += "q/loss" in metrics or "ppo/entropy" in metrics
        if learned <= warm:
            for clock in clocks.values():
                clock.seconds = 0.0
    total = clocks["act"].seconds + clocks["learn"].seconds
    world = clocks["world"].seconds
    return {"world": world / total, "policy": (clocks["act"].seconds - world) / total, "learner": clocks["learn"].seconds / total}


if __name__ == "__main__":
    for name in sys.argv[1:]:
        shares = measure(recipe(name).experiment, 10)
        print(f"{name:24}" + "  ".join(f"{part} {100 * share:5.1f} %" for part, share in shares.items()))
