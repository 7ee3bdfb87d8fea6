"""The runner over Ray: env actors stream trajectories to the learner; only references pass through here.

A round's trajectory and the weights it is played with are references that Ray resolves between the actors: the next round is asked
for before the last one is learned from, and at most staleness + 1 rounds are ever in flight, so nothing queues up.
"""

import statistics
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from interplay.cluster.experiment import Experiment, RunConfig
from interplay.cluster.fleet import dealt, draining, env_actor, labels, node_of, nodes, room, slay, split, standing
from interplay.cluster.runner import Lost, RunState
from interplay.cluster.tiles import pack
from interplay.cluster.transport import transport
from interplay.learners.core import Task

LOOK = 5.0  # seconds of waiting between looks at the cluster
ENOUGH = 16  # rounds that say how fast an env actor is
PAYS = 30.0, 0.2  # seconds of the rest of the run, and share of a round's acting, that dealing out the tiles anew has to save


@dataclass
class Seat:
    """An env actor's place: its tiles `first ... first + count - 1`, and the node it should stand on, if that matters.

    Attributes:
        life: which of the actors it is that have stood here (`EnvActor.life`).
        node: where it stands.
        seconds: of its last `ENOUGH` rounds.
    """

    first: int
    count: int
    node: str | None = None
    life: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=ENOUGH))


