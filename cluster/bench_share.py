"""`python -m interplay.cluster.bench_share RECIPE [flags]`: where the time of training goes, in this process.

The world's share is what the engine takes (rules, observations, resets), the policy's the rest of acting; the teacher's is that of the
meta-learner, who decides what is played; the learner's is the rest.
"""

import sys
import time
from typing import Any

import torch

from interplay.cluster.experiment import Experiment, threads
from interplay.cluster.recipes import recipe
from interplay.cluster.runner import LocalRunner
from interplay.cluster.tiles import Played
from interplay.cluster.training import parse


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
    clocks = {name: Clock(experiment.run.device) for name in ("world", "act", "learn", "teacher")}
    for env in runner.host.envs:
        for verb in ("step", "set_level"):
            if hasattr(env, verb):
                setattr(env, verb, clocks["world"].wrap(getattr(env, verb)))
    play, learn = clocks["act"].wrap(runner.play), clocks["learn"].wrap(runner.learn)
    ask, tell = clocks["teacher"].wrap(runner.ask), clocks["teacher"].wrap(runner.tell)
    learned = number = start = 0
    while learned < updates + warm:
        tasks = ask()
        played: Played = play(number, number, tasks)
        metrics, outcomes = learn(number, played)
        tell(tasks, outcomes)
        number += 1
        learned += "q/loss" in metrics or "ppo/entropy" in metrics
        if learned <= warm:
            start = number
            for clock in clocks.values():
                clock.seconds = 0.0
    total = sum(clocks[name].seconds for name in ("act", "learn", "teacher"))
    world = clocks["world"].seconds
    shares = {
        "world": world,
        "policy": clocks["act"].seconds - world,
        "learner": clocks["learn"].seconds,
        "teacher": clocks["teacher"].seconds,
    }
    steps = (number - start) * experiment.worlds * experiment.run.turns
    return {name: seconds / total for name, seconds in shares.items()} | {"steps/s": steps / total}


if __name__ == "__main__":
    name, *flags = sys.argv[1:]
    about = recipe(name)
    shares = measure(parse(name, about.experiment, flags, about)[1], 10)
    speed = shares.pop("steps/s")
    print(f"{name:24}" + "  ".join(f"{part} {100 * share:5.2f} %" for part, share in shares.items()) + f"  {speed:,.0f} env steps/s")
