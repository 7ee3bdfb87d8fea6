"""Exams of students of environment design, and pictures of what their teachers propose."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from runs import experiment, train

from interplay.cluster import checkpoint, cli, exams, gallery
from interplay.cluster.candidates import effort, methods, students
from interplay.cluster.exams import FIRST, PROTOCOLS, Exam, Student, held_out, sit, suite
from interplay.cluster.experiment import RunConfig, threads
from interplay.cluster.experiment_ued import MakerConfig, UEDExperiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.cluster.record import RunFolder, write
from interplay.cluster.suite import ALPHAS
from interplay.envs import maze
from interplay.envs.core import UsageError
from interplay.envs.engine import Batch
from interplay.envs.maze_generators import generate
from interplay.envs.maze_levels import NAMES
from interplay.envs.maze_paths import best_action, distances, lengths, solvable
from interplay.learners import aggregates
from interplay.learners.ppo import PPOConfig
from interplay.learners.priorities import BufferConfig
from interplay.learners.teachers import TeacherConfig
from interplay.policies.grid_network import GridConfig, GridNetwork
from interplay.policies.player import NetworkPlayer

# The least number of moves through the named mazes that are published as solved by breadth-first search.
SHORTEST = {"SixteenRooms": 26, "SixteenRooms2": 28, "Labyrinth": 113, "LabyrinthFlipped": 113, "Labyrinth2": 113}
SHORTEST |= {"StandardMaze": 54, "StandardMaze2": 73, "StandardMaze3": 54}
LEFT, DONE = 0, 6


class Perfect:
    """Plays every maze of an exam by the shortest way; knows which one from the worlds' ids."""

    def __init__(self, exam):
        self.exam, self.far = exam, distances(exam.mazes)

    def start(self, env):
        return None

    def act(self, env, shown, carry, draw):
        w = env.memory.numpy().view(env.world.record).reshape(env.n)
        maze_of, cell = env.ids.numpy() // self.exam.attempts, w["y"].astype(int) * env.world.default["side"] + w["x"]
        return torch.from_numpy(best_action(self.far[maze_of], cell, w["facing"])).unsqueeze(1), torch.zeros(env.n, 1), None


class Constant:
    """Always makes one move."""

    def __init__(self, move):
        self.move = move

    def start(self, env):
        return None

    def act(self, env, shown, carry, draw):
        return torch.full((env.n, 1), self.move), torch.zeros(env.n, 1), None


@pytest.mark.parametrize("size", [5, 6, 13])
def test_the_perfect_player_solves_every_exam_by_the_shortest_way(size):
    held = suite(size, 60, walls=size, attempts=20)
    for exam in held:
        came = sit(Perfect(exam), exam, 7, seed=1)
        best = lengths(exam.mazes)
        assert (came.reward > 0).all() and np.array_equal(came.moves, best[:, None].repeat(exam.attempts, 1)), exam.key
        assert np.allclose(came.reward, 1 - 0.9 * best[:, None] / exam.rounds, atol=1e-6)
        assert exam.attempts * (len(best) - 1) < max(20, exam.attempts * len(best)) and exam.attempts * len(best) >= 20
        assert best[0] == SHORTEST.get(exam.name, best[0])
        still = sit(Constant(DONE), exam, 7, seed=1)
        assert not still.reward.any() and (still.moves == exam.rounds).all()
    names = [exam.key for exam in held]
    if size == 13:
        assert names[:20] == [f"{name} {p}" for p in PROTOCOLS for name in NAMES] and names[20:] == ["four-rooms", "crossings", "perfect"]
        limits = {exam.key: exam.rounds for exam in held}
        assert limits["LargeCorridor 450"] == 882 and limits["LargeCorridor 250"] == 250 and limits["Labyrinth 450"] == 450
        assert [e.mazes.walls.shape[1] for e in held[20:]] == [17, 9, 13] and [e.rounds for e in held[20:]] == [250, 484, 338]
    else:
        assert names == (["clutter", "empty", "perfect", "four-rooms"] if size % 2 else ["clutter", "empty"])
        assert all(e.mazes.walls.shape[1:] == (size, size) and e.rounds == 60 for e in held)


