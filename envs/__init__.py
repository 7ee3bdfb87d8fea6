"""What is played: rules, the batch engine, the registry, the faces that other libraries know."""

from typing import Any

from interplay.envs.core import Env, Step, UsageError, World
from interplay.envs.engine import Batch
from interplay.envs.registry import make, names, world

__all__ = ["Batch", "Env", "Step", "UsageError", "World", "aec_env", "make", "names", "parallel_env", "vector_env", "world"]


def parallel_env(name: str, **params: Any) -> Any:
    """One world as a PettingZoo `ParallelEnv` (`interplay.envs.parallel`)."""
    from interplay.envs.parallel import parallel_env

    return parallel_env(name, **params)


def aec_env(name: str, **params: Any) -> Any:
    """One world as a PettingZoo `AECEnv` (`interplay.envs.aec`)."""
    from interplay.envs.aec import aec_env

    return aec_env(name, **params)


def vector_env(name: str, num_envs: int = 1, **params: Any) -> Any:
    """N worlds as a Gymnasium `VectorEnv` (`interplay.envs.vector`)."""
    from interplay.envs.vector import vector_env

    return vector_env(name, num_envs=num_envs, **params)
