"""The way to a Ray: one of this machine's own, or a cluster's."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from interplay.envs.core import UsageError

QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # Ray's name for whether other machines may join


def connect(address: str | None, cpus: int | None = None) -> bool:
    """Join the Ray at `address`, or start one on this machine's loopback; returns whether it was started here.

    Raises:
        UsageError: nothing answers at the address.
    """
    with _loopback(address is None or "127.0.0.1" in address or "localhost" in address):
        import ray

        if ray.is_initialized():
            return False
        if address is None:
            os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # loopback only, for the time of this run
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **QUIET)
            return True
        _join(address)
    return False


@contextmanager
def _loopback(only: bool) -> Iterator[None]:
    """Let the Ray that is imported and started meanwhile listen on 127.0.0.1 only, and look for others there; Ray started later is free."""
    if not only or LOOPBACK in os.environ:
        yield
        return
    os.environ[LOOPBACK] = "0"
    try:
        yield
    finally:
        del os.environ[LOOPBACK]


def _join(address: str) -> None:
    """Join the Ray at `address`."""
    import ray

    _knock(address)
    try:
        ray.init(address=address, runtime_env=_code(), **QUIET)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise UsageError(f"no Ray answers at {address!r} ({reason}); allowed are host:port of a running head, or no --address") from None


def _knock(address: str) -> None:
    """Does anything listen there? Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UsageError(f"no Ray answers at {address!r} ({error}); allowed are host:port of a running head, or no --address") from None


def _code() -> dict[str, Any]:
    """How the code reaches the nodes: by itself where it runs from a checkout, else it is installed there as it is here."""
    checkout = Path(__file__).resolve().parent.parent / ".path" / "interplay"
    return {"py_modules": [str(checkout)], "excludes": ["__pycache__"]} if checkout.is_dir() else {}  # compiled rules are large
