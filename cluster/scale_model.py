"""What a run of another size would do: a simulation of its rounds by discrete events (SimPy), fed with service times that were measured.

    coordinator: ask -> hand out -> (env actors act, pack) -> (transfer) -> (learners update) -> next round, `staleness` rounds ahead

Cores and links are shared evenly by all who use them at a time (processor sharing). What is assumed:

- A round's act is a + b x tiles of the actor, an update a + b x tiles in all; so are the meta-learner's answer and what an actor adds.
- Actors vary as the one that was measured did: each act is drawn from its relative times, independently.
- m learners lay out all trajectories each, and divide the rest: `Costs.shared` of an update; then they sum gradients in a ring.
- Trajectories enter the learner's machine through one link, weights leave it through one, once for each other machine.
- Nothing is lost, no machine is slower than another, and learners use the cores (a learner on a GPU leaves them alone: `learn_threads` 0).
"""

import heapq
import math
from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import simpy

from interplay.cluster.fleet import split

Line = tuple[float, float]  # (a, b) of a + b x


@dataclass(frozen=True)
class Size:
    """How large a run is: env actors, learners, nodes, tiles in all.

    `machines` are what the nodes stand on: as many, unless several nodes share one.
    """

    actors: int
    learners: int = 1
    nodes: int = 1
    tiles: int = 1
    machines: int = 1


@dataclass(frozen=True)
class Costs:
    """Service times in seconds, and bytes, of one experiment.

    Attributes:
        steps: env steps of a tile in a round.
        staleness: rounds that may be played ahead.
        act: of an env actor, by its tiles.
        jitter: an act relative to the mean, as seen.
        rest: what an actor adds to a round besides acting (packing, calls), by its tiles.
        ask: of the meta-learner and the way to it, by all tiles.
        issue: of the coordinator, for each env actor.
        learn: an update by one learner, by all tiles.
        shared: the part of an update that several learners divide.
        sums: all-reduces in an update.
        trajectory: bytes of a tile's.
        weights: bytes of the policy's.
        latency, bandwidth: of a link between machines, in seconds and bytes a second.
        cores: of a machine.
        act_threads, learn_threads: of an env actor and a learner.
    """

    steps: float
    staleness: int
    act: Line
    jitter: tuple[float, ...]
    rest: Line
    ask: Line
    issue: float
    learn: Line
    shared: float
    sums: int
    trajectory: float
    weights: float
    latency: float
    bandwidth: float
    cores: float
    act_threads: int
    learn_threads: int


@dataclass(frozen=True)
class Predicted:
    """What a simulation found.

    Attributes:
        speed: env steps a second.
        round: seconds.
        lag: updates between the policy that acted and the one that learned.
        age: seconds from a round's beginning to the update with it.
        busy: share of the time that env, transport, learner, meta-learner are at work: the mean env actor, all transfers and calls.
    """

    speed: float
    round: float
    lag: float
    age: float
    busy: dict[str, float]

    @property
    def bottleneck(self) -> str:
        """Who is at work most."""
        return max(self.busy, key=self.busy.__getitem__)

    def row(self) -> dict[str, Any]:
        """As columns of a table."""
        found = asdict(self)
        busy = found.pop("busy")
        return found | {f"busy/{name}": share for name, share in busy.items()} | {"bottleneck": self.bottleneck}


class Shared:
    """Something that all who use it at a time share evenly, such as cores or a link.

    Everybody advances at the same rate, min(1, capacity / sum of widths), of virtual time; so who began with a need of x ends when virtual
    time has advanced by x, and a heap of these ends says who is next.
    """

    def __init__(self, clock: simpy.Environment, capacity: float) -> None:
        self.clock, self.capacity = clock, capacity
        self.width = self.virtual = self.at = 0.0
        self.ends: list[tuple[float, int, float, simpy.Event]] = []
        self.count = 0  # of all who ever used it
        self.turn = 0  # tells a stale timer from the newest

    def use(self, need: float, width: float = 1.0) -> simpy.Event:
        """Happens when `need` seconds of undisturbed use, `width` units wide, are done."""
        self._advance()
        done = self.clock.event()
        self.count += 1
        heapq.heappush(self.ends, (self.virtual + need, self.count, width, done))
        self.width += width
        self._time()
        return done

    def _rate(self) -> float:
        return min(1.0, self.capacity / self.width) if self.width > 0 else 1.0

    def _advance(self) -> None:
        self.virtual += (self.clock.now - self.at) * self._rate()
        self.at = self.clock.now

    def _time(self) -> None:
        """Wake up when the next one is done."""
        self.turn += 1
        if self.ends:
            wait = max(0.0, (self.ends[0][0] - self.virtual) / self._rate())
            self.clock.process(self._wake(wait, self.turn))

    def _wake(self, wait: float, turn: int) -> Generator[simpy.Event]:
        yield self.clock.timeout(wait)
        if turn != self.turn:
            return
        self._advance()
        self.virtual = max(self.virtual, self.ends[0][0])
        while self.ends and self.ends[0][0] <= self.virtual:
            _, _, width, done = heapq.heappop(self.ends)
            self.width -= width
            done.succeed()
        self.width = self.width if self.ends else 0.0
        self._time()


def line(at: Line, x: float) -> float:
    """a + b x."""
    return at[0] + at[1] * x


