"""`interplay jobs`: the jobs of a cluster, their logs, their ends, and their run folders."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from interplay.cluster import storage
from interplay.cluster.head import client, talking
from interplay.cluster.watch import found, watch
from interplay.envs.core import UsageError, did_you_mean

COLUMNS = ("id", "recipe", "status", "start", "duration")
LOOK = 0.5  # seconds between looks at whether a job has stopped
USAGE = "interplay jobs list|logs ID|stop ID|fetch ID DEST [--address http://HEAD:8265]"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The jobs of a cluster, newest first.

    Attributes:
        address: of the head's dashboard, such as http://HEAD:8265; by default RAY_API_SERVER_ADDRESS, or this machine's.
    """

    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class OneJob(Cluster):
    """End a job as Ctrl-C ends a run: it writes its summary, and its run folder is copied to its storage.

    Attributes:
        id: of the job, as `submit` printed it.
    """

    id: Annotated[str, tyro.conf.Positional]


@dataclass(frozen=True, kw_only=True)
class Logs(OneJob):
    """What a job has printed.

    Attributes:
        follow: go on until the job ends; the exit code is the job's.
    """

    follow: bool = False


@dataclass(frozen=True, kw_only=True)
class Fetch(OneJob):
    """Copy a job's run folder to this machine, as far as the run has come.

    Attributes:
        dest: folder to make of it; new or empty.
    """

    dest: Annotated[Path, tyro.conf.Positional]


def main(arguments: Sequence[str]) -> None:
    """Run one of `list`, `logs`, `stop`, `fetch`."""
    word = arguments[0] if arguments else ""
    if word in ("-h", "--help"):
        print(f"usage: {USAGE}")
        return
    if not word:
        raise UsageError(f"jobs needs a verb: {USAGE}")
    if word not in VERBS:
        raise UsageError(f"jobs {word!r} is unknown{did_you_mean(word, VERBS)}")
    kind, verb = VERBS[word]
    options = tyro.cli(kind, prog=f"interplay jobs {word}", args=list(arguments[1:]))
    head = client(options.address)
    with talking(head.get_address()):
        verb(head, options)


def show(head: Any, options: Cluster) -> None:
    """A table of the submitted jobs; without a terminal plain lines."""
    jobs = [job for job in head.list_jobs() if job.submission_id]
    rows = [row(job, time.time()) for job in sorted(jobs, key=lambda job: -(job.start_time or 0))]
    if not rows:
        print(f"no jobs at {head.get_address()}", file=sys.stderr)
    console = Console()
    if not console.is_terminal:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
        return
    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column, no_wrap=column == "id")
    for cells in rows:
        table.add_row(*cells)
    console.print(table)


def row(job: Any, now: float) -> tuple[str, ...]:
    """The cells of `COLUMNS`, from a `JobDetails`; `now` in seconds."""
    start, end = (job.start_time or 0) / 1000, (job.end_time / 1000 if job.end_time else now)
    seconds = max(0, round(end - start)) if job.start_time else 0
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(start)) if job.start_time else "-"
    duration = f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return job.submission_id, (job.metadata or {}).get("recipe", "-"), str(job.status.value), began, duration


def logs(head: Any, options: Logs) -> None:
    """Print a job's log, or follow it."""
    found(head, options.id)
    if not options.follow:
        print(head.get_job_logs(options.id), end="")
        return
    code = watch(head, options.id)
    if code:
        raise SystemExit(code)


def stop(head: Any, options: OneJob) -> None:
    """Ask a job to end, and wait until it has."""
    details = found(head, options.id)
    if not details.status.is_terminal():
        head.stop_job(options.id)
        print(f"stopping {options.id}", file=sys.stderr)
        while not (details := found(head, options.id)).status.is_terminal():
            time.sleep(LOOK)
    print(f"job {options.id} {details.status.value.lower()}")


def fetch(head: Any, options: Fetch) -> None:
    """Download a run folder; prints where it is."""
    details = found(head, options.id)
    about, dest = details.metadata or {}, options.dest
    if "run_dir" not in about:
        raise UsageError(f"job {options.id} was not made by `interplay submit`: where its run folder is, is not known")
    if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
        raise UsageError(f"{dest} is there already and not empty; nothing was written. Allowed is a new folder")
    source = about.get("storage") or about["run_dir"]
    if not about.get("storage") and not Path(source).is_dir():
        raise UsageError(f"job {options.id} has no storage: its run folder is {source} on the head node. Allowed is `submit --storage URI`")
    count = storage.download(source, dest)
    if not count:
        raise UsageError(f"nothing is at {source} yet; job {options.id} is {details.status.value.lower()}")
    print(f"{count} files of {options.id} ({details.status.value.lower()})", file=sys.stderr)
    print(dest)


VERBS = {
    "list": (Cluster, show),
    "logs": (Logs, logs),
    "stop": (OneJob, stop),
    "fetch": (Fetch, fetch),
}
