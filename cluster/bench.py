"""How fast worlds are played: env steps/s by world, batch size, device and threads."""

import itertools
import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from interplay.envs import Batch, UsageError, make, names, world
from interplay.envs.core import on_device, whole

WARM_UP = 0.1  # seconds, after compilation
CHUNK = 0.005  # seconds between looks at the clock, at least
REPEATS = 3


def bench(
    worlds: Iterable[str] | None = None,
    num_envs: Iterable[int] = (64, 1024, 8192, 65536),
    device: str = "cpu",
    threads: int | None = None,
    seconds: float = 0.5,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Play worlds at random and yield one row for each world and batch size, as soon as it is measured.

    A step is one turn of one world: uniform random legal actions for all agents are drawn, the full `Step` is written (unpacked
    observations, rewards, ends, masks), ended games start anew. Compilation is not counted.

    Args:
        worlds: names of the registry; all by default.
        num_envs: batch sizes.
        device: "cpu", "cuda:0", ...
        threads: of the CPU; torch's number by default.
        seconds: length of one timed repeat; the median of three is kept.
        seed: of the worlds.

    Yields:
        Rows with keys world, num_envs, device, threads, env_steps_per_s, and system ("interplay").
    """
    if not seconds > 0:
        raise UsageError(f"seconds is {seconds!r}; allowed are numbers above 0")
    before = torch.get_num_threads()
    torch.set_num_threads(before if threads is None else whole("threads", threads, 1, 1024))
    try:
        for name in worlds or names():
            for n in num_envs:
                batch = make(name, num_envs=n, device=device, seed=seed)
                yield {
                    "system": "interplay",
                    "world": name,
                    "num_envs": n,
                    "device": str(on_device(device)),
                    "threads": torch.get_num_threads(),
                    "env_steps_per_s": n * median_rate(player(batch), seconds, waiter(batch.device)),
                }
    finally:
        torch.set_num_threads(before)


def player(batch: Batch) -> Callable[[int], None]:
    """A function that plays so many turns at random, with fresh draws at every call."""
    draw = 0

    def play(turns: int) -> None:
        nonlocal draw
        for _ in range(turns):
            batch.views(batch.step(batch.random_action(draw)).obs)
            draw += 1

    return play


def waiter(device: torch.device) -> Callable[[], None]:
    """A function that waits until the device has done all it was asked."""
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def median_rate(work: Callable[[int], None], seconds: float, wait: Callable[[], None]) -> float:
    """Turns a second of `work(turns)`: the median of timed repeats after a warm-up; the clock is read between chunks of turns."""

    def timed(turns: int) -> float:
        wait()
        start = time.perf_counter()
        work(turns)
        wait()
        return time.perf_counter() - start

    def rate(budget: float) -> float:
        turns, spent = 0, 0.0
        while spent < budget:  # not a number of turns fixed beforehand: beside a busy core one may take a hundred times as long
            turns, spent = turns + chunk, spent + timed(chunk)
        return turns / spent

    chunk = 1
    timed(chunk)  # compiles
    while timed(chunk) < CHUNK:
        chunk *= 2
    rate(WARM_UP)
    return statistics.median(rate(seconds) for _ in range(REPEATS))


# JaxMARL 0.2.0's name for a world of ours. Its other games with our themes are grid worlds (STORM), no matrix games; it has no levers
# and no public goods. Ours has four moves and one coin, theirs (as in pax) five moves and a coin of each colour.
JAXMARL = {"coin": "coin_game", "hanabi": "hanabi"}


def side_by_side(
    python: str | Path,
    num_envs: Iterable[int] = (64, 1024, 8192),
    seconds: float = 0.5,
    threads: int | None = None,
    worlds: Iterable[str] = tuple(JAXMARL),
) -> Iterator[dict[str, Any]]:
    """Yield rows of `bench` and of JaxMARL for the worlds that both have, on the CPU.

    Args:
        python: an interpreter that has jaxmarl; its pins must not touch ours, so it lives in an environment of its own
            (`python -m venv .venv-jaxmarl && .venv-jaxmarl/bin/pip install jaxmarl==0.2.0`).
        num_envs, seconds, threads: as in `bench`; JAX takes all cores unless told otherwise by its own flags.
        worlds: some of `JAXMARL`.
    """
    sizes, both = list(num_envs), {name: JAXMARL[name] for name in worlds}
    yield from bench(both, sizes, threads=threads, seconds=seconds)
    script = Path(__file__).with_name("bench_jaxmarl.py")
    arguments = ["--worlds", *both.values(), "--num-envs", *map(str, sizes), "--seconds", str(seconds)]
    ours = {theirs: name for name, theirs in both.items()}
    for row in json_lines([str(python), str(script), *arguments]):
        yield {**row, "world": ours[row["world"]]}


def json_lines(command: list[str]) -> Iterator[dict[str, Any]]:
    """The rows that a program prints, one JSON object a line, as they come."""
    try:
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    except OSError as error:
        raise UsageError(f"cannot run {command[0]!r}: {error.strerror}; give the interpreter of an environment with jaxmarl") from None
    with program:
        assert program.stdout
        for line in program.stdout:
            if line.startswith("{"):  # jaxmarl talks when it is imported, past any redirection in Python
                yield json.loads(line)
    if program.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {program.returncode}; its own message stands above")


@dataclass(frozen=True)
class BenchArguments:
    """Env steps/s by world and batch size, uniform random legal actions included.

    Attributes:
        worlds: names of worlds; all by default.
        num_envs: batch sizes.
        device: "cpu", "cuda:0", ...
        threads: of the CPU; PyTorch's number by default.
        seconds: length of a timed repeat; the median of three counts.
        json: one JSON object a line instead of a table.
        jaxmarl: an interpreter that has jaxmarl: its figures are shown side by side for the worlds that both have.
    """

    worlds: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    num_envs: tuple[int, ...] = (64, 1024, 8192, 65536)
    device: str = "cpu"
    threads: int | None = None
    seconds: float = 0.5
    json: bool = False
    jaxmarl: str | None = None


def main(arguments: Sequence[str]) -> None:
    """`interplay bench`."""
    options = tyro.cli(BenchArguments, prog="interplay bench", args=list(arguments))
    for name in options.worlds:
        world(name)
    rows = bench(options.worlds or None, options.num_envs, options.device, options.threads, options.seconds)
    if options.jaxmarl:
        both = [name for name in JAXMARL if not options.worlds or name in options.worlds]
        paired = side_by_side(options.jaxmarl, options.num_envs, options.seconds, worlds=both) if both else iter(())
        others = (row for row in paired if row["system"] != "interplay")
        rows = itertools.chain(rows, others)
    if not options.json:
        print(f"{'system':10} {'world':14} {'worlds':>8} {'device':7} {'threads':>7} {'env steps/s':>14}")
    for row in rows:
        if options.json:
            print(json.dumps(row), flush=True)
        else:
            where = f"{row['num_envs']:8} {row['device']:7} {row['threads']:7}"
            print(f"{row['system']:10} {row['world']:14} {where} {row['env_steps_per_s']:14,.0f}", flush=True)
