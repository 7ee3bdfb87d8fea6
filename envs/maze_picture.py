"""Pictures of mazes: walls are dark grey, the floor is white, the goal green, and the agent a red triangle that points where it looks."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interplay.envs.core import UsageError, whole
from interplay.envs.maze_levels import Mazes

FLOOR, WALL, GOAL, AGENT, PATH, GAP = range(6)
COLOURS = np.array([[255, 255, 255], [64, 64, 64], [60, 170, 80], [214, 50, 40], [250, 220, 150], [160, 160, 160]], np.uint8)


def triangle(scale: int, heading: int) -> np.ndarray:
    """The pixels `[scale, scale]` bool of a cell that show an agent."""
    along = (np.arange(scale) + 0.5) / scale  # a pixel's middle, in cells
    right = (along >= 0.1) & (np.abs(along[:, None] - 0.5) <= (0.9 - along) / 2)
    return (right, right.T, right[:, ::-1], right.T[::-1])[heading]


def image(mazes: Mazes, k: int, scale: int = 8, agent: tuple[int, int] | None = None, path: Iterable[int] | None = None) -> np.ndarray:
    """Maze k as RGB `[n * scale, n * scale, 3]` uint8.

    Args:
        mazes: of which one is shown.
        k: which.
        scale: pixels across a cell.
        agent: (cell, heading); None for the start.
        path: cells to be tinted, where they are free.

    Raises:
        UsageError: where there is no such maze, cell or heading.
    """
    count, n, _ = mazes.walls.shape
    k, scale = whole("k", k, 0, count - 1), whole("scale", scale, 1, 256)
    cell, heading = (mazes.start[k], mazes.heading[k]) if agent is None else agent
    cell, heading = whole("agent's cell", cell, 0, n * n - 1), whole("agent's heading", heading, 0, 3)
    cells = np.where(mazes.walls[k].reshape(-1), WALL, FLOOR)
    for step in path if path is not None else ():
        if cells[whole("cell of the path", step, 0, n * n - 1)] == FLOOR:
            cells[step] = PATH
    cells[mazes.goal[k]] = GOAL
    pixels = cells.reshape(n, n).repeat(scale, 0).repeat(scale, 1)
    y, x = cell // n * scale, cell % n * scale
    pixels[y : y + scale, x : x + scale][triangle(scale, heading)] = AGENT
    return COLOURS[pixels]


def sheet(mazes: Mazes, columns: int = 8, scale: int = 4) -> np.ndarray:
    """All K mazes, row by row from the top left, as one RGB image uint8 with gaps of two pixels between and around them."""
    count, n, _ = mazes.walls.shape
    columns, gap, side = whole("columns", columns, 1, 2**16), 2, n * whole("scale", scale, 1, 256) + 2
    if not count:
        raise UsageError("there are no mazes to show; allowed is one or more")
    columns = min(columns, count)
    rows = -(-count // columns)
    out = np.empty((rows * side + gap, columns * side + gap, 3), np.uint8)
    out[:] = COLOURS[GAP]
    for k in range(count):
        y, x = k // columns * side + gap, k % columns * side + gap
        out[y : y + side - gap, x : x + side - gap] = image(mazes, k, scale)
    return out


def save_png(image: np.ndarray, path: str | Path) -> None:
    """Write an image `[h, w, 3]` uint8 as PNG."""
    from PIL import Image

    Image.fromarray(image).save(path, "PNG")


def save_gif(images: Sequence[np.ndarray], path: str | Path, milliseconds: int = 100) -> None:
    """Write images `[h, w, 3]` uint8 of one shape as a GIF that starts over at its end, each shown so long (in steps of 10 ms).

    Raises:
        UsageError: where there is no image, shapes differ, or the time is outside its range.
    """

    milliseconds = whole("milliseconds", milliseconds, 10, 60_000)
    shapes = sorted({shown.shape for shown in images})
    if len(shapes) != 1:
        raise UsageError(f"images have shapes {[list(shape) for shape in shapes]}; allowed is one shape")
    frames = [_indexed(shown) for shown in images]
    options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": milliseconds, "loop": 0}
    frames[0].save(path, "GIF", **options)


def _indexed(shown: np.ndarray) -> Any:
    """An image with a palette of its own colours: few, so that none is changed."""
    from PIL import Image

    return Image.fromarray(shown).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
