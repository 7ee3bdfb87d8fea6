"""How fast PPO trains, acting and learning counted: two agents of the iterated prisoner's dilemma, the setting of `bench_jaxmarl --ippo`.

python -m interplay.cluster.bench_ppo
"""

import dataclasses
import json
import statistics
import time

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_worlds import PPOExperiment, WorldConfig
from interplay.cluster.runner import LocalRunner
from interplay.learners.ppo import PPOConfig

WARM_UP, REPEATS = 2, 5
SETTING = PPOExperiment(
    run=RunConfig(updates=WARM_UP + REPEATS, tiles=1, tile=1024, turns=128),
    world=WorldConfig("ipd", rounds=100),
    ppo=PPOConfig(epochs=4, minibatches=4),
)


def train(threads: int = 2) -> dict[str, object]:
    """Env steps/s of training in one process, the median over rounds; `threads` are the learner's."""
    made = dataclasses.replace(SETTING, run=dataclasses.replace(SETTING.run, learn_threads=threads))
    runner, seconds = LocalRunner(made), []
    runner.restore(None)
    for number in range(WARM_UP + REPEATS):
        start = time.perf_counter()
        runner.learn(number, runner.play(number, number, runner.ask()))
        seconds.append(time.perf_counter() - start)
    speed = made.worlds * made.run.turns / statistics.median(seconds[WARM_UP:])
    where = {"system": "interplay", "world": "ipd", "num_envs": made.worlds, "device": "cpu", "threads": threads}
    return where | {"env_steps_per_s": speed, "training": "ppo"}


if __name__ == "__main__":
    print(json.dumps(train()))