class RayRunner:
    """Env actors, a learner actor, its replay actor (if it has one) and a meta-learner actor on the Ray that this process is connected to.

    Results do not depend on the number of env actors, nor on who hosts which tiles: the run goes on with fewer where nodes have left, with
    more where some have joined, and slow nodes get fewer tiles.
    Ray's dashboard shows the actors as `NAME/Learner`, `NAME/EnvActor(tiles 0-3)` and so on, and `ray timeline` their tasks "rollout"
    and "update" (transfer is the part of an update in which its arguments are fetched).
    """

    def __init__(self, experiment: Experiment, name: str = "run") -> None:
        self.experiment, self.name, self.transport = experiment, name, transport(experiment.run)
        self.restarts: list[str] = []  # that nobody has been told of
        self.staff: list[Any] = []  # all actors but the env actors
        self.hosts: list[Any] = []
        self.seats: list[Seat] = []
        self.plan: list[Seat] = []  # where env actors are to stand next time; empty: wherever there is room
        self.learner: Any = None
        self.others: list[Any] = []  # learners who share its work
        self.meta: Any = None
        self.replay: Any = None
        self.together: Any = None  # the learners' placement group, on GPUs
        self.acting: dict[str, float] = {}  # what an env actor takes of a GPU
        self.wishes: list[Any] = []  # placement groups that wait for room
        self.held: RunState | None = None  # the state that the staff is in, while nobody has played on
        self.untold: list[list[dict[str, Any]]] = []  # outcomes that the meta-learner has not heard of
        self.looked = 0.0  # when the cluster was last looked at

    def restore(self, state: RunState | None) -> None:
        """Give actors `state`, fresh ones; but where nodes stay, the staff goes on if it is in this very state, and env actors if they are
        alive and in their place.
        """
        import ray
        from ray.exceptions import RayError

        run = self.experiment.run
        self.each = run.cpus
        self._look()
        most = max(1, min(run.env_actors, self._room()))
        seats = self.plan or [Seat(*share) for share in split(run.tiles, most) if run.tiles]
        again = state is not None and bool(state.tiles) and self.transport.again
        kept = self._kept(seats) if again else {}
        stays = again and state is self.held and not self._leaving(self.staff)
        self.close([host for host, _ in kept.values()], stays)
        self.plan, self.untold = [], []
        actor = _named(self.name)
        try:
            if not stays:
                self._employ(actor, state)
            self._hire(actor, seats, kept)
            self.states: list[Any] = [None] * len(self.hosts)
            if state is not None and state.tiles:
                self.states = [ray.put([pack(s) for s in state.tiles[seat.first : seat.first + seat.count]]) for seat in self.seats]
            self.weights = {state.number if state else 0: self.learner.weights.remote()}
        except RayError as error:
            raise _lost(error) from error
        if len(self.hosts) < min(run.env_actors, run.tiles):
            self._wish(min(run.env_actors, run.tiles) - len(self.hosts))

    def _look(self) -> None:
        """Nodes with the labels that are asked for may come back, but nothing can be started before."""
        for what in ("learner_labels", "env_labels"):
            wanted = getattr(self.experiment.run, what)
            if wanted and not nodes(labels(wanted)):
                raise Lost(f"no node has the labels of run.{what}, {wanted}")

    def _kept(self, seats: list[Seat]) -> dict[int, tuple[Any, Seat]]:
        """Env actors who can stay for new seats, with their old ones, by their first tile: the same tiles, alive, on a node that stays."""
        places, leaving = {(seat.first, seat.count): seat.node for seat in seats}, draining()
        found = {}
        for seat, host in zip(self.seats, self.hosts, strict=True):
            here = node_of(host)
            if (seat.first, seat.count) in places and here and here not in leaving and places[seat.first, seat.count] in (None, here):
                found[seat.first] = (host, seat)
        return found

    def _employ(self, actor: Any, state: RunState | None) -> None:
        """Start the staff: meta-learner, replay, learners, who find each other; and give it `state`."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        from interplay.cluster.actors import LearnerActor, MetaLearnerActor
        from interplay.cluster.replay_actor import ReplayActor

        experiment, run = self.experiment, self.experiment.run
        near = {"num_cpus": 0, "max_restarts": 0, **(_on(run.learner_labels) or _here())}
        self.meta = actor(MetaLearnerActor, "MetaLearner", **near).remote(experiment)
        self.replay = None if experiment.store() is None else actor(ReplayActor, "Replay", **near).remote(experiment)
        self.acting, learning, self.together = gpus(run)
        if self.together:
            near = {"num_cpus": 0, "max_restarts": 0, "scheduling_strategy": PlacementGroupSchedulingStrategy(self.together)}
        linked = self.transport.remote
        learners = [
            actor(LearnerActor, f"Learner {rank}" if rank else "Learner", linked=linked, **near, **learning).remote(experiment, self.replay)
            for rank in range(run.learners)
        ]
        self.learner, *self.others = learners
        self.staff = [self.meta, *learners, *([self.replay] if self.replay else [])]
        if self.others:
            store = ray.get(self.learner.listen.remote(run.learners))
            ray.get([learner.join.remote(rank, run.learners, store) for rank, learner in enumerate(learners)])
        if state is not None:
            learned = ray.put({name: x.numpy() for name, x in state.learner.items()})
            ray.get([learner.restore.remote(learned) for learner in learners])
            ray.get(self.meta.restore.remote(state.meta))

    def _hire(self, actor: Any, seats: list[Seat], kept: dict[int, tuple[Any, Seat]]) -> None:
        """Start env actors for `seats`, but for those that are kept, and link all of them to the learners."""
        from interplay.cluster.actors import EnvActor

        run, linked = self.experiment.run, self.transport.remote
        host = {"num_cpus": self.each, **self.transport.host, **self.acting}
        for seat in seats:
            old, place = kept.get(seat.first, (None, seat))
            if old:
                old.forget.remote()
            where = _at(seat.node, soft=True) if seat.node else _on(run.env_labels)
            name = env_actor(seat.first, seat.count)
            self.hosts.append(old or actor(EnvActor, name, linked=linked, **host, **where).remote(self.experiment, seat.first, seat.count))
            self.seats.append(place)
        name = lambda seat: f"rollout (tiles {seat.first}-{seat.first + seat.count - 1})"
        self.calls = [self.transport.bind(host, name(seat)) for seat, host in zip(self.seats, self.hosts, strict=True)]
        self.transport.link([self.learner, *self.others], self.hosts)

    def _wish(self, missing: int) -> None:
        """Let the autoscaler know of the env actors for which there is no room: what waits for room is what it sees."""
        from ray.util import placement_group

        wanted = labels(self.experiment.run.env_labels)
        for _ in range(missing):
            self.wishes.append(placement_group([{"CPU": self.each}], bundle_label_selector=[wanted]))

    def ask(self) -> list[Task]:
        """Ask the meta-learner actor, which hears at the same time what it has not been told."""
        told, self.untold, self.held = self.untold, [], None
        return self._get(self.meta.ask.remote(told))

    def play(self, number: int, version: int, tasks: list[Task]) -> list[Any]:
        """Every env actor plays its tiles; returns their references."""
        handle = []
        for k, seat in enumerate(self.seats):
            mine = tasks[seat.first : seat.first + seat.count]
            trajectory, outcomes, self.states[k] = self.calls[k](number, version, self.weights[version], mine, self.states[k])
            handle.append((trajectory, outcomes))
        return handle

    def learn(self, number: int, handle: list[Any]) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """The learner takes the trajectories as they arrive; waits for its metrics."""
        played = [trajectory for trajectory, _ in handle]
        update = lambda learner: learner.learn.options(num_returns=2, name="update").remote(number, *played)
        metrics, weights = update(self.learner)
        others = [update(learner)[0] for learner in self.others]
        self.weights = {v: w for v, w in self.weights.items() if v > number - self.experiment.run.staleness - 1}
        self.weights[number + 1] = weights
        told = [outcomes for _, outcomes in handle]
        found = self._get([metrics, *told, *others], told)
        shares = found[1 : 1 + len(handle)]
        for seat, share in zip(self.seats, shares, strict=True):
            if (life := share[0].pop("life")) != seat.life:
                seat.life = life
                self.restarts.append(f"{env_actor(seat.first, seat.count)} was lost; another has played its round again")
            seat.node = share[0].pop("node")
            seat.seconds.append(share[0]["time/act"])
        return found[0], [outcome for share in shares for outcome in share]

    def news(self) -> list[str]:
        """Env actors that were restarted."""
        told, self.restarts = self.restarts, []
        return told

    def tell(self, tasks: list[Task], outcomes: list[dict[str, Any]]) -> None:
        """The meta-learner actor hears it when it is asked again."""
        self.untold.append(outcomes)

    def state(self, number: int) -> RunState:
        """Fetched from the actors."""
        told, self.untold = self.untold, []
        learner, meta, *shares = self._get(
            [self.learner.state.remote(), self.meta.state.remote(told), *(s for s in self.states if s is not None)]
        )
        copy = lambda arrays: {name: torch.from_numpy(x.copy()) for name, x in arrays.items()}
        self.held = RunState(number, copy(learner), meta, [copy(tile) for share in shares for tile in share])
        return self.held

    def close(self, kept: Sequence[Any] = (), stays: bool = False) -> None:
        """End the actors, but for env actors that are kept, and for the staff if it stays."""
        import ray
        from ray.util import remove_placement_group

        for group in self.wishes:
            remove_placement_group(group)
        for actor in (*self.hosts, *(() if stays else self.staff)):
            if actor not in kept:
                ray.kill(actor)
        self.hosts, self.seats, self.wishes = [], [], []
        if stays:
            return
        if self.together:
            remove_placement_group(self.together)
        self.staff, self.together, self.held = [], None, None

    def unsettled(self, left: int) -> str:
        """Why the actors should be placed anew before the `left` rounds to come, in words; "" where they should not.

        A node of theirs is about to leave; there is room for more of them; or dealing out the tiles by the speed of each saves time.
        """
        if time.monotonic() - self.looked < LOOK:
            return ""
        self.looked = time.monotonic()
        if self._leaving([*self.staff, *self.hosts]):
            return "a node is about to leave"
        run = self.experiment.run
        able = min(run.env_actors, run.tiles, self._room())
        if able > len(self.hosts):
            return f"there is room for {able} env actors"
        return self._slow(left)

    def _leaving(self, actors: Sequence[Any]) -> bool:
        """Whether a node that some actors stand on is about to leave; who stands where is only asked when any is."""
        leaving = draining()
        return bool(leaving and standing(actors) & leaving)

    def _slow(self, left: int) -> str:
        """Whether other shares of the tiles pay; makes them the plan."""
        if len(self.seats) < 2 or any(len(seat.seconds) < ENOUGH for seat in self.seats):
            return ""
        each = [statistics.median(seat.seconds) / seat.count for seat in self.seats]
        counts = dealt(self.experiment.run.tiles, each)
        last = lambda counts: max(count * seconds for count, seconds in zip(counts, each, strict=True))
        now = last([seat.count for seat in self.seats])
        saved = now - last(counts)
        if saved * left < PAYS[0] or saved < PAYS[1] * now:
            return ""
        firsts = [sum(counts[:k]) for k in range(len(counts))]
        self.plan = [Seat(*share, seat.node) for share, seat in zip(zip(firsts, counts, strict=True), self.seats, strict=True)]
        slowest = max(range(len(each)), key=each.__getitem__)
        return f"{env_actor(self.seats[slowest].first, self.seats[slowest].count)} is slow and gets {counts[slowest]} tiles"

    def _room(self) -> int:
        """How many env actors the nodes that are there can hold."""
        return room(self.each, labels(self.experiment.run.env_labels))

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

    def _get(self, refs: Any, told: list[Any] | None = None) -> Any:
        """What references stand for. `told` are those of one round's env actors: who is long behind the others is replaced."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError, RayTaskError

        late = 0.0
        while True:
            try:
                return ray.get(refs, timeout=LOOK)
            except GetTimeoutError:
                if self._room() < len(self.hosts) and len(self.hosts) > 1 and not self._leaving(self.hosts):
                    raise Lost(f"a node has left, and there is room for {self._room()} of {len(self.hosts)} env actors") from None
                late = self._hurry(told or [], late)
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

    def _hurry(self, told: list[Any], late: float) -> float:
        """Replace the env actors that have kept the others waiting for too long; returns for how long it is now."""
        import ray

        behind = [k for k, ref in enumerate(told) if not ray.wait([ref], timeout=0)[0]]
        if not 0 < len(behind) < len(told):
            return 0.0
        if late + LOOK < self.experiment.run.patience:
            return late + LOOK
        for k in behind:
            slay(self.hosts[k])
        return 0.0


