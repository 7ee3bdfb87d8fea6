"""How a round's trajectories get from env actors to learners.

A transport says how actors are made, links them once they are there, and asks an env actor for a round.
"""

from typing import Any, Protocol

from interplay.cluster.experiment import RunConfig
from interplay.envs.core import UsageError

RESTARTS = 1000  # of one env actor; a host that keeps dying is an error, not a failure


class Transport(Protocol):
    """What the runner needs.

    Attributes:
        remote: options of `ray.remote` for env actors and learners.
        host: options of an env actor: what becomes of it, and of its rounds, when it dies.
        again: whether env actors may stay when learners are replaced.
    """

    remote: dict[str, Any]
    host: dict[str, Any]
    again: bool

    def link(self, learners: list[Any], hosts: list[Any]) -> None:
        """Connect fresh actors."""
        ...

    def bind(self, host: Any, name: str) -> Any:
        """A function of `EnvActor.play`'s arguments that plays a round, as a task called `name`: trajectory, outcomes, states."""
        ...


class Store:
    """Through Ray's object store, as NumPy arrays: nobody waits for anybody, and a lost round is played again by another actor."""

    def __init__(self) -> None:
        self.remote: dict[str, Any] = {}
        self.host: dict[str, Any] = {"max_restarts": RESTARTS, "max_task_retries": -1}
        self.again = True

    def link(self, learners: list[Any], hosts: list[Any]) -> None:
        """Nothing to do."""

    def bind(self, host: Any, name: str) -> Any:
        """One task with three results."""
        return host.play.options(num_returns=3, name=name).remote


class Direct:
    """From process to process, as tensors, by Ray Direct Transport (which Ray calls alpha): gloo between CPUs, NCCL between GPUs.

    Whoever dies breaks the group, so the run goes on from its last checkpoint with fresh actors.
    """

    def __init__(self, device: str) -> None:
        self.kind = "NCCL" if device.startswith("cuda") else "GLOO"
        self.remote: dict[str, Any] = {"enable_tensor_transport": True}
        self.host: dict[str, Any] = {"max_restarts": 0}
        self.again = False

    def link(self, learners: list[Any], hosts: list[Any]) -> None:
        """One group of all."""
        from ray.experimental.collective import create_collective_group

        create_collective_group([*learners, *hosts], backend="nccl" if self.kind == "NCCL" else "torch_gloo")

    def bind(self, host: Any, name: str) -> Any:
        """A task that plays and keeps the trajectory, and one that hands it over."""
        play, hand = host.keep.options(num_returns=2, name=name), host.hand.options(tensor_transport=self.kind)

        def round_of(*order: Any) -> tuple[Any, Any, Any]:
            outcomes, states = play.remote(*order)
            return hand.remote(), outcomes, states

        return round_of


def transport(run: RunConfig) -> Transport:
    """The run's.

    Raises:
        UsageError: there is no such transport, or it does not suit the devices.
    """
    if run.transport not in ("store", "direct"):
        raise UsageError(f"run.transport is {run.transport!r}; allowed are store and direct")
    if run.transport == "store":
        return Store()
    if run.learners > 1:
        raise UsageError(f"run.transport is 'direct' with {run.learners} learners; allowed is store, or one learner")
    if run.device.startswith("cuda") and min(run.env_gpus, run.learner_gpus) < 1:
        raise UsageError("run.transport is 'direct' with shared GPUs; allowed is store, or --run.env-gpus 1 --run.learner-gpus 1")
    return Direct(run.device)