class Simulation:
    """A run of a size, round by round.

    Args:
        costs: of the experiment.
        size: of the run.
        rounds: that are simulated; the first quarter is not counted.
        seed: of the acts' variation.
    """

    def __init__(self, costs: Costs, size: Size, rounds: int = 40, seed: int = 0) -> None:
        self.costs, self.size, self.rounds = costs, size, rounds
        self.clock = clock = simpy.Environment()
        self.dice = np.random.default_rng(seed)
        self.cores = [Shared(clock, costs.cores) for _ in range(size.machines)]
        self.into = [Shared(clock, 1.0) for _ in range(size.machines)]  # links, in and out
        self.out = [Shared(clock, 1.0) for _ in range(size.machines)]
        self.shares = [count for _, count in split(size.tiles, size.actors)]
        self.before: list[Any] = [None] * size.actors
        self.arrivals = dict[tuple[int, int], simpy.Event]()
        self.busy: dict[str, float] = dict.fromkeys(("env", "transport", "learner", "meta-learner"), 0.0)
        self.done, self.ages, self.lags = list[float](), list[float](), list[int]()

    def machine(self, actor: int) -> int:
        """Where an env actor stands."""
        return actor * self.size.machines // self.size.actors

    def run(self) -> Predicted:
        """Simulate all rounds."""
        self.clock.run(self.clock.process(self.coordinator()))
        skip = self.rounds // 4
        seconds = (self.done[-1] - self.done[skip - 1]) / (self.rounds - skip)
        busy = {name: min(1.0, total / self.done[-1]) for name, total in self.busy.items()}
        mean = lambda values: float(np.mean(values[skip:]))
        return Predicted(self.costs.steps * self.size.tiles / seconds, seconds, mean(self.lags), mean(self.ages), busy)

    def coordinator(self) -> Generator[Any]:
        """Hands out rounds and waits for updates, as `run.rounds` does."""
        costs, size, issued, flying = self.costs, self.size, 0, []
        for number in range(self.rounds):
            while issued < self.rounds and issued <= number + costs.staleness:
                began, version = self.clock.now, max(0, issued - costs.staleness)
                yield self.take("meta-learner", line(costs.ask, size.tiles))
                yield self.take("transport", costs.issue * size.actors)
                flying.append((began, version, [self.clock.process(self.act(k, version)) for k in range(size.actors)]))
                issued += 1
            began, version, acts = flying.pop(0)
            yield self.clock.all_of(acts)
            yield self.clock.process(self.transfer())
            self.ages.append(self.clock.now - began)
            self.lags.append(number - version)
            yield self.clock.process(self.learn())
            self.done.append(self.clock.now)

    def take(self, who: str, seconds: float) -> simpy.Event:
        """Let time pass, and count it."""
        self.busy[who] += seconds
        return self.clock.timeout(seconds)

    def act(self, actor: int, version: int) -> Generator[Any]:
        """An env actor's round, after the one before."""
        before, self.before[actor] = self.before[actor], self.clock.active_process
        if before is not None:
            yield before
        machine, tiles, costs = self.machine(actor), self.shares[actor], self.costs
        yield self.arrival(machine, version)
        began = self.clock.now
        yield self.cores[machine].use(line(costs.act, tiles) * self.dice.choice(costs.jitter), costs.act_threads)
        self.busy["env"] += (self.clock.now - began) / self.size.actors
        self.busy["transport"] += line(costs.rest, tiles) / self.size.actors
        yield self.clock.timeout(line(costs.rest, tiles))

    def arrival(self, machine: int, version: int) -> simpy.Event:
        """When a version of the weights is on a machine: whoever asks first fetches it for all."""
        if (machine, version) not in self.arrivals:
            self.arrivals[machine, version] = self.clock.process(self.fetch(machine))
        return self.arrivals[machine, version]

    def fetch(self, machine: int) -> Generator[Any]:
        """Bring weights from the first learner's machine."""
        if machine:
            yield self.clock.timeout(self.costs.latency)
            yield self.out[0].use(self.costs.weights / self.costs.bandwidth)

    def transfer(self) -> Generator[Any]:
        """Bring a round's trajectories to every machine that has a learner."""
        costs, began = self.costs, self.clock.now
        to = {k % self.size.machines for k in range(self.size.learners)}
        away = [(costs.trajectory * tiles, self.machine(k), m) for k, tiles in enumerate(self.shares) for m in to if self.machine(k) != m]
        if away:
            yield self.clock.timeout(costs.latency)
            yield self.clock.all_of([self.into[m].use(size / costs.bandwidth) for size, _, m in away])
        self.busy["transport"] += self.clock.now - began

    def learn(self) -> Generator[Any]:
        """All learners' part in an update, and the sums of their gradients."""
        costs, m, began = self.costs, self.size.learners, self.clock.now
        need = line(costs.learn, self.size.tiles) * (1 - costs.shared + costs.shared / m)
        machines = [k % self.size.machines for k in range(m)]
        yield self.clock.all_of([self.cores[k].use(need, costs.learn_threads) for k in machines])
        if m > 1:
            yield self.clock.timeout(ring(costs, m))
        self.busy["learner"] += self.clock.now - began


def ring(costs: Costs, learners: int) -> float:
    """Seconds of an update's all-reduces in a ring: 2 (m - 1) steps, each with 1/m of the gradient."""
    steps = 2 * (learners - 1)
    return costs.sums * steps * (costs.latency + costs.weights / learners / costs.bandwidth)


def simulate(costs: Costs, size: Size, rounds: int = 40, seed: int = 0) -> Predicted:
    """Predict what a run of a size does."""
    return Simulation(costs, size, rounds, seed).run()


def slope(x: tuple[float, float], y: tuple[float, float]) -> Line:
    """The line through two points, neither falling nor below 0 at x = 0: otherwise the nearest such line through the second point."""
    if x[0] == x[1]:
        return (y[1], 0.0)
    b = (y[1] - y[0]) / (x[1] - x[0])
    b = min(max(0.0, b), y[1] / x[1])
    return (max(0.0, y[1] - b * x[1]), b) if math.isfinite(b) else (y[1], 0.0)
