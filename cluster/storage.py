"""Run folders on storage that outlives a cluster: a local path, s3://, gs:// and whatever else pyarrow.fs can write to."""

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from interplay.envs.core import UsageError

SCHEMES = ("file", "s3", "gs", "gcs", "hdfs", "abfs", "abfss")
LAST = ("state.json", "summary.json")  # say of a checkpoint, and of a run, that it is whole: they are copied after the rest


def normal(uri: str) -> str:
    """`uri` with a local path made absolute; nothing is looked up.

    Raises:
        UsageError: an unknown scheme, no bucket, or a password, which would show in job lists and logs.
    """
    if "://" not in uri:
        return str(Path(uri).expanduser().absolute())
    parts = urlsplit(uri)
    if parts.password is not None:
        raise UsageError(
            "--storage holds a password, which job lists and logs would show; allowed are credentials in the nodes' environment"
        )
    if parts.scheme not in SCHEMES or not (parts.netloc or (parts.scheme == "file" and parts.path.startswith("/"))):
        raise UsageError(f"--storage is {uri!r}; allowed are a path, file:///PATH, s3://BUCKET/PATH, gs://BUCKET/PATH, hdfs:// and abfs://")
    return uri


def below(uri: str, name: str) -> str:
    """The place called `name` in `uri` (whose ?options stay behind it)."""
    if "://" not in uri:
        return str(Path(uri) / name)
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def place(uri: str) -> tuple[Any, str]:
    """The pyarrow filesystem of `uri`, and the path in it.

    Raises:
        UsageError: pyarrow cannot read the URI, or finds no such storage.
    """
    from pyarrow import ArrowException, fs

    try:
        system, path = fs.FileSystem.from_uri(uri)
        return system, system.normalize_path(path).rstrip("/")
    except (ArrowException, OSError) as error:
        raise _failed(uri, "opened", error) from None


def reach(uri: str) -> None:
    """Make sure that `uri` can be written, with an empty folder.

    Raises:
        UsageError: it cannot.
    """
    from pyarrow import ArrowException

    system, root = place(uri)
    try:
        system.create_dir(root, recursive=True)
    except (ArrowException, OSError) as error:
        raise _failed(uri, "written", error) from None


def upload(folder: Path, uri: str, sent: dict[str, tuple[int, int]] | None = None) -> int:
    """Copy a folder to `uri`; returns the number of files copied.

    Hidden files are left out (what is half written is hidden), and what says that something is whole goes last.

    Args:
        folder: what to copy.
        uri: to where; what is there already is overwritten, not removed.
        sent: (modified, bytes) of files that are there already, by path in the folder: skipped unless they changed, and kept up to date.

    Raises:
        UsageError: the storage cannot be written.
    """
    from pyarrow import ArrowException

    system, root = place(uri)
    sent, count = {} if sent is None else sent, 0
    found = [path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder).parts)]
    for path in sorted(found, key=lambda path: (path.name in LAST, path)):
        name = path.relative_to(folder).as_posix()
        try:
            about = path.stat()
            stamp = (about.st_mtime_ns, about.st_size)
            if sent.get(name) == stamp:
                continue
            _send(path, system, f"{root}/{name}")
        except (ArrowException, OSError) as error:
            if not path.exists():
                continue  # moved away since it was listed
            raise _failed(uri, "written", error) from None
        sent[name], count = stamp, count + 1
    return count


def _send(path: Path, system: Any, target: str) -> None:
    """One file. On a disk it gets its name when it is whole; objects in a store appear whole by themselves."""
    parent, _, name = target.rpartition("/")
    aside = f"{parent}/.{name}.partial" if system.type_name == "local" else target
    system.create_dir(parent, recursive=True)
    with path.open("rb") as source, system.open_output_stream(aside, compression=None) as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    if aside != target:
        system.move(aside, target)


def download(uri: str, folder: Path) -> int:
    """Copy what is at `uri` to a folder, which is made; returns the number of files (0: there is nothing).

    Raises:
        UsageError: the storage cannot be read, or the folder cannot be written.
    """
    from pyarrow import ArrowException, fs

    system, root = place(uri)
    try:
        found = system.get_file_info(fs.FileSelector(root, recursive=True, allow_not_found=True))
        names = [PurePosixPath(info.path).relative_to(root) for info in found if info.type == fs.FileType.File]
        names = [name for name in names if not _hidden(name.parts)]  # ".." is hidden too: nothing gets outside the folder
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with system.open_input_stream(f"{root}/{name}", compression=None) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
    except (ArrowException, OSError) as error:
        raise _failed(uri, "copied", error) from None
    return len(names)


def _hidden(parts: Sequence[str]) -> bool:
    return any(part.startswith(".") for part in parts)


def _failed(uri: str, what: str, error: Exception) -> UsageError:
    return UsageError(f"storage {uri!r} cannot be {what} ({(str(error).strip() or type(error).__name__).splitlines()[0][:300]})")
