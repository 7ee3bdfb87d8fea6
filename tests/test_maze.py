"""Mazes against slow Python that crops and turns a padded map, as published; optimal play; levels; speed."""

import time

import numpy as np
import pytest
import torch

from interplay.envs import UsageError, make, maze, world
from interplay.envs.maze_generators import generate
from interplay.envs.maze_levels import Mazes, check, join, named
from interplay.envs.maze_maker import MazeMaker
from interplay.envs.maze_paths import best_action, distances, lengths

PAD = 4  # a view of 5 cells reaches so far


def clutter(size: int, count: int, seed: int) -> Mazes:
    """Random walls, up to half of the cells; the agent, looking anywhere, and the goal on two of the others."""
    rng = np.random.default_rng((size, seed))
    walls = rng.random((count, size * size)) < rng.random((count, 1)) / 2
    two = np.array([rng.choice(size * size, 2, replace=False) for _ in range(count)])
    walls[np.arange(count)[:, None], two] = False
    return Mazes(walls.reshape(count, size, size), two[:, 0], two[:, 1], rng.integers(0, 4, count))


class Slow:
    """One game."""

    def __init__(self, walls, goal, start, heading, rounds):
        self.size, self.rounds, self.start, self.first = len(walls), rounds, start, heading
        self.walls = np.pad(walls, PAD, constant_values=True)
        goals = np.zeros_like(walls)
        goals.flat[goal] = True
        self.goals = np.pad(goals, PAD)
        self.reset()

    def reset(self):
        self.turn, self.heading = 0, self.first
        self.y, self.x = divmod(self.start, self.size)

    def step(self, action):
        """Reward, and whether the game ends."""
        self.turn += 1
        if action < 2:
            self.heading = (self.heading + (-1, 1)[action]) % 4
        if action == 2:
            y, x = self.y + (0, 1, 0, -1)[self.heading], self.x + (1, 0, -1, 0)[self.heading]
            if self.goals[y + PAD, x + PAD]:
                return 1 - 0.9 * self.turn / self.rounds, True
            if not self.walls[y + PAD, x + PAD]:
                self.y, self.x = y, x
        return 0.0, self.turn == self.rounds

    def observe(self):
        """The agent is in the middle of the crop's left, upper, right or lower edge; turned, that is the lower one."""
        y, x = self.y + PAD, self.x + PAD
        top, left = [(y - 2, x), (y, x - 2), (y - 2, x - 4), (y - 4, x - 2)][self.heading]
        views = [np.rot90(plane[top : top + 5, left : left + 5], self.heading + 1) for plane in (self.walls, self.goals)]
        return np.concatenate([*(view.reshape(-1) for view in views), np.arange(4) == self.heading])


def start(mazes: Mazes, **params):
    """A batch of worlds that stand at the start of these mazes."""
    batch = make("maze", num_envs=len(mazes.goal), size=mazes.walls.shape[1], **params)
    batch.set_level(torch.ones(batch.n, dtype=torch.bool), maze.pack(batch.world, mazes))
    return batch


@pytest.mark.parametrize("actions", [3, 7])
@pytest.mark.parametrize("size, rounds, steps", [(2, 9, 200), (5, 40, 300), (13, 100, 310), (30, 60, 130), (101, 300, 330)])
def test_rules(size, rounds, steps, actions):
    """Every bit, reward and end of random games; players who like going ahead get around more."""
    mazes = clutter(size, 16, actions)
    batch = start(mazes, rounds=rounds, actions=actions)
    games = [Slow(*level, rounds) for level in zip(*mazes, strict=True)]
    rng, ends = np.random.default_rng(size), set()
    for _ in range(steps):
        np.testing.assert_array_equal(batch.views(batch.out.obs)[:, 0], [game.observe() for game in games])
        action = np.where(rng.random(16) < 0.4, 2, rng.integers(0, actions, 16))
        shown = batch.step(torch.from_numpy(action)[:, None])
        found = [game.step(move) for game, move in zip(games, action.tolist(), strict=True)]
        np.testing.assert_allclose(shown.reward[:, 0], [reward for reward, _ in found], rtol=1e-6)
        assert shown.terminated.tolist() == [ended for _, ended in found] and not shown.truncated.any()
        final = batch.views(shown.final_obs)[:, 0]
        for k, (reward, ended) in enumerate(found):
            if ended:
                np.testing.assert_array_equal(final[k], games[k].observe())
                ends.add(reward > 0)
                games[k].reset()
    assert ends == ({True, False} if size < 30 else ends | {False})


