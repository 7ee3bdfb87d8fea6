"""The head of a Ray cluster as it is seen from outside: its address, its token, and a client for its jobs."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from interplay.envs.core import UsageError

HERE = "http://127.0.0.1:8265"  # where Ray's dashboard and its job API are by default
PATIENCE = 10.0  # seconds for a first answer
PLACES = "RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH (a file), ~/.ray/auth_token (made by `ray get-auth-token --generate`)"
CHATTY = ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk", "ray._private.runtime_env.packaging")
CLOSED = (401, 403)  # the head misses a token, or refuses it


def where(address: str | None) -> str:
    """The URL of a head's dashboard: `address`, else RAY_API_SERVER_ADDRESS, else this machine's default.

    Raises:
        UsageError: it is no http address, or holds a password, which would be printed.
    """
    text = address or os.environ.get("RAY_API_SERVER_ADDRESS") or HERE
    url = (text if "://" in text else f"http://{text}").rstrip("/")
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        parts, fits = None, False
    if parts is not None and "@" in parts.netloc:
        raise UsageError(f"--address holds a user name or password, which would be printed; allowed is an address alone, such as {HERE}")
    if not fits:
        raise UsageError(f"--address is {text!r}; allowed is the http address of the head's dashboard, such as {HERE}")
    return url


def token() -> tuple[str, str] | None:
    """(The token, where it was found), looked for where Ray looks and in its order; None where there is none.

    Raises:
        UsageError: RAY_AUTH_TOKEN_PATH names a file that is empty or cannot be read.
    """
    word = os.environ.get("RAY_AUTH_TOKEN", "").strip()
    if word:
        return word, "RAY_AUTH_TOKEN"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        word = path.read_text().strip()
    except (OSError, ValueError):
        word = ""
    if named and not word:
        raise UsageError(f"RAY_AUTH_TOKEN_PATH is {named!r}, which is empty or cannot be read; allowed is a file with the head's token")
    return (word, str(path)) if word else None


def client(address: str | None) -> Any:
    """A `ray.job_submission.JobSubmissionClient` of a head that has answered, and takes the token that is set here.

    Ray's own client sends no token unless RAY_AUTH_MODE says so. This one asks without a token first, and sends it, from wherever Ray
    would find it, to a head that wants one: no variable has to be set for that.

    Raises:
        UsageError: no head answers at `address`; it wants a token and none, or another one, is set here.
    """
    url, headers = where(address), {}
    if _ask(url, {}) in CLOSED:
        headers = _authorised(url)
    elif _mode() == "token":
        if token() is None:
            raise UsageError(f"RAY_AUTH_MODE is token, and no token is set; allowed are {PLACES}, or RAY_AUTH_MODE=disabled")
        print(f"note: RAY_AUTH_MODE is token, but {url} asks for none: whoever reaches it can run code there", file=sys.stderr)
    os.environ["RAY_API_SERVER_ADDRESS"] = url  # else RAY_ADDRESS, perhaps of another cluster, would overrule --address
    from ray.job_submission import JobSubmissionClient

    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    with talking(url):
        return JobSubmissionClient(url, headers=headers)


@contextmanager
def talking(url: str) -> Iterator[None]:
    """Turns what goes wrong between this machine and the head into a `UsageError` of one line."""
    import aiohttp
    import requests

    try:
        yield
    except (requests.RequestException, aiohttp.ClientError, OSError, RuntimeError) as error:
        text = str(error).strip() or type(error).__name__
        raise UsageError(f"the head at {url} failed: {text.splitlines()[0][:300]}") from None


def _mode() -> str:
    return os.environ.get("RAY_AUTH_MODE", "").lower()


def _authorised(url: str) -> dict[str, str]:
    """The header that lets us in."""
    if _mode() not in ("", "token"):
        raise UsageError(f"{url} asks for a token, and RAY_AUTH_MODE is {_mode()!r} here; allowed is token, or to leave it unset")
    found = token()
    if found is None:
        raise UsageError(f"{url} asks for a token, and none is set here; allowed are {PLACES}: the same token as the head's")
    word, place = found
    headers = {"Authorization": f"Bearer {word}"}
    if not (word.isascii() and word.isprintable()) or _ask(url, headers) in CLOSED:  # an ill-formed header would be quoted in an error
        raise UsageError(f"{url} refuses the token from {place}; allowed is the head's own, in {PLACES}")
    return headers


def _ask(url: str, headers: dict[str, str]) -> int:
    """The status with which the head answers: 200, or one of `CLOSED`."""
    import requests

    allowed = f"allowed is the address of a running head's dashboard, such as {HERE}, not the port 6379 that `train` takes"
    try:
        answer = requests.get(f"{url}/api/version", headers=headers, timeout=PATIENCE)
    except requests.RequestException as error:
        reason = "nothing listens there" if "refused" in str(error) else type(error).__name__
        raise UsageError(f"no Ray head answers at {url!r} ({reason}); {allowed}") from None
    if answer.status_code not in CLOSED and not (answer.status_code == 200 and "ray_version" in answer.text):
        raise UsageError(f"what answers at {url!r} is no Ray head (status {answer.status_code}); {allowed}")
    return answer.status_code