def test_held_out_mazes_are_the_first_solvable_ones(monkeypatch):
    some, fresh = held_out("clutter", 7, 900, walls=25), generate("clutter", 7, 2000, exams.SEED, FIRST, walls=25)
    good = np.flatnonzero(solvable(fresh))[:900]
    assert good[-1] > 1024, "needs more than one draw"
    for mine, theirs in zip(some, fresh, strict=True):
        assert np.array_equal(mine, theirs[good])
    monkeypatch.setattr(exams, "solvable", lambda mazes: np.zeros(len(mazes.goal), bool))
    with pytest.raises(UsageError, match="fewer than one maze in 1000 is solvable"):
        held_out("clutter", 5, 2, walls=20)


def plainly(player, exam, seed):
    """The oracle: all worlds in one batch, to the end, nothing put away."""
    world = maze.world(exam.mazes.walls.shape[1], exam.rounds, 3)
    env = Batch(world, len(exam.mazes.goal) * exam.attempts, seed)
    env.set_level(torch.ones(env.n, dtype=torch.bool), maze.pack(world, exam.mazes).repeat_interleave(exam.attempts, 0))
    carry, reward, moves = player.start(env), torch.zeros(env.n), torch.zeros(env.n, dtype=torch.int64)
    for turn in range(exam.rounds):
        action, _, carry = player.act(env, env.out, carry, turn)
        shown = env.step(action)
        first = (shown.terminated | shown.truncated) & (moves == 0)
        reward[first], moves[first] = shown.reward[first, 0], turn + 1
    return reward.view(-1, exam.attempts).numpy(), moves.view(-1, exam.attempts).numpy()


@pytest.mark.parametrize("greedy", [False, True])
def test_attempts_do_not_depend_on_who_else_plays(greedy, monkeypatch):
    """In chunks, with worlds put away, as in a plain loop with the training's own player."""
    threads(1)
    network = GridNetwork(GridConfig(recurrent=16), Batch(maze.world(4, 150, 3), 1).spec, 1, seed=3)
    with torch.no_grad():  # decided enough for games of many lengths, and by what is remembered
        network.flat.mul_(3)
        network.weights["actor.head.weight"].mul_(20)
    exam = Exam("clutter", held_out("clutter", 4, 40, walls=1), 150, 9)
    reward, moves = plainly(NetworkPlayer(network, False, greedy), exam, seed=5)
    assert (0.2 if greedy else 0.8) < (reward > 0).mean() < 0.95 and len(np.unique(moves)) > (8 if greedy else 80)
    for worlds in (100, 4096):
        monkeypatch.setattr(exams, "WORLDS", worlds)
        told = []
        came = sit(Student(network, False, greedy), exam, 3, 5, watch=told.append)
        assert np.array_equal(came.reward, reward) and np.array_equal(came.moves, moves)
        assert sum(told) == reward.size and max(told) == min(worlds, reward.size)


