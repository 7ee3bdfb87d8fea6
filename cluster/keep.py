"""What a job on a cluster is wrapped in, so that its run folder outlives the node.

`python -m interplay.cluster.keep URI FOLDER COMMAND...` runs COMMAND and copies FOLDER to URI: at each new checkpoint, and when the
command has ended, however it did.
"""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from interplay.cluster.storage import reach, upload
from interplay.envs.core import UsageError

LOOK = 1.0  # seconds between looks at whether there is a new checkpoint
TRIES = 3  # at the last copy


def keep(command: Sequence[str], folder: Path, uri: str) -> int:
    """Run `command`, copying `folder` to `uri` meanwhile and at the end; returns its exit code, or 1 if only the last copy failed.

    Raises:
        UsageError: nothing can be written to `uri`: found out before anything is run.
    """
    reach(uri)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # the command is told as well, and what it leaves behind is still to be copied
    child = subprocess.Popen(command)
    sent: dict[str, tuple[int, int]] = {}
    known: set[str] = set()
    while child.poll() is None:
        there = {path.name for path in (folder / "checkpoints").glob("[0-9]*")}
        if there - known and _copy(folder, uri, sent, 1):
            known = there
        try:
            child.wait(LOOK)
        except subprocess.TimeoutExpired:
            pass
    kept = _copy(folder, uri, sent, TRIES)
    print(f"run folder copied to {uri}" if kept else f"the run folder stays on this node: {folder}", flush=True)
    code = child.returncode
    return (128 - code if code < 0 else code) or (0 if kept else 1)


def _copy(folder: Path, uri: str, sent: dict[str, tuple[int, int]], tries: int) -> bool:
    """Upload; a storage that is away for a while is no reason to end a run."""
    for _ in range(tries):
        try:
            upload(folder, uri, sent)
            return True
        except UsageError as error:
            print(f"interplay: {error}", file=sys.stderr, flush=True)
    return False


if __name__ == "__main__":
    try:
        raise SystemExit(keep(sys.argv[3:], Path(sys.argv[2]), sys.argv[1]))
    except UsageError as error:
        print(f"interplay: {error}", file=sys.stderr)
        raise SystemExit(2) from None
