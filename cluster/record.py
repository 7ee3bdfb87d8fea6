"""The folder of a run, which describes itself: config, metrics as Parquet and TensorBoard events, checkpoints, summary."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from interplay.cluster.config import from_json, to_json
from interplay.cluster.experiment import Experiment
from interplay.envs.core import UsageError

SCHEMA = 1
COUNTERS = ("update", "env_steps", "wall_clock_s", "lag")  # what a row holds besides metrics


class RunFolder:
    """A run's folder.

    Attributes:
        path: where it is.
        recipe: name of the recipe.
        experiment: what is run.
    """

    def __init__(self, path: Path, recipe: str, experiment: Experiment) -> None:
        self.path, self.recipe, self.experiment = path, recipe, experiment

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @staticmethod
    def create(path: Path, recipe: str, experiment: Experiment) -> "RunFolder":
        """Make the folder; `UsageError` where something is there already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path} is there already and not empty; nothing was written. Allowed is a new folder, or --resume {path}")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{path} cannot be made ({error.strerror}); allowed is a folder that this user may write") from None
        run = RunFolder(path, recipe, experiment)
        run.write_config()
        return run

    def write_config(self) -> None:
        """Write `config.json`."""
        write(self.path / "config.json", {"schema": SCHEMA, "recipe": self.recipe, "experiment": to_json(self.experiment)})

    @staticmethod
    def open(path: Path) -> "RunFolder":
        """A folder that is there; `UsageError` where it is no run."""
        try:
            config = json.loads((path / "config.json").read_text())
            recipe, experiment, schema = config["recipe"], config["experiment"], config["schema"]
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is not a run folder ({type(error).__name__}: {error}); allowed is a folder that `interplay train` made"
            ) from None
        if schema != SCHEMA:
            raise UsageError(f"{path} has schema {schema}; this version reads {SCHEMA}")
        return RunFolder(path, recipe, from_json(experiment))

    def rows(self) -> list[dict[str, Any]]:
        """The metrics written so far, a row an update."""
        file = self.path / "metrics.parquet"
        return pq.read_table(file).to_pylist() if file.exists() else []


def write(path: Path, data: dict[str, Any]) -> None:
    """A JSON file, whole or not there."""
    aside = path.with_name(f".{path.name}.partial")
    with aside.open("w") as file:
        json.dump(data, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


class Recorder:
    """Collects a row of metrics for every update, and writes them out at checkpoints.

    Rows go to TensorBoard at once; `rewind` forgets what came after a checkpoint, when a run goes on from there.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.rows = folder, folder.rows()
        self.before = self.rows[-1]["wall_clock_s"] if self.rows else 0.0
        self.began = time.perf_counter()
        from torch.utils.tensorboard import SummaryWriter

        self.board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=len(self.rows) or None)

    def rewind(self, update: int) -> None:
        """Forget the rows after `update`."""
        self.rows = [row for row in self.rows if row["update"] <= update]

    def add(self, update: int, env_steps: int, metrics: dict[str, float]) -> dict[str, Any]:
        """One row."""
        clock = self.before + time.perf_counter() - self.began
        row = {"update": update, "env_steps": env_steps, "wall_clock_s": clock, **metrics}
        self.rows.append(row)
        for name, value in metrics.items():
            self.board.add_scalar(name, value, update)
        return row

    def flush(self) -> None:
        """Write `metrics.parquet`, whole or not at all."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        table = pa.table({name: [row.get(name) for row in self.rows] for name in names})
        aside = self.folder.path / ".metrics.parquet.partial"
        pq.write_table(table, aside)
        aside.rename(self.folder.path / "metrics.parquet")
        self.board.flush()

    def close(self) -> None:
        """Write everything and let go of the files."""
        self.flush()
        self.board.close()


def tail_means(rows: list[dict[str, Any]], count: int) -> dict[str, float]:
    """Means of the last `count` values of every metric."""
    names = dict.fromkeys(name for row in rows for name in row if name not in COUNTERS)
    found = {}
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None][-count:]
        if values:
            found[name] = sum(values) / len(values)
    return found
