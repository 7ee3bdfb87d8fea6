"""A trial by time: a recipe trains over Ray while its env actors are killed one after another.

    python -m interplay.cluster.soak coin-ppo --minutes 30 --every 20 --run.env-actors 2

In the end every task that was handed out must have been told of once, in order, and have been learned from once; the weights must be those
of an undisturbed run in one process, bit for bit (where `run.staleness` is 0); and memory must not have grown.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interplay.cluster import checkpoint
from interplay.cluster.experiment import Experiment
from interplay.cluster.fleet import process
from interplay.cluster.recipes import recipe
from interplay.cluster.record import RunFolder, write
from interplay.cluster.run import train
from interplay.cluster.runner import LocalRunner
from interplay.cluster.streaming import RayRunner
from interplay.cluster.training import parse
from interplay.envs.core import UsageError

LOOK = 5.0  # seconds between looks at memory
UPDATES = 10**9  # more than there is time for


@dataclass(frozen=True)
class Options:
    """How long, and how rough.

    Attributes:
        minutes: of training.
        every: seconds from one kill to the next.
        compare: train as far again in one process, and compare the weights.
        out: the folder to write, new or empty; by default soak/RECIPE-TIME.
    """

    minutes: float = 30.0
    every: float = 20.0
    compare: bool = True
    out: Path | None = None


class Ledger:
    """A runner that keeps account of tasks: how many were asked for, how many told of; and that they come in order."""

    def __init__(self, runner: RayRunner) -> None:
        self.runner, self.asked, self.told, self.learned, self.wrong = runner, 0, 0, 0, list[str]()
        self.open: list[int] = []  # ids of lists of tasks that are out

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runner, name)

    def ask(self) -> Any:
        """Tasks go out."""
        tasks = self.runner.ask()
        self.asked += len(tasks)
        self.open.append(id(tasks))
        return tasks

    def learn(self, number: int, handle: Any) -> Any:
        """A round is learned from: rounds come in order."""
        if number != self.learned:
            self.wrong.append(f"round {number} was learned from after {self.learned} rounds")
        found = self.runner.learn(number, handle)
        self.learned += 1
        return found

    def tell(self, tasks: Any, outcomes: Any) -> None:
        """Outcomes come home, as many as there were tasks."""
        if not self.open or self.open.pop(0) != id(tasks) or len(tasks) != len(outcomes):
            self.wrong.append(f"what was told of round {self.learned - 1} is not what was asked for")
        self.told += len(outcomes)
        self.runner.tell(tasks, outcomes)


class Trouble(threading.Thread):
    """Kills an env actor every so often, in turn; watches memory; and asks this process to stop when time is up."""

    def __init__(self, runner: RayRunner, ledger: Ledger, options: Options) -> None:
        super().__init__(daemon=True)
        self.runner, self.ledger, self.options = runner, ledger, options
        self.kills, self.rows = 0, list[dict[str, float]]()

    def run(self) -> None:
        """From the first round that was learned until time is up; a kill that is due is done before the end, however late it is."""
        while not self.ledger.learned:
            time.sleep(0.2)
        began = time.monotonic()
        strike, look, end = began + self.options.every, began, began + 60 * self.options.minutes
        while True:
            now = time.monotonic()
            if now >= strike and strike < end and self.strike():
                strike += self.options.every
            if now >= end:
                break
            if now >= look:
                look += LOOK
                self.rows.append({"seconds": now - began, "kills": float(self.kills)} | self.memory())
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    def strike(self) -> bool:
        """Kill the next env actor that is alive; False if none is."""
        hosts = self.runner.hosts
        for host in (hosts[(self.kills + k) % len(hosts)] for k in range(len(hosts))):
            if pid := process(host):
                with suppress(ProcessLookupError):  # gone, but its node has not noticed
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                    return True
        return False

    def memory(self) -> dict[str, float]:
        """Bytes of memory of the coordinator, the learner, all env actors, the servers of its Ray, and shared by all."""
        found = {"coordinator": resident(os.getpid()), "learner": resident(process(self.runner.learner))}
        found["env actors"] = sum(resident(process(host)) for host in self.runner.hosts)
        found["ray"] = sum(resident(int(p.name)) for p in Path("/proc").iterdir() if p.name.isdigit() and _served_by(p, os.getpid()))
        shared = os.statvfs("/dev/shm")
        return found | {"shared": float((shared.f_blocks - shared.f_bfree) * shared.f_frsize)}


def resident(pid: int) -> float:
    """Bytes that a process has to itself (of Linux's /proc); 0 where it is gone."""
    try:
        _, whole, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0.0
    return float((int(whole) - int(shared)) * os.sysconf("SC_PAGE_SIZE"))


def _served_by(place: Path, parent: int) -> bool:
    """Whether a process is a server of the Ray that another one has started."""
    try:
        name, _, rest = (place / "stat").read_text().partition("(")[2].rpartition(")")
        return name in ("raylet", "gcs_server") and int(rest.split()[1]) == parent
    except OSError:
        return False


def growth(rows: list[dict[str, float]], name: str) -> float:
    """How much the last quarter's median is above the second quarter's, relative to it."""
    values = [row[name] for row in rows if row[name] > 0]
    quarter = max(1, len(values) // 4)
    return float(np.median(values[-quarter:]) / np.median(values[quarter : 2 * quarter]) - 1) if len(values) > 1 else 0.0


def soak(name: str, experiment: Experiment, options: Options, out: Path) -> dict[str, Any]:
    """Train in trouble, then check; returns and writes the findings."""
    from interplay.cluster.connect import connect

    made = replace(experiment, run=replace(experiment.run, updates=UPDATES))
    folder = RunFolder.create(out / "run", name, made)
    connect(None)
    runner = RayRunner(made, "soak")
    ledger: Any = Ledger(runner)
    trouble, events = Trouble(runner, ledger, options), list[str]()
    trouble.start()
    train(folder, ledger, {}, lambda row: events.append(row["event"]) if "event" in row else None)
    done = checkpoint.numbers(folder.checkpoints)[-1]
    state = checkpoint.load(folder.checkpoints)
    found: dict[str, Any] = {
        "minutes": options.minutes,
        "kills": trouble.kills,
        "restarts seen": sum("was lost; another" in event for event in events),
        "falls": sum("going on from" in event for event in events),
        "rounds": done,
        "tasks asked": ledger.asked,
        "tasks told": ledger.told,
        "rounds learned from": ledger.learned,
        "out of order": len(ledger.wrong),
        "growth": {n: round(growth(trouble.rows, n), 4) for n in ("coordinator", "learner", "env actors", "ray", "shared")},
    }
    pq.write_table(pa.Table.from_pylist(trouble.rows), out / "memory.parquet")
    if options.compare:
        calm = replace(made, run=replace(made.run, updates=done // made.stages))
        beside = RunFolder.create(out / "calm", name, calm)
        train(beside, LocalRunner(calm), {})
        found["same weights"] = checkpoint.digest(checkpoint.load(beside.checkpoints)) == checkpoint.digest(state)
    write(out / "soak.json", found)
    return found


def main(arguments: Sequence[str]) -> None:
    """Print the findings; exit code 1 where a task was lost or counted twice."""
    if not arguments or arguments[0].startswith("-"):
        raise UsageError("soak needs a recipe: python -m interplay.cluster.soak RECIPE [flags]")
    name = arguments[0]
    options, experiment = parse(name, recipe(name).experiment, arguments[1:], recipe(name), Options, "soak")
    experiment.check()
    found = soak(name, experiment, options, options.out or Path("soak") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}")
    for what, value in found.items():
        print(f"{what}: {value}")
    whole = found["tasks asked"] == found["tasks told"] == found["rounds"] * experiment.run.tiles and not found["out of order"]
    raise SystemExit(0 if whole and found.get("same weights", True) else 1)


if __name__ == "__main__":
    main(sys.argv[1:])
