"""Watching a job of a cluster until it ends."""

import asyncio
import sys
import time
from typing import Any

from interplay.envs.core import UsageError, did_you_mean

AGAIN = 1.0  # seconds until a log is asked for again, where the connection broke
TRIES = 30
STOPPED = 130  # exit code for a job that was stopped, as of a run that was


def found(head: Any, job: str) -> Any:
    """The `JobDetails` of a job; `UsageError` where there is none of that id."""
    try:
        return head.get_job_info(job)
    except RuntimeError as error:
        if "404" not in str(error):
            raise
        known = [other.submission_id for other in head.list_jobs() if other.submission_id][-20:]
        hint = did_you_mean(job, known) if known else ". It has none"
        raise UsageError(f"job {job!r} is unknown at {head.get_address()}{hint}") from None


class Log:
    """Prints a job's log once, however often it has to be read from its beginning."""

    def __init__(self) -> None:
        self.printed = 0

    async def follow(self, head: Any, job: str) -> None:
        """Print what is new until the job ends or the connection breaks."""
        read = 0
        async for text in head.tail_job_logs(job):
            print(text[max(0, self.printed - read) :], end="", flush=True)
            read += len(text)
            self.printed = max(self.printed, read)


def watch(head: Any, job: str) -> int:
    """Print a job's log until it ends; returns its exit code: 0, the failed command's own, or `STOPPED`.

    Raises:
        UsageError: the head does not answer any more.
    """
    import aiohttp
    import requests

    log, lost = Log(), 0
    try:
        while True:
            try:
                asyncio.run(log.follow(head, job))
                details = found(head, job)
                lost = 0
                if details.status.is_terminal():
                    return told(details, head.get_address())
            except (aiohttp.ClientError, requests.RequestException, OSError, RuntimeError):
                lost += 1
                if lost > TRIES:
                    raise
            time.sleep(AGAIN)
    except KeyboardInterrupt:
        where = f"--address {head.get_address()}"
        print(f"\nno longer watching; job {job} goes on. To watch: interplay jobs logs {job} --follow {where}", file=sys.stderr)
        print(f"To end it: interplay jobs stop {job} {where}", file=sys.stderr)
        raise SystemExit(130) from None


def told(details: Any, url: str) -> int:
    """Say how a job ended, and how to get its run; returns its exit code."""
    job, fate = details.submission_id, details.status.value
    code, why = {"SUCCEEDED": 0, "STOPPED": STOPPED}.get(fate, details.driver_exit_code or 1), ""
    code = 128 - code if code < 0 else code  # a signal ended it
    if fate == "FAILED":
        by_itself = details.driver_exit_code is not None  # then its log, printed already, says why
        why = f" with exit code {code}" if by_itself else f": {(details.message or 'no reason given').strip()[:2000]}"
    print(f"job {job} {fate.lower()}{why}", file=sys.stderr)
    if (details.metadata or {}).get("storage"):
        print(f"its run folder: interplay jobs fetch {job} DEST --address {url}", file=sys.stderr)
    return code
