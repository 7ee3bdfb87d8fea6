"""Maze levels: the published ones cell for cell, drawings, checks; what changes them; pictures of them."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from interplay.envs.core import UsageError
from interplay.envs.maze_edits import mutate
from interplay.envs.maze_generators import generate
from interplay.envs.maze_levels import NAMES, Mazes, check, join, named, parse, pick, text
from interplay.envs.maze_picture import AGENT, COLOURS, FLOOR, GAP, GOAL, PATH, WALL, image, save_gif, save_png, sheet

LUCK = 1e-4  # seeds are fixed; below this p-value the numbers are not random

DRAWN = {
    "LabyrinthFlipped": """
        .............
        .###########.
        .#.........#.
        .#.#######.#.
        .#.#.....#.#.
        .#.#.###.#.#.
        .#.#.#G#.#.#.
        .#.#.#.#.#.#.
        .#.#...#...#.
        .#.#########.
        .#.....#.....
        .#####.#.####
        .......#....<""",
    "StandardMaze2": """
        ...#.#....#..
        .#.#.####...#
        .#........#..
        .########.###
        ...#..#.#.#.G
        ##.#.##.#.#..
        >#.#....#.##.
        .#.##.###..#.
        .#..#..###.#.
        .##.##.#.#.#.
        .#...#.#.#.#.
        .#.#.#.#.#.#.
        ...#...#.....""",
}
# CRC-32 of the published walls, rows of "." and "#" joined by line ends; start; goals, as (x, y)
PUBLISHED = {
    "SixteenRooms": (0xD9E6BD57, (1, 1), [(11, 11)]),
    "SixteenRooms2": (0xAA467EE6, (1, 1), [(11, 11)]),
    "Labyrinth": (0x07756587, (0, 12), [(6, 6)]),
    "LabyrinthFlipped": (0x742ABFB2, (12, 12), [(6, 6)]),
    "Labyrinth2": (0xF818EF08, (0, 0), [(6, 6)]),
    "StandardMaze": (0x59585E71, (6, 0), [(6, 12)]),
    "StandardMaze2": (0xCEA365F9, (0, 6), [(12, 4)]),
    "StandardMaze3": (0xCBDA9A86, (3, 0), [(12, 6)]),
    "SmallCorridor": (0xF8D96A83, (0, 6), [(x, y) for y in (5, 7) for x in (2, 4, 6, 8, 10)]),
    "LargeCorridor": (0xE6B35A3D, (0, 9), [(x, y) for y in (8, 10) for x in (2, 4, 6, 8, 10, 12, 14, 16)]),
}


def same(one: Mazes, two: Mazes) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("name", DRAWN)
def test_named_mazes_are_those_drawn(name):
    rows = [row.strip() for row in DRAWN[name].split()]
    assert text(named(name), 0) == "\n".join(rows)
    assert same(parse(DRAWN[name]), named(name))


@pytest.mark.parametrize("name", PUBLISHED)
def test_named_mazes_are_the_published_ones(name):
    crc, (x, y), goals = PUBLISHED[name]
    mazes = named(name)
    check(mazes)
    n = mazes.walls.shape[1]
    for k, (right, down) in enumerate(goals):
        drawing = "\n".join("".join("#" if wall else "." for wall in row) for row in mazes.walls[k])
        assert zlib.crc32(drawing.encode()) == crc
        assert mazes.start[k] == y * n + x and mazes.goal[k] == down * n + right
        assert mazes.heading[k] == (2 if name == "LabyrinthFlipped" else 0)
    assert len(mazes.goal) == len(goals)


def test_names():
    assert set(NAMES) == set(PUBLISHED)
    with pytest.raises(UsageError, match="maze 'Labyrint' is unknown; did you mean 'Labyrinth'"):
        named("Labyrint")


@given(st.integers(3, 20), st.integers(0, 2**32 - 2))
@settings(max_examples=30, deadline=None)
def test_drawings_are_read_back(size, seed):
    mazes = generate("clutter", size, 2, seed, walls=size)
    check(mazes)
    assert same(join([parse(text(mazes, k)) for k in range(2)]), mazes)


