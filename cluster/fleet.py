"""Where a run's env actors stand: how many there is room for, how tiles are dealt out to them, and which nodes are about to leave.

Results do not depend on who hosts which tile. So tiles can be dealt out anew between any two updates: to nodes that have joined, away from
nodes that leave, and fewer of them to those that are slow.
"""

import itertools
import os
import signal
from collections.abc import Sequence
from typing import Any

from interplay.envs.core import UsageError


def labels(text: str) -> dict[str, str]:
    """What "key=value,key=value" says of nodes.

    Raises:
        UsageError: it is not of that form.
    """
    pairs = [part.strip().split("=") for part in text.split(",") if part.strip()]
    if any(len(pair) != 2 or not all(pair) for pair in pairs):
        raise UsageError(f"labels of nodes are {text!r}; allowed is key=value,key=value")
    return dict(pairs)


def nodes(wanted: dict[str, str]) -> dict[str, float]:
    """CPUs of the nodes that are there to stay and have all labels that are wanted, by node id."""
    import ray

    leaving = draining()
    has = lambda node: all(node["Labels"].get(key) == value for key, value in wanted.items())
    return {
        node["NodeID"]: node["Resources"].get("CPU", 0.0)
        for node in ray.nodes()
        if node["Alive"] and node["NodeID"] not in leaving and has(node)
    }


def draining() -> set[str]:
    """Ids of the nodes that have been told to leave (SIGTERM, a spot notice, the autoscaler)."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def node_of(actor: Any) -> str:
    """Id of the node that an actor runs on, "" while it is not alive; it need not answer for it."""
    about = _known(actor)
    return about.get("Address", {}).get("NodeID", "") if about.get("State") == "ALIVE" else ""


def process(actor: Any) -> int:
    """Process id of an actor, as its node counts; 0 while it is not alive."""
    about = _known(actor)
    return int(about.get("Pid") or 0) if about.get("State") == "ALIVE" else 0


def slay(actor: Any) -> None:
    """Kill an actor's process from its node, even one that hears nothing any more; Ray starts it again, if it may be restarted."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    pid, node = process(actor), node_of(actor)
    if pid and node:
        there = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
        ray.remote(num_cpus=0, max_retries=0)(lambda: os.kill(pid, signal.SIGKILL)).options(**there).remote()


def _known(actor: Any) -> dict[str, Any]:
    """What Ray's head knows of an actor."""
    from ray._private.state import actors

    return actors(actor._actor_id.hex())


def standing(actors: Sequence[Any]) -> set[str]:
    """Ids of the nodes that actors run on."""
    return {node_of(actor) for actor in actors} - {""}


def room(each: float, wanted: dict[str, str]) -> int:
    """How many actors with `each` CPUs the nodes that are wanted can hold."""
    return sum(int(there / each) for there in nodes(wanted).values())


def split(tiles: int, actors: int) -> list[tuple[int, int]]:
    """Contiguous shares `(first, count)` of the tiles, as equal as can be."""
    edges = [tiles * k // actors for k in range(actors + 1)]
    return [(a, b - a) for a, b in itertools.pairwise(edges)]


def dealt(tiles: int, seconds: Sequence[float]) -> list[int]:
    """How many tiles each actor gets, at least one, so that the last one is done soonest; `seconds` a tile, of each."""
    counts = [1] * len(seconds)
    for _ in range(tiles - len(seconds)):
        soonest = min(range(len(seconds)), key=lambda k: ((counts[k] + 1) * seconds[k], k))
        counts[soonest] += 1
    return counts


def env_actor(first: int, count: int) -> str:
    """Name of the env actor of tiles `first ... first + count - 1`."""
    return f"EnvActor(tiles {first}-{first + count - 1})"
