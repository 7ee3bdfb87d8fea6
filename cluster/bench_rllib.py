"""RLlib's speed, for comparison: its stock PPO trains both players of the iterated prisoner's dilemma, sampling and learning counted.

python -m interplay.cluster.bench_rllib --envs-per-runner 8 64
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch

WARM_UP, REPEATS = 1, 3
# PPO's own settings, the same as those of `bench_jaxmarl --ippo`; the batch is RLlib's default size
PPO = {
    "train_batch_size_per_learner": 4096,
    "minibatch_size": 1024,
    "num_epochs": 4,
    "lr": 2.5e-4,
    "gamma": 0.99,
    "lambda_": 0.95,
    "clip_param": 0.2,
    "entropy_coeff": 0.01,
    "grad_clip": 0.5,
}
NETWORK = {"fcnet_hiddens": [64, 64], "fcnet_activation": "tanh", "vf_share_layers": False}


def bench_rllib(envs_per_runner: Iterable[int] = (8, 64), runners: int = 2, world: str = "ipd", seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield one row a number of worlds per runner, with the keys of `interplay.cluster.bench` and `training`.

    Each player has a policy of its own (RLlib's way for independent learners). The learner is in this process, on the CPU; the
    runners are Ray actors of one CPU each. The rate is env steps by wall-clock, the median of three iterations after a first one.
    """
    import ray

    # A private cluster on the loopback device, without a port that anybody else could reach.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=runners, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    try:
        for each in envs_per_runner:
            rate = median_rate(config(world, each, runners, seed))
            yield {
                "system": "rllib",
                "world": world,
                "num_envs": each * runners,
                "device": "cpu",
                "threads": torch.get_num_threads(),
                "env_steps_per_s": rate,
                "training": "ppo",
                "runners": runners,
            }
    finally:
        ray.shutdown()


def own_policy(agent: Any, *_: Any, **__: Any) -> str:
    """RLlib's question which policy moves an agent: the one of its own name."""
    return str(agent)


def config(world: str, envs_per_runner: int, runners: int, seed: int) -> Any:
    """RLlib's configuration."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.tune.registry import register_env

    from interplay.cluster.rllib import multi_agent_env

    register_env(world, lambda parameters: multi_agent_env(world, **parameters))
    players = multi_agent_env(world).possible_agents
    return (
        PPOConfig()
        .environment(world)
        .env_runners(num_env_runners=runners, num_envs_per_env_runner=envs_per_runner)
        .learners(num_learners=0, num_gpus_per_learner=0)
        .multi_agent(policies=set(players), policy_mapping_fn=own_policy)  # pyright: ignore[reportArgumentType]
        .rl_module(model_config=DefaultModelConfig(**NETWORK))
        .training(**PPO)
        .debugging(seed=seed, log_level="ERROR")
    )


def median_rate(configuration: Any) -> float:
    """Env steps a second of training."""
    algorithm = configuration.build_algo()

    def trained() -> int:
        return int(algorithm.train()["env_runners"]["num_env_steps_sampled_lifetime"])

    def rate() -> float:
        nonlocal done
        start, before = time.perf_counter(), done
        done = trained()
        return (done - before) / (time.perf_counter() - start)

    try:
        done = 0
        for _ in range(WARM_UP):
            done = trained()
        return statistics.median(rate() for _ in range(REPEATS))
    finally:
        algorithm.stop()


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--envs-per-runner", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--runners", type=int, default=2)
    parser.add_argument("--world", default="ipd")
    asked = parser.parse_args()
    for row in bench_rllib(asked.envs_per_runner, asked.runners, asked.world):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