@pytest.mark.parametrize(
    "drawing, message",
    [
        ("", "the maze has no rows"),
        (">..\n..\n..G", "row 1 has 2 cells and row 0 has 3; allowed are rows of equal length"),
        (">.\n..\n.G", "the maze has 3 rows of 2 cells; allowed are squares"),
        (">.\n..", "the maze has 0 goals; allowed is one G"),
        (">G\nG.", "the maze has 2 goals; allowed is one G"),
        ("..\n.G", "the maze has 0 agents; allowed is one > or v or < or ^"),
        (">^\n.G", "the maze has 2 agents"),
        (">.\n.x", "row 1, column 1 holds 'x'; allowed are # . G > v < ^"),
        ("> G\n...\n...", "row 0, column 1 holds ' '"),
    ],
)
def test_drawings_that_are_none(drawing, message):
    with pytest.raises(UsageError) as caught:
        parse(drawing)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "part, value, message",
    [
        ("goal", 9, "level 1: its goal 9 is outside; allowed are cells from 0 to 8"),
        ("goal", -1, "level 1: its goal -1 is outside"),
        ("start", 9, "level 1: its agent 9 is outside"),
        ("heading", 4, "level 1: its heading 4 is unknown"),
        ("goal", 4, "level 1: its goal 4 is in a wall"),
        ("start", 4, "level 1: its agent 4 is in a wall"),
        ("start", 8, "level 1: its agent 8 is on the goal"),
    ],
)
def test_the_first_wrong_level_is_named(part, value, message):
    mazes = join([parse(">..\n.#.\n..G")] * 4)
    check(mazes)
    getattr(mazes, part)[1] = value
    mazes.heading[2], mazes.goal[3] = 7, 99
    with pytest.raises(UsageError) as caught:
        check(mazes)
    assert str(caught.value).startswith(message)


def test_arrays_that_do_not_fit_are_refused():
    mazes = parse(">..\n.#.\n..G")
    check(parse(">#.\n##.\n..G"))  # nobody gets there: no mistake
    for wrong in (mazes.walls[:, :2], mazes.walls.astype(np.uint8), mazes.walls[0], mazes.walls[:, :0, :0]):
        with pytest.raises(UsageError, match=r"allowed is bool \[K, n, n\]"):
            check(mazes._replace(walls=wrong))
    with pytest.raises(UsageError, match=r"start is int64 \[2\]; allowed are whole numbers \[1\]"):
        check(mazes._replace(start=np.array([0, 1])))
    with pytest.raises(UsageError, match="heading is float64"):
        check(mazes._replace(heading=np.zeros(1)))


def test_join_and_pick():
    mazes = generate("clutter", 5, 6, walls=5)
    assert same(join([pick(mazes, slice(0, 2)), pick(mazes, 2), pick(mazes, [3, 4, 5])]), mazes)
    assert pick(mazes, mazes.goal == -1).walls.shape == (0, 5, 5) == pick(mazes, []).walls.shape
    taken = pick(mazes, slice(0, 1))
    taken.walls[:] = True
    assert not mazes.walls[0].all()  # a copy
    with pytest.raises(UsageError, match="there are 6"):
        pick(mazes, [6])
    for wrong, sizes in ([mazes, generate("empty", 3, 1)], r"\[\[3, 3\], \[5, 5\]\]"), ([], r"\[\]"):
        with pytest.raises(UsageError, match=f"have sizes {sizes}; allowed is one size"):
            join(wrong)


def children(edits: int, count: int) -> tuple[Mazes, Mazes]:
    """Many copies of a 4 x 4 maze with 4 walls, agent on cell 1 and goal on cell 14; and their children."""
    parents = join([parse("#v..\n..#.\n.#..\n..G#")] * count)
    return parents, mutate(parents, edits, seed=5, first=7)


def test_an_edit_is_nothing_a_flip_or_a_move_with_equal_chances():
    parents, after = children(1, 60_000)
    flipped = (parents.walls != after.walls).reshape(-1, 16)
    flips, moved = flipped.sum(1), after.goal != 14
    assert flips.max() == 1 and not (moved & (flips == 1)).any()
    free, third = 11, 20_000  # the goal's own cell is one of the 11 in which it may end
    seen = [flips.sum(), moved.sum(), (~moved & (flips == 0)).sum()]
    assert stats.chisquare(seen, [third, third * (free - 1) / free, third + third / free]).pvalue > LUCK
    cells = flipped.sum(0)
    assert cells[1] == cells[14] == 0 and stats.chisquare(np.delete(cells, [1, 14])).pvalue > LUCK
    cells = np.bincount(after.goal[moved], minlength=16)
    may = [c for c in range(16) if c not in (0, 1, 6, 9, 14, 15)]
    assert cells[may].sum() == moved.sum() and stats.chisquare(cells[may]).pvalue > LUCK


def test_edits_follow_each_other():
    parents, after = children(2, 60_000)
    differ = np.bincount((parents.walls != after.walls).sum((1, 2)), minlength=3)
    ninth, again = 60_000 / 9, 1 / 14  # the second of two flips takes the same cell
    assert stats.chisquare(differ, [ninth * (4 + again), ninth * 4, ninth * (1 - again)]).pvalue > LUCK


