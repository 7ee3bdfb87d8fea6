"""The runner over Ray: env actors stream trajectories to the learner; only references pass through here.

A round's trajectory and the weights it is played with are references that Ray resolves between the actors: the next round is asked
for before the last one is learned from, and at most staleness + 1 rounds are ever in flight, so nothing queues up.
"""

import itertools
import logging
import os
import socket
import uuid
from typing import Any

import torch

from interplay.cluster.experiment import Experiment
from interplay.cluster.runner import Lost, RunState
from interplay.envs.core import UsageError
from interplay.learners.core import Task

RESTARTS = 1000  # of one env actor; a host that keeps dying is an error, not a failure
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's name for whether other machines may join
LOOK = 5.0  # seconds of waiting between looks at whether the cluster still has room for every actor


def connect(address: str | None, cpus: int | None = None) -> bool:
    """Join the Ray at `address`, or start one on this machine's loopback; returns whether it was started here.

    Raises:
        UsageError: nothing answers at the address.
    """
    if address is None:
        os.environ.setdefault(LOOPBACK, "0")  # read when Ray is imported: its servers then listen on 127.0.0.1 only
    import ray

    if ray.is_initialized():
        return False
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    here = address
    if here is None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback only, for the time of this run
        ray.init(address="local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
        return True
    _knock(here)
    try:
        ray.init(address=here, runtime_env=_code(), **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"no Ray answers at {address!r} ({reason}); allowed are host:port of a running head, or no --address") from None
    return False


def _knock(address: str) -> None:
    """Does anything listen there? Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"no Ray answers at {address!r} ({error}); allowed are host:port of a running head, or no --address") from None


def _code() -> dict[str, Any]:
    """How the code reaches the nodes: by itself where it runs from a checkout, else it is installed there as it is here."""
    from pathlib import Path

    checkout = Path(__file__).resolve().parent.parent / ".path" / "interplay"
    return {"py_modules": [str(checkout)], "excludes": ["__pycache__"]} if checkout.is_dir() else {}  # compiled rules are large


def split(tiles: int, actors: int) -> list[tuple[int, int]]:
    """Contiguous shares `(first, count)` of the tiles, as equal as can be."""
    edges = [tiles * k // actors for k in range(actors + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(edges)]


class RayRunner:
    """Env actors, a learner actor, its replay actor (if it has one) and a meta-learner actor on the Ray that this process is connected to.

    Results do not depend on the number of env actors: where nodes have left, the run goes on with as many as there is room for.
    Ray's dashboard shows the actors as `NAME/Learner`, `NAME/EnvActor(tiles 0-3)` and so on, and `ray timeline` their tasks "rollout"
    and "update" (transfer is the part of an update in which its arguments are fetched).
    """

    def __init__(self, experiment: Experiment, name: str = "run") -> None:
        self.experiment, self.name = experiment, name
        self.restarts: list[str] = []  # that nobody has been told of
        self.actors: list[Any] = []
        self.hosts: list[Any] = []
        self.learner: Any = None
        self.others: list[Any] = []  # learners who share its work
        self.meta: Any = None
        self.replay: Any = None

    def restore(self, state: RunState | None) -> None:
        """Start fresh actors (ending those of before), and give them `state`."""
        import ray
        from ray.exceptions import RayError

        from interplay.cluster.actors import EnvActor, LearnerActor, MetaLearnerActor, env_actor
        from interplay.cluster.replay_actor import ReplayActor

        self.close()
        experiment, run = self.experiment, self.experiment.run
        gpu = run.device.startswith("cuda")
        gpus = {"num_gpus": 1 / (run.env_actors + run.learners)} if gpu else {}
        once = {"max_restarts": 0}
        self.each = min(1, run.act_threads / 2)  # CPUs of an env actor
        shares = split(run.tiles, max(1, min(run.env_actors, self._room()))) if run.tiles else []
        try:
            actor = _named(self.name)
            self.meta = actor(MetaLearnerActor, "MetaLearner", num_cpus=0, **once).remote(experiment)
            self.replay = None if experiment.store() is None else actor(ReplayActor, "Replay", num_cpus=0, **once).remote(experiment)
            learners = [
                actor(LearnerActor, f"Learner {rank}" if rank else "Learner", num_cpus=0, **once, **gpus).remote(experiment, self.replay)
                for rank in range(run.learners)
            ]
            self.learner, *self.others = learners
            host = {"num_cpus": self.each, "max_restarts": RESTARTS, "max_task_retries": -1, **gpus}
            self.names, self.lives = [env_actor(*share) for share in shares], [0] * len(shares)
            self.hosts = [actor(EnvActor, name, **host).remote(experiment, *share) for name, share in zip(self.names, shares, strict=True)]
            self.actors = [self.meta, *learners, *([self.replay] if self.replay else []), *self.hosts]
            number = 0
            if self.others:
                store = ray.get(self.learner.listen.remote())
                ray.get([learner.join.remote(rank, run.learners, store) for rank, learner in enumerate(learners)])
            self.states: list[Any] = [None] * len(self.hosts)
            if state is not None:
                number = state.number
                kept = ray.put({name: x.numpy() for name, x in state.learner.items()})
                ray.get([learner.restore.remote(kept) for learner in learners])
                ray.get(self.meta.restore.remote(state.meta))
                if state.tiles:
                    from interplay.cluster.tiles import pack

                    self.states = [ray.put([pack(s) for s in state.tiles[first : first + count]]) for first, count in shares]
            self.weights = {number: self.learner.weights.remote()}
        except RayError as error:
            raise _lost(error) from error

    def ask(self) -> list[Task]:
        """Ask the meta-learner actor."""
        return self._get(self.meta.ask.remote())

    def play(self, number: int, version: int, tasks: list[Task]) -> list[Any]:
        """Every env actor plays its tiles; returns their references."""
        handle, start = [], 0
        shares = split(self.experiment.run.tiles, len(self.hosts)) if self.hosts else []
        for k, host in enumerate(self.hosts):
            first, count = shares[k]
            call = host.play.options(num_returns=3, name=f"rollout (tiles {first}-{first + count - 1})")
            mine = tasks[start : start + count]
            trajectory, outcomes, self.states[k] = call.remote(number, version, self.weights[version], mine, self.states[k])
            handle.append((trajectory, outcomes))
            start += count
        return handle

    def learn(self, number: int, handle: list[Any]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The learner takes the trajectories as they arrive; waits for its metrics."""
        played = [trajectory for trajectory, _ in handle]
        update = lambda learner: learner.learn.options(num_returns=2, name="update").remote(number, *played)
        metrics, weights = update(self.learner)
        others = [update(learner)[0] for learner in self.others]
        self.weights = {v: w for v, w in self.weights.items() if v > number - self.experiment.run.staleness - 1}
        self.weights[number + 1] = weights
        found = self._get([metrics, *(outcomes for _, outcomes in handle), *others])
        shares = found[1 : 1 + len(handle)]
        for k, share in enumerate(shares):
            if (life := share[0].pop("life")) != self.lives[k]:
                self.lives[k] = life
                self.restarts.append(f"{self.names[k]} was lost; another has played its round again")
        return found[0], [outcome for share in shares for outcome in share]

    def news(self) -> list[str]:
        """Env actors that were restarted."""
        told, self.restarts = self.restarts, []
        return told

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """Tell the meta-learner actor; it hears before it is asked again."""
        self.meta.tell.remote(tasks, outcomes)

    def state(self, number: int) -> RunState:
        """Fetched from the actors."""
        learner, meta, *shares = self._get(
            [self.learner.state.remote(), self.meta.state.remote(), *(s for s in self.states if s is not None)]
        )
        copy = lambda arrays: {name: torch.from_numpy(x.copy()) for name, x in arrays.items()}
        return RunState(number, copy(learner), meta, [copy(tile) for share in shares for tile in share])

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def _room(self) -> int:
        """How many env actors the nodes that are there can hold."""
        import ray

        return int(ray.cluster_resources().get("CPU", 0) / self.each)

    def _dead_learner(self) -> Exception | None:
        """Why one of several learners does not answer."""
        import ray
        from ray.exceptions import RayActorError

        for learner in (self.learner, *self.others) if self.others else ():
            try:
                ray.get(learner.weights.remote())
            except RayActorError as error:
                return error
        return None

    def _get(self, refs: Any) -> Any:
        import ray
        from ray.exceptions import RayError, RayTaskError

        try:
            every = refs if isinstance(refs, list) else [refs]
            while len(ray.wait(every, num_returns=len(every), timeout=LOOK)[1]):
                if self._room() < len(self.hosts) and len(self.hosts) > 1:
                    raise Lost(f"a node has left, and there is room for {self._room()} of {len(self.hosts)} env actors")
            return ray.get(refs)
        except RayTaskError as error:
            if isinstance(error.cause, RayError):
                raise _lost(error) from error  # an object that a task needed is gone
            if dead := self._dead_learner():
                raise _lost(dead) from error  # the others of its team fail too, each with an error of its own
            raise
        except RayError as error:
            if "error raised in its creation task" in str(error):
                raise  # it would fail again
            raise _lost(error) from error


def _named(run: str) -> Any:
    """Makes actor classes with names for the dashboard. Names have to differ in a namespace: each team of actors has its own."""
    import ray

    remote: Any = ray.remote
    place = f"interplay-{uuid.uuid4().hex}"
    return lambda kind, name, **options: remote(kind).options(name=f"{run}/{name}", namespace=place, **options)


def _lost(error: Exception) -> Lost:
    return Lost(str(error).strip().splitlines()[0])