def gpus(run: RunConfig) -> tuple[dict[str, float], dict[str, float], Any]:
    """What an env actor and a learner take of a GPU, as Ray's options, and the learners' placement group: near each other.

    Nothing is said where the device is no GPU. By default all actors share one.
    """
    from ray.util import placement_group

    if not run.device.startswith("cuda"):
        return {}, {}, None
    even = 1 / (run.env_actors + run.learners)
    acting, learning = run.env_gpus or even, run.learner_gpus or even
    wanted = labels(run.learner_labels)
    bundles = [{"GPU": learning}] * run.learners
    group = placement_group(bundles, "PACK", bundle_label_selector=[wanted] * run.learners)
    return {"num_gpus": acting}, {"num_gpus": learning}, group


def _on(text: str) -> dict[str, Any]:
    """Ray's option for the nodes that have some labels."""
    return {"label_selector": labels(text)} if text else {}


def _at(node: str, soft: bool) -> dict[str, Any]:
    """Ray's option for a node; `soft`: or any other, where that one is gone or full."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=soft)}


def _here() -> dict[str, Any]:
    """Ray's option for this process's node, where whoever holds the run's state is safest; unless that node is not for work."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    return _at(node, soft=False) if nodes({}).get(node) else {}


def _named(run: str) -> Any:
    """Makes actor classes with names for the dashboard. Names have to differ in a namespace: each team of actors has its own."""
    import ray

    place = f"interplay-{uuid.uuid4().hex}"

    def make(kind: Any, name: str, linked: dict[str, Any] | None = None, **options: Any) -> Any:
        remote: Any = ray.remote(**linked) if linked else ray.remote
        return remote(kind).options(name=f"{run}/{name}", namespace=place, **options)

    return make


def _lost(error: Exception) -> Lost:
    return Lost(str(error).strip().splitlines()[0])
