"""Checkpoints: a folder `STEP/` with the learner, the tiles, the meta-learner.

Each is written aside, synced and renamed, so that it is whole or not there.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from interplay.cluster.runner import RunState
from interplay.envs.core import UsageError

SCHEMA = 2
FILES = ("learner.safetensors", "tiles.safetensors", "meta.safetensors", "state.json")
TENSOR = "$tensor"  # stands in state.json for a tensor of the meta-learner


def save(folder: Path, state: RunState) -> Path:
    """Write `state` to `folder/NUMBER`; returns that path.

    Raises:
        OSError: it cannot be written; what was there is left as it was.
    """
    final = folder / f"{state.number:08d}"
    aside = folder / f".{final.name}.partial"
    if final.exists():
        return final
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _fill(aside, state)
        aside.rename(final)
        _sync(folder)
    except OSError:
        shutil.rmtree(aside, ignore_errors=True)  # there may be little room
        raise
    return final


def _fill(aside: Path, state: RunState) -> None:
    aside.mkdir(parents=True)
    _write(state.learner, aside / "learner.safetensors")
    tiles = {f"{k}/{name}": x for k, tile in enumerate(state.tiles) for name, x in tile.items()}
    _write(tiles, aside / "tiles.safetensors")
    tensors: dict[str, Tensor] = {}
    about = {"schema": SCHEMA, "number": state.number, "tiles": len(state.tiles), "meta": _plain(state.meta, "meta", tensors)}
    _write(tensors, aside / "meta.safetensors")
    (aside / "state.json").write_text(json.dumps(about, indent=1))
    for path in (*aside.iterdir(), aside):
        _sync(path)


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Nested data with its tensors replaced by their paths, under which they are put into `tensors`."""
    if isinstance(value, Tensor):
        tensors[path] = value
        return {TENSOR: path}
    if isinstance(value, dict):
        return {name: _plain(x, f"{path}/{name}", tensors) for name, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(x, f"{path}/{k}", tensors) for k, x in enumerate(value)]
    return value


def _filled(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Back from `_plain`."""
    if isinstance(value, dict):
        return tensors[value[TENSOR]] if TENSOR in value else {name: _filled(x, tensors) for name, x in value.items()}
    return [_filled(x, tensors) for x in value] if isinstance(value, list) else value


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file({name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}, path)
    except SafetensorError as error:  # a full disk, as this library says it
        raise OSError(str(error)) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def numbers(folder: Path) -> list[int]:
    """The checkpoints there, oldest first."""
    return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []


def load(folder: Path, number: int | None = None) -> RunState:
    """The newest checkpoint, or that of `number`.

    Raises:
        UsageError: there is none, or a file of it is missing or cut short.
    """
    there = numbers(folder)
    if not there:
        raise UsageError(f"{folder} holds no checkpoint; allowed is a run folder with checkpoints/STEP/")
    number = there[-1] if number is None else number
    path = folder / f"{number:08d}"
    older = [n for n in there if n < number]
    advice = f"; move that folder away to go on from checkpoint {older[-1]}" if older else ""
    try:
        about = json.loads((path / "state.json").read_text())
        if about["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {about['schema']}; this version reads {SCHEMA}")
        learner, flat = load_file(path / "learner.safetensors"), load_file(path / "tiles.safetensors")
        tiles: list[dict[str, Tensor]] = [{} for _ in range(about["tiles"])]
        for name, x in flat.items():
            k, _, field = name.partition("/")
            tiles[int(k)][field] = x
        meta = _filled(about["meta"], load_file(path / "meta.safetensors"))
        return RunState(about["number"], learner, meta, tiles)
    except (OSError, SafetensorError, json.JSONDecodeError, KeyError, IndexError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"checkpoint {path} is damaged ({type(error).__name__}: {error}){advice}") from None


def newest(folder: Path) -> tuple[RunState, list[str]]:
    """The newest whole checkpoint, and what is wrong with those after it.

    Raises:
        UsageError: there is none.
    """
    there, wrong = numbers(folder), []
    for number in reversed(there[1:]):
        try:
            return load(folder, number), wrong
        except UsageError as error:
            wrong.append(str(error).partition("; move")[0])
    return load(folder, there[0] if there else None), wrong


def drop(folder: Path, after: int) -> None:
    """Put those after number `after` out of the way, as `.NUMBER.damaged`."""
    for number in numbers(folder):
        if number > after:
            (folder / f"{number:08d}").rename(folder / f".{number:08d}.damaged")


def digest(state: RunState) -> str:
    """A hash of what the learner and the meta-learner know: equal digests are equal bits."""
    import hashlib

    h, tensors = hashlib.sha256(), dict[str, Tensor]()
    h.update(json.dumps(_plain(state.meta, "meta", tensors)).encode())
    tensors |= state.learner
    for name in sorted(tensors):
        h.update(name.encode())
        h.update(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()
