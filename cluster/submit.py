"""`interplay submit`: a recipe as a job of a Ray cluster. What is wrong with it is said here; nothing is sent then."""

import dataclasses
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
import tyro

from interplay.cluster import storage
from interplay.cluster.head import client, talking, token, where
from interplay.cluster.recipes import recipe
from interplay.cluster.training import parse
from interplay.cluster.watch import watch
from interplay.envs.core import UsageError

ROOMS = ("envs", "policies", "learners", "cluster")
SOURCE = (".py", ".json", ".csv")  # what a room is made of; weights, caches and compiled rules are not shipped
ON_HEAD = "/tmp/interplay"  # run folders on the head node
# A job is stopped as Ctrl-C stops a run, and gets so many seconds to write its summary and copy its folder.
STOP = {"RAY_JOB_STOP_SIGNAL": "SIGINT", "RAY_JOB_STOP_WAIT_TIME_S": "120"}


@dataclass(frozen=True)
class Options:
    """Where a job goes; the recipe's own flags follow below.

    Attributes:
        address: of the head's dashboard, such as http://HEAD:8265; by default RAY_API_SERVER_ADDRESS, or this machine's.
        storage: where the run folder is copied, at every checkpoint and at the end: a path that the head node sees, s3://..., gs://...
        wait: print the job's log until it ends; the exit code is the job's.
        dry_run: send nothing; print the `ray job submit` that does the same.
        python: the interpreter on the head node that has Ray and PyTorch.
    """

    address: str | None = None
    storage: str | None = None
    wait: bool = True
    dry_run: bool = False
    python: str = "python"


@dataclass(frozen=True)
class Job:
    """What is sent to the head.

    Attributes:
        id: its name there.
        entrypoint: shell command on the head node.
        metadata: recipe, run folder and storage, for `interplay jobs`.
    """

    id: str
    entrypoint: str
    metadata: dict[str, str]


def main(arguments: Sequence[str]) -> None:
    """Submit a recipe; prints the job's id, then its log."""
    if not arguments or arguments[0].startswith("-"):
        raise UsageError("submit needs a recipe: interplay submit RECIPE [flags] --address http://HEAD:8265")
    name = arguments[0]
    options, flags = parted(name, arguments[1:])
    check(name, flags)
    where(options.address)
    job = make(name, flags, options)
    if options.dry_run:
        package, files, size = stage(Path(tempfile.mkdtemp(prefix="interplay-")))
        print(f"nothing sent; code: {files} files, {size / 1024:,.0f} KiB, in {package}", file=sys.stderr)
        print(by_hand(job, options.address, package))
        return
    head = client(options.address)
    url = head.get_address()
    with tempfile.TemporaryDirectory(prefix="interplay-") as aside:
        package, files, size = stage(Path(aside))
        with talking(url):
            head.submit_job(entrypoint=job.entrypoint, submission_id=job.id, runtime_env=environment(package), metadata=job.metadata)
    print(f"code: {files} files, {size / 1024:,.0f} KiB; job at {url}:", file=sys.stderr)
    print(job.id, flush=True)
    print(f"run folder: {job.metadata.get('storage') or job.metadata['run_dir'] + ' on the head node'}", file=sys.stderr)
    if options.wait:
        with talking(url):
            code = watch(head, job.id)
        if code:
            raise SystemExit(code)


def parted(name: str, arguments: Sequence[str]) -> tuple[Options, list[str]]:
    """The flags of `submit`, and the rest, which are the recipe's; prints both and exits where help is asked for."""
    prog = f"interplay submit {name}"
    if {"-h", "--help"} & set(arguments):
        about = recipe(name)
        try:
            tyro.cli(Options, prog=prog, args=["--help"])
        except SystemExit:
            parse(name, about.experiment, ["--help"], about)
    options, rest = tyro.cli(Options, prog=prog, args=list(arguments), return_unknown_args=True)
    return options, rest


def check(name: str, flags: Sequence[str]) -> None:
    """Everything that `train` would find wrong, but for devices: those are the cluster's.

    Raises:
        UsageError: what is wrong; also flags of `train` that make no sense for a job.
    """
    about = recipe(name)
    options, chosen = parse(name, about.experiment, flags, about)
    if options.local or options.run_dir or options.resume:
        raise UsageError("--local, --run-dir and --resume are not for jobs; allowed are --storage URI, and the recipe's own flags")
    try:
        gpu = torch.device(chosen.run.device).type == "cuda"
    except RuntimeError:
        gpu = False  # the check below says what is wrong with it
    here = dataclasses.replace(chosen.run, device="cpu" if gpu else chosen.run.device)
    dataclasses.replace(chosen, run=here).check()


def make(name: str, flags: Sequence[str], options: Options) -> Job:
    """The job: its id, its command and what is to be known of it."""
    job = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    run_dir = f"{ON_HEAD}/{job}"
    python, metadata = options.python, {"recipe": name, "run_dir": run_dir}
    words = [python, "-m", "interplay.cluster.cli", "train", name, *flags, "--address", "auto", "--run-dir", run_dir]
    if options.storage is not None:
        metadata["storage"] = storage.below(storage.normal(options.storage), job)
        words = [python, "-m", "interplay.cluster.keep", metadata["storage"], run_dir, *words]
    return Job(job, shlex.join(words), metadata)


def stage(folder: Path) -> tuple[Path, int, int]:
    """Copy the code that runs here, and nothing else, into `folder`; returns (the package, files, bytes).

    Rooms are one level deep, so nothing below their own files is code: neither caches nor somebody's run folders.
    """
    package, files, size = folder / "interplay", 0, 0
    for room in ROOMS:
        spec = find_spec(f"interplay.{room}")
        if spec is None or not spec.submodule_search_locations:
            raise UsageError(f"interplay.{room} is not installed; pip install interplay")
        (package / room).mkdir(parents=True)
        for file in sorted(Path(next(iter(spec.submodule_search_locations))).iterdir()):
            if file.is_file() and file.suffix in SOURCE and not file.name.startswith("."):
                shutil.copyfile(file, package / room / file.name)
                files, size = files + 1, size + file.stat().st_size
    return package, files, size


def environment(package: Path) -> dict[str, object]:
    """The job's Ray runtime environment: the code goes to every node, and is imported before what may be installed there."""
    return {"py_modules": [str(package)], "env_vars": STOP}


def by_hand(job: Job, address: str | None, package: Path) -> str:
    """The shell command that submits the same job with Ray's own client. The token is not in it: Ray reads it where it is."""
    url = where(address)
    before = ["RAY_AUTH_MODE=token"] if token() else []
    if os.environ.get("RAY_ADDRESS") or os.environ.get("RAY_API_SERVER_ADDRESS"):
        before.append(f"RAY_API_SERVER_ADDRESS={shlex.quote(url)}")  # or else theirs would overrule --address
    words = ["ray", "job", "submit", "--address", url, "--submission-id", job.id]
    words += ["--runtime-env-json", json.dumps(environment(package)), "--metadata-json", json.dumps(job.metadata)]
    return " ".join([*before, shlex.join(words), "--", job.entrypoint])