@pytest.mark.parametrize("size", [2, 5, 13, 30, 101])
def test_levels_are_packed_and_unpacked(size):
    mazes, game = clutter(size, 20, 0), world("maze", size=size, rounds=77)
    levels = maze.pack(game, mazes)
    assert levels.shape == (20, game.level_bytes) and levels.dtype == torch.uint8
    for one, two in zip(maze.unpack(game, levels), mazes, strict=True):
        np.testing.assert_array_equal(one, two)
    batch = start(mazes, rounds=77)
    assert torch.equal(batch.levels(), levels)
    assert torch.equal(batch.pack_levels(), levels) and set(batch._worlds["rounds"]) == {77}  # checks them
    for k, drawn in enumerate(batch.world.picture(batch._worlds[k]) for k in range(20)):
        rows = np.array([list(row) for row in drawn.splitlines()[:-1]])
        np.testing.assert_array_equal(rows == "#", mazes.walls[k])
        assert rows.flat[mazes.goal[k]] == "G" and rows.flat[mazes.start[k]] == ">v<^"[mazes.heading[k]]


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"start": 7}, r"level 0: its start \(cell 7\) is a wall; allowed are free cells"),
        ({"goal": [1, 7, 1]}, r"level 1: its goal \(cell 7\) is a wall"),
        ({"start": [0, 0, 1], "goal": 1}, r"level 2: its agent starts on the goal \(cell 1\); allowed are two different free cells"),
        ({"goal": 9}, "level 0: goal holds 9; allowed are finite numbers from 0 to 8"),
        ({"heading": 4}, "level 0: heading holds 4"),
        ({"side": 4}, "level 0: side holds 4; allowed are finite numbers from 3 to 3"),
        ({"rounds": 0}, "level 0: rounds holds 0"),
    ],
)
def test_levels_that_cannot_be_played(fields, message):
    batch = make("maze", num_envs=3, size=3)
    with pytest.raises(UsageError, match=message):
        batch.pack_levels(**{"walls": [128, 0], **fields})  # the eighth cell is a wall


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: world("maze", size=1), "size is 1; allowed are whole numbers from 2 to 101"),
        (lambda: world("maze", rounds=0), "rounds is 0"),
        (lambda: world("maze", actions=4), r"actions is 4; allowed are 3 \(left, right, forward\) and 7"),
        (lambda: maze.pack(world("maze", size=5), generate("empty", 6, 2)), "mazes have 6 x 6 cells; allowed here are 5 x 5"),
        (lambda: MazeMaker(world("maze"), "cluter"), "maze generator 'cluter' is unknown; did you mean 'clutter'"),
        (lambda: MazeMaker(world("maze", size=4)), "walls .* is 60"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def optimal(mazes: Mazes, **params) -> tuple[list[int], np.ndarray]:
    """How many moves the best player needs in the world, and what it is paid."""
    batch, away = start(mazes, **params), distances(mazes)
    moves, paid, n = np.zeros(batch.n, int), np.zeros(batch.n), mazes.walls.shape[1]
    for t in range(1, 251):
        w = batch._worlds
        action = best_action(away, w["y"].astype(int) * n + w["x"], w["facing"].astype(int))
        shown = batch.step(torch.from_numpy(action)[:, None])
        first = shown.terminated.numpy() & (moves == 0)
        moves[first], paid[first] = t, shown.reward[:, 0].numpy()[first]
    return moves.tolist(), paid


def test_optimal_play_of_the_named_mazes():
    """The published lengths, in moves that the world itself counts and pays."""
    known = {"SixteenRooms": 26, "SixteenRooms2": 28, "Labyrinth": 113, "LabyrinthFlipped": 113, "Labyrinth2": 113}
    known |= {"StandardMaze": 54, "StandardMaze2": 73, "StandardMaze3": 54}
    moves, paid = optimal(join([named(name) for name in known]))
    assert moves == list(known.values())
    np.testing.assert_allclose(paid, 1 - 0.9 * np.array(moves) / 250, rtol=1e-6)
    assert optimal(named("Labyrinth"), rounds=450, actions=3)[1] == pytest.approx([0.774])


@pytest.mark.parametrize("mazes", [named("SmallCorridor"), named("LargeCorridor"), generate("perfect", 21, 40, 3)])
def test_optimal_play_takes_the_least_moves(mazes):
    assert optimal(mazes)[0] == lengths(mazes).tolist()


@pytest.mark.parametrize("generator, params", [("clutter", {"walls": 20}), ("perfect", {"corners": True})])
def test_made_levels_do_not_depend_on_the_batch(generator, params):
    maker = MazeMaker(world("maze", size=9, rounds=33), generator, edits=5, seed=6, **params)
    levels = maker.draw(20, 40)
    children = maker.edit(levels, 500)
    for k in (0, 17, 39):
        assert torch.equal(maker.draw(20 + k, 1)[0], levels[k])
        assert torch.equal(maker.edit(levels[k : k + 1], 500 + k)[0], children[k])
    expected = generate(generator, 9, 40, 6, 20, **params)
    for made in (levels, children):
        check(maze.unpack(maker.world, made))
    assert all(np.array_equal(one, two) for one, two in zip(maze.unpack(maker.world, levels), expected, strict=True))
    assert (levels != children).any(1).sum() > 30 and len(maker.edit(levels[:1].expand(50, -1), 0).unique(dim=0)) > 30


def test_speed(request):
    """Random play with actions drawn and views unpacked, by the time that one core worked on it: far below what an idle machine does."""
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(1)  # threads wait for each other where cores are busy
    batch, rates = start(generate("clutter", 13, 8192)), []
    for _ in range(6):  # the first compiles
        began = time.thread_time()
        for draw in range(10):
            batch.views(batch.step(batch.random_action(draw)).obs)
        rates.append(10 * batch.n / (time.thread_time() - began))
    assert max(rates) > 2e6
