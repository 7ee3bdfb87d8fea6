"""`interplay gallery RUN`: the levels that a teacher proposes, as training goes on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor

from interplay.cluster import checkpoint
from interplay.cluster.experiment_ued import UEDExperiment
from interplay.cluster.record import RunFolder
from interplay.cluster.runner import RunState
from interplay.envs import dice, maze, streams
from interplay.envs.core import UsageError, whole
from interplay.envs.maze_levels import Mazes
from interplay.envs.maze_paths import lengths
from interplay.envs.maze_picture import save_gif, save_png, sheet
from interplay.learners.teachers import Learnability, Replay, Teacher

LEVELS, COLUMNS = 24, 12
MOMENTS = (0.1, 0.5, 1.0)  # shares of the training
WIDTH = 104  # pixels across a level, about
FONT = 15
FRAME = 700  # milliseconds
PATIENCE = 50  # draws for each level that is shown


@dataclass(frozen=True)
class GalleryArguments:
    """Show mazes that a run's teacher proposes: early, midway and at the end as a picture, at all checkpoints as a GIF.

    Attributes:
        run: run folder.
        student: whose, where each has a curriculum of its own.
        out: file name without ending; by default `gallery` in the run's folder.
    """

    run: Annotated[Path, tyro.conf.Positional]
    student: int = 0
    out: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Write a PNG and a GIF; prints their paths."""
    options = tyro.cli(GalleryArguments, prog="interplay gallery", args=list(arguments))
    folder = RunFolder.open(options.run)
    made = folder.experiment
    if not isinstance(made, UEDExperiment):
        raise UsageError(f"{options.run} is a run of a {type(made).__name__}, without a teacher; allowed are runs such as maze-plr")
    if made.built().rules is not maze:
        raise UsageError(f"{options.run} was trained in {made.built().name}; allowed are runs in mazes")
    whole("--student", options.student, 0, made.students - 1)
    there = checkpoint.numbers(folder.checkpoints)
    out = folder.path / "gallery" if options.out is None else options.out
    shown = {number: row(folder, number, options.student) for number in there}
    if not shown:
        raise UsageError(f"{folder.checkpoints} holds no checkpoint; allowed is a run folder with checkpoints/STEP/")
    out.parent.mkdir(parents=True, exist_ok=True)
    files = [out.with_name(f"{out.name}{ending}") for ending in (".png", ".gif")]
    save_png(np.concatenate([shown[number] for number in moments(there)]), files[0])
    save_gif(list(shown.values()), files[1], FRAME)
    for file in files:
        print(file)


def moments(there: Sequence[int]) -> list[int]:
    """The last checkpoints at or before each of `MOMENTS` of the way to the last one, each once."""
    return list(dict.fromkeys(max(n for n in there if n <= max(share * there[-1], there[0])) for share in MOMENTS))


def row(folder: RunFolder, number: int, student: int) -> np.ndarray:
    """A title, and the levels proposed at a checkpoint: an RGB image of the same shape for all checkpoints of a run."""
    made: Any = folder.experiment
    world = made.built()
    said, levels = proposed(made, checkpoint.load(folder.checkpoints, number), student)
    mazes = maze.unpack(world, levels)
    image = sheet(mazes, COLUMNS, max(1, WIDTH // world.default["side"]))
    about = f"{folder.recipe}, update {number // made.stages} of {made.run.updates}: {said}; {figures(mazes)}"
    return np.concatenate([title(about, image.shape[1]), image])


def figures(mazes: Mazes) -> str:
    """How hard mazes are, in words."""
    ways = lengths(mazes)
    solvable = ways >= 0
    far = f", {ways[solvable].mean():.0f} moves to the goal" if solvable.any() else ""
    return f"{mazes.walls.sum((1, 2)).mean():.0f} walls{far}, {solvable.mean():.0%} solvable"


def proposed(made: UEDExperiment, state: RunState, student: int) -> tuple[str, Tensor]:
    """`LEVELS` levels that a student's teacher proposes as it stands at a checkpoint, `[LEVELS, bytes]`, and what they are."""
    meta: Any = made.meta()
    assert isinstance(meta, Teacher)
    meta.load_state_dict(state.meta)
    if isinstance(meta, Replay) and meta.buffers[student].warm:
        buffer = meta.buffers[student]
        often = buffer.distribution().max()  # few levels may have nearly all draws: each is shown once
        said = f"drawn from {buffer.count} levels (the likeliest has {often:.0%} of all draws)"
        return said, torch.as_tensor(buffer.levels_at(once(buffer.sample(PATIENCE * LEVELS))))
    if isinstance(meta, Learnability) and len(meta.kept[student]):
        kept = meta.kept[student]
        unit = streams.units(made.seed, dice.META, student, state.number, (1, PATIENCE * LEVELS))[0]
        return f"drawn from the {len(kept)} most learnable", kept[once((unit * len(kept)).long().numpy())]
    architect = made.architect(0)
    if architect is None:
        return "fresh", meta.maker.draw(meta.made, LEVELS)
    learner = made.learner()
    learner.load_state_dict(state.learner)
    architect.load(learner.policy())
    rounds = -(-LEVELS // architect.worlds.n)
    return "built", torch.cat([architect.build(state.number + k)[0] for k in range(rounds)])[:LEVELS]


def once(draws: np.ndarray) -> np.ndarray:
    """The first `LEVELS` different numbers of some draws, in order; where there are fewer, they are repeated."""
    return np.resize(np.array(list(dict.fromkeys(draws.tolist()))[:LEVELS], np.int64), LEVELS)


def title(text: str, width: int) -> np.ndarray:
    """A line of text in a strip `[2 FONT, width, 3]`, in smaller letters where it would be too long."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, 2 * FONT), "white")
    draw, size = ImageDraw.Draw(strip), FONT
    while draw.textlength(text, ImageFont.load_default(size)) > width - FONT and size > 6:
        size -= 1
    draw.text((FONT // 2, FONT), text, fill="black", font=ImageFont.load_default(size), anchor="lm")
    return np.asarray(strip)