def test_children_are_sound_and_do_not_depend_on_the_batch():
    parents = generate("clutter", 7, 200, walls=20)
    before = pick(parents, slice(None))
    after = mutate(parents, 30, seed=3, first=50)
    check(after)
    assert same(parents, before) and np.array_equal(after.start, parents.start) and np.array_equal(after.heading, parents.heading)
    pieces = [mutate(pick(parents, slice(a, b)), 30, seed=3, first=50 + a) for a, b in ((0, 1), (1, 120), (120, 200))]
    assert same(join(pieces), after)
    assert same(mutate(parents, 0), parents)
    assert not same(mutate(parents, 30, seed=4, first=50), after)
    with pytest.raises(UsageError, match="edits is -1"):
        mutate(parents, -1)
    with pytest.raises(UsageError, match="first is 4294967200"):
        mutate(parents, 1, first=2**32 - 96)


def test_every_cell_has_its_colour():
    maze = parse(">#.\n..G\n#..")
    shown = image(maze, 0, scale=4, path=[3, 4, 5, 1])
    cells = shown.reshape(3, 4, 3, 4, 3).transpose(0, 2, 1, 3, 4).reshape(9, 16, 3)
    for cell, colour in enumerate([None, WALL, FLOOR, PATH, PATH, GOAL, WALL, FLOOR, FLOOR]):
        assert colour is None or (cells[cell] == COLOURS[colour]).all()
    assert shown.dtype == np.uint8 and {tuple(c) for c in cells[0]} == {tuple(COLOURS[FLOOR]), tuple(COLOURS[AGENT])}


@pytest.mark.parametrize("heading", range(4))
@pytest.mark.parametrize("scale", [2, 7, 20])
def test_the_agent_points_where_it_looks(heading, scale):
    shown = image(parse("..\n^G"), 0, scale, agent=(1, heading))
    red = (shown == COLOURS[AGENT]).all(-1)
    assert not red[:, :scale].any() and not red[scale:].any()
    red = red[:scale, scale:]
    assert red.sum() >= scale * scale * 0.25
    across, wide = (0, 1) if heading % 2 == 0 else (1, 0)
    assert (red == np.flip(red, across)).all()
    widths = red.sum(across)[:: -1 if heading >= 2 else 1]  # from the agent's back to its front
    widths = widths[widths > 0]
    assert (np.diff(widths) <= 0).all() and (scale == 2 or widths[0] > widths[-1])
    lean = np.nonzero(red)[wide].mean() - (scale - 1) / 2
    assert (lean < 0) if heading < 2 else (lean > 0)


def test_a_sheet_shows_all_mazes_with_gaps():
    mazes = generate("clutter", 5, 5, walls=8)
    shown = sheet(mazes, columns=3, scale=4)
    assert shown.shape == (2 * 22 + 2, 3 * 22 + 2, 3)
    left = np.ones(shown.shape[:2], bool)
    for k in range(5):
        y, x = 22 * (k // 3) + 2, 22 * (k % 3) + 2
        assert (shown[y : y + 20, x : x + 20] == image(mazes, k, 4)).all()
        left[y : y + 20, x : x + 20] = False
    assert (shown[left] == COLOURS[GAP]).all()
    assert sheet(mazes, columns=9, scale=1).shape == (9, 5 * 7 + 2, 3)


def test_pictures_are_read_back(tmp_path):
    mazes = generate("perfect", 7, 4)
    images = [image(mazes, k, 6, path=range(49)) for k in range(4)]
    save_png(images[0], tmp_path / "maze.png")
    with Image.open(tmp_path / "maze.png") as file:
        assert file.format == "PNG" and (np.asarray(file) == images[0]).all()
    save_gif(images, tmp_path / "maze.gif", 250)
    with Image.open(tmp_path / "maze.gif") as file:
        assert getattr(file, "n_frames", 1) == 4 and file.info["loop"] == 0
        for k, shown in enumerate(images):
            file.seek(k)
            assert file.info["duration"] == 250 and (np.asarray(file.convert("RGB")) == shown).all()


def test_pictures_of_what_is_not_there(tmp_path):
    maze = parse(">.\n.G")
    for wrong, message in [
        (lambda: image(maze, 1), "k is 1; allowed are whole numbers from 0 to 0"),
        (lambda: image(maze, 0, scale=0), "scale is 0"),
        (lambda: image(maze, 0, agent=(4, 0)), "agent's cell is 4"),
        (lambda: image(maze, 0, agent=(0, 4)), "agent's heading is 4"),
        (lambda: image(maze, 0, path=[0, -1]), "cell of the path is -1"),
        (lambda: sheet(maze, columns=0), "columns is 0"),
        (lambda: sheet(pick(maze, [])), "there are no mazes to show"),
        (lambda: save_gif([], tmp_path / "no.gif"), r"images have shapes \[\]"),
        (lambda: save_gif([image(maze, 0), image(maze, 0, 3)], tmp_path / "no.gif"), "allowed is one shape"),
        (lambda: save_gif([image(maze, 0)], tmp_path / "no.gif", 0), "milliseconds is 0"),
    ]:
        with pytest.raises(UsageError, match=message):
            wrong()