def tiny(teacher=None, seed=0, **changes):
    """Two students of 5 x 5 mazes, six rounds."""
    made = UEDExperiment(
        seed,
        RunConfig(updates=6, tiles=1, tile=20, turns=12, checkpoint_every=2, learn_threads=1, tail=1),
        WorldConfig("maze", size=5, rounds=12, actions=3),
        GridConfig(filters=4, recurrent=8, head=8),
        PPOConfig(epochs=1, minibatches=1),
        maker=MakerConfig(walls=6, edits=2),
        teacher=teacher or TeacherConfig("plr", buffer=BufferConfig(capacity=20)),
        students=2,
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one recipe, one of another, one that is no maze."""
    folder = tmp_path_factory.mktemp("runs")
    sfl = TeacherConfig("sfl", keep=8, sweep=2, tries=1, period=2)
    made = {"plr0": tiny(), "plr1": tiny(seed=1), "dr": tiny(TeacherConfig("dr")), "sfl": tiny(sfl), "coin": experiment("coin")}
    made["six"] = tiny(world=WorldConfig("maze", size=6, rounds=12, actions=3))
    for name, one in made.items():
        train(folder / name, one)
    for name in ("dr", "sfl"):
        config = json.loads((folder / name / "config.json").read_text())
        write(folder / name / "config.json", config | {"recipe": name})
    return folder


def test_the_command_line_compares_methods(runs, tmp_path, capsys):
    words = ["eval", *(str(runs / name) for name in ("plr0", "plr1", "dr")), "--suite", "mazes", "--attempts", "40", "--worst", "60"]
    cli.main([*words, "--seed", "3", "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert printed.strip().splitlines()[-1] == str(tmp_path / "out")
    for says in ("IQM [95%], all exams", "probability that", "worst 0.1 %", "all of 60 random mazes", "wall clock a run [s]"):
        assert says in printed
    rows = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    data = json.loads((tmp_path / "out" / "suite.json").read_text())
    assert data["walls"] == 6 and data["size"] == 5 and list(data["methods"]) == ["test", "dr"]
    assert len(rows) == 3 * 2 * 4 and {row["attempts"] for row in rows} == {100}  # one at each of 100 mazes
    table = {name: np.array([r["solved"] for r in rows if r["method"] == name]).reshape(-1, 4) for name in data["methods"]}
    assert len(table["test"]) == 4 and len(table["dr"]) == 2 and 0 < table["dr"].mean() < 1
    for name, score in table.items():
        told = data["methods"][name]
        assert told["seeds"] == len(score) and [x["mean"] for x in told["exams"].values()] == pytest.approx(list(score.mean(0)))
        assert told["exams"]["empty"]["stderr"] == pytest.approx(score[:, 1].std(ddof=1) / len(score) ** 0.5)
        of_all = told["aggregates"]["all"]
        assert of_all["iqm"] == pytest.approx(np.sort(score.ravel())[score.size // 4 : -(score.size // 4)].mean())
        assert of_all["optimality_gap"] == pytest.approx(1 - score.mean()) and of_all["seed_max"] == pytest.approx(score.mean(1).max())
        assert of_all["iqm_low"] < of_all["iqm"] < of_all["iqm_high"]
        assert told["effort"]["env_steps"] == 6 * 20 * 12 / 2
    beats = [(a > b) + (a == b) / 2 for a, b in ((x, y) for x in table["dr"] for y in table["test"])]
    assert data["improvement"]["all"]["dr"]["test"] == pytest.approx(np.mean(beats))
    assert (
        data["methods"]["dr"]["effort"]["updates"] == 6 > data["methods"]["test"]["effort"]["updates"] > 0
    )  # PLR only looks at new levels
    for picture in ("profile.png", "exams.png"):
        assert (tmp_path / "out" / picture).read_bytes()[:4] == b"\x89PNG"
    before = (tmp_path / "out" / "suite.json").read_bytes()
    with pytest.raises(SystemExit):
        cli.main([*words, "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "suite.json").read_bytes() == before
    check_worst(tmp_path / "out", data)


def check_worst(out, data):
    """CVaR by sorting the stored passes by hand, and by `aggregates.cvar`."""
    rows = pq.read_table(out / "worst.parquet").to_pylist()
    assert len(rows) == 6 * 60
    for name, count in (("test", 4), ("dr", 2)):
        both = np.array([[r["first_pass"], r["second_pass"]] for r in rows if r["method"] == name]).reshape(count, 60, 2)
        assert not np.array_equal(both[..., 0], both[..., 1]) and np.allclose(both * 10, (both * 10).round())
        found = np.array([aggregates.cvar(mine[:, 0], mine[:, 1], ALPHAS) for mine in both]).mean(0)
        assert [data["methods"][name]["worst"][f"{a:g}"]["mean"] for a in ALPHAS] == pytest.approx(list(found))
        six = [np.mean([b for _, _, b in sorted((a, k, b) for k, (a, b) in enumerate(mine))[:6]]) for mine in both]
        assert found[ALPHAS.index(0.1)] == pytest.approx(np.mean(six)) and found[-1] == pytest.approx(both[..., 1].mean())


def test_students_are_examined_with_their_own_weights(runs, tmp_path):
    """One who only turns left solves nothing; the other is the run's, or zeroed, and moves at random."""
    folder = RunFolder.open(runs / "plr0")
    state, made = checkpoint.load(folder.checkpoints), RunFolder.create(tmp_path / "altered", "test", folder.experiment)
    network = folder.experiment.player().network  # type: ignore[attr-defined]
    network.load(state.learner["flat"])
    with torch.no_grad():
        network.flat[0] = 0
        network.weights["actor.head.bias"][0, :, LEFT] = 50
    trained = network.flat.detach().clone()
    zeroed = trained * torch.tensor([[1.0], [0.0]])
    exam, found = Exam("empty", held_out("empty", 5, 50), 12, 4), []
    for number, flat in enumerate((trained, zeroed)):
        checkpoint.save(made.checkpoints, dataclasses.replace(state, number=number, learner=state.learner | {"flat": flat}))
        both = students("m", made, False)
        assert all(torch.equal(c.player.network.flat[0], mine) for c, mine in zip(both, flat, strict=True))
        found.append([sit(c.player, exam, 3, c.dice(1, "x")).reward for c in both])
    (still, own), (_, random) = found
    assert not still.any() and own.any() and random.any() and not np.array_equal(own, random)


def test_runs_are_of_one_method_unless_settings_differ(runs):
    plr = [RunFolder.open(runs / name) for name in ("plr0", "plr1")]
    assert methods(plr) == ["test", "test"]
    other = dataclasses.replace(plr[1].experiment, ppo=dataclasses.replace(plr[1].experiment.ppo, gamma=0.9))
    elsewhere = dataclasses.replace(other, run=dataclasses.replace(other.run, env_actors=2, checkpoint_every=1))
    named = methods([plr[0], RunFolder(runs, "test", other), RunFolder(runs, "test", elsewhere), RunFolder(runs, "dr", other)])
    assert named == [f"test ppo.gamma={plr[0].experiment.ppo.gamma}", "test ppo.gamma=0.9", "test ppo.gamma=0.9", "dr"]


def test_effort_counts_to_the_last_checkpoint(runs, monkeypatch):
    folder, rows = RunFolder.open(runs / "plr0"), RunFolder.open(runs / "plr0").rows()
    lost = rows[-1] | {"update": 7, "env_steps": 10**9, "wall_clock_s": 10**9, "ppo/policy_loss": 1.0}
    monkeypatch.setattr(RunFolder, "rows", lambda self: [*rows, lost])
    took = effort(["a"], [folder])["a"]
    learned = [row for row in rows if row["ppo/policy_loss"] is not None]
    assert 0 < len(learned) < 6 and took["updates"] == len(learned)
    assert took["env_steps"] == 720 and took["wall_clock_s"] == rows[-1]["wall_clock_s"]


def test_a_teacher_that_builds_has_one_seed_a_run(tmp_path):
    made = tiny(TeacherConfig("paired"), run=dataclasses.replace(tiny().run, updates=2))
    train(tmp_path / "paired", made)
    folder = RunFolder.open(tmp_path / "paired")
    assert len(students("m", folder, False)) == 1 and effort(["m"], [folder])["m"]["env_steps"] == 2 * 20 * 12
    gallery.main([str(tmp_path / "paired"), "--out", str(tmp_path / "built.levels")])
    assert {p.name for p in tmp_path.glob("built*")} == {"built.levels.png", "built.levels.gif"}
    said, levels = gallery.proposed(made, checkpoint.load(folder.checkpoints), 0)
    assert said == "built" and maze.unpack(made.built(), levels).walls.sum((1, 2)).max() <= 6


@pytest.mark.parametrize(("name", "says"), [("plr0", "drawn from 10 levels"), ("sfl", "drawn from the 8 most learnable"), ("dr", "fresh")])
def test_a_gallery_shows_what_the_teacher_proposes(runs, tmp_path, capsys, name, says):
    folder = RunFolder.open(runs / name)
    made, state = folder.experiment, checkpoint.load(folder.checkpoints)
    said, levels = gallery.proposed(made, state, 1)
    assert said.startswith(says) and levels.shape == (24, made.built().level_bytes)
    own = {"plr0": lambda: state.meta["buffer.1"]["levels"], "sfl": lambda: state.meta["kept"][1]}
    fresh = made.levels().draw(state.meta["made"], 24)
    among = {row.numpy().tobytes() for row in own.get(name, lambda: fresh)()}
    shown = [row.numpy().tobytes() for row in levels]
    assert set(shown) <= among and len(set(shown)) >= {"plr0": 10, "sfl": 8, "dr": 24}[name]
    assert gallery.proposed(made, checkpoint.load(folder.checkpoints, 0), 1)[0] == "fresh"
    cli.main(["gallery", str(runs / name), "--student", "1", "--out", str(tmp_path / "g")])
    assert capsys.readouterr().out.split() == [str(tmp_path / "g.png"), str(tmp_path / "g.gif")]
    from PIL import Image

    picture, film = Image.open(tmp_path / "g.png"), Image.open(tmp_path / "g.gif")
    assert film.n_frames == len(checkpoint.numbers(folder.checkpoints)) == 4  # type: ignore[attr-defined]
    assert picture.size == (film.size[0], 3 * film.size[1])  # updates 0, 2 and 6


def test_moments_are_the_checkpoints_below():
    assert gallery.moments([0, 250, 500, 750, 1000]) == [0, 500, 1000]
    assert gallery.moments([0, 60]) == [0, 60] and gallery.moments([0]) == [0]
    assert gallery.moments([0, 99, 101, 499, 501, 1000]) == [99, 499, 1000]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["eval", "plr0", "--suite", "maze"], "did you mean 'mazes'?"),
        (["eval", "coin", "--suite", "mazes"], "was trained in coin; allowed are runs in mazes"),
        (["eval", "plr0", "six", "--suite", "mazes"], "different mazes"),
        (["eval", "plr0", "plr0", "--suite", "mazes"], "no seed counts twice"),
        (["eval", "plr0", "--suite", "mazes", "--attempts", "0"], "--attempts is 0; allowed are whole numbers from 1"),
        (["eval", "plr0", "--suite", "mazes", "--worst", "-1"], "--worst is -1; allowed are whole numbers from 0"),
        (["eval", "plr0", "--suite", "mazes", "--walls", "24"], "--walls is 24; allowed are whole numbers from 0 to 23"),
        (["eval", "plr0", "--suite", "mazes", "--seed", "-1"], "--seed is -1"),
        (["eval", "plr0", "--attempts", "7"], "allowed with --suite mazes"),
        (["eval", "nowhere", "--suite", "mazes"], "is not a run folder"),
        (["gallery", "coin"], "without a teacher"),
        (["gallery", "nowhere"], "is not a run folder"),
        (["gallery", "plr0", "--student", "2"], "--student is 2; allowed are whole numbers from 0 to 1"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_one_line_and_exit_code_2(runs, words, says, capsys, monkeypatch):
    monkeypatch.chdir(runs)
    before = sorted(runs.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and says in told and len(told.strip().splitlines()) == 1
    assert sorted(runs.rglob("*")) == before, "something was written"
