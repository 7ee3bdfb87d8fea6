"""Teachers with made-up outcomes: which levels they ask for, and what they remember, against dictionaries and brute force."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from interplay.cluster import checkpoint
from interplay.cluster.runner import RunState
from interplay.envs import UsageError, world
from interplay.envs.maze_maker import MazeMaker
from interplay.learners.level_scores import measure
from interplay.learners.priorities import BufferConfig
from interplay.learners.teacher import KINDS, Seats, TeacherConfig
from interplay.learners.teachers import teacher

LUCK = 1e-4  # seeds are fixed; below this p-value the numbers are not random
ROOMY = BufferConfig(capacity=10_000, fill=0.0)  # nothing is ever thrown out


class Numbers:
    """Levels that say who they are: the number by which they were drawn, the one by which they were last edited, and how often."""

    def __init__(self):
        self.used = []  # numbers, in the order in which they were asked for

    def draw(self, first, count):
        rows = np.zeros((count, 3), np.int32)
        rows[:, 0] = np.arange(first, first + count)
        self.used += rows[:, 0].tolist()
        return torch.from_numpy(rows.view(np.uint8))

    def edit(self, levels, first):
        rows = read(levels).copy()
        rows[:, 1] = np.arange(first, first + len(rows))
        rows[:, 2] += 1
        self.used += rows[:, 1].tolist()
        return torch.from_numpy(rows.view(np.uint8))


def read(levels):
    """Numbers and generations of levels `[K, 12]`, `[K, 3]`."""
    return levels.numpy().view(np.int32)


def outcome(task, number, tile, width=8):
    """What a tile might have found: a third of the levels has no finished episode. `best` depends on the round and the level alone."""
    rng = np.random.default_rng([number, tile])
    found = {name: rng.random(width, np.float32) for name in ("return", "value", "pvl", "l1")}
    levels = Numbers().draw(10**6 + 1000 * number + width * tile, width) if task.levels is None else task.levels
    found["best"] = np.array([np.random.default_rng([number, *row]).random() for row in read(levels)], np.float32)
    found["episodes"], found["solved"] = np.full(width, 2, np.float32), rng.integers(0, 3, width).astype(np.float32) / 2
    lost = rng.random(width) < 1 / 3
    for name, x in found.items():
        x[lost] = 0 if name == "episodes" else np.nan
    return {"levels": found} | ({"built": {"levels": levels}} if task.levels is None else {})


def go(made, rounds, tiles=2, start=0):
    """Ask and tell; the tasks and outcomes of each round."""
    played = []
    for number in range(start, start + rounds):
        tasks = made.ask(tiles)
        outcomes = [outcome(task, number, k, made.width) for k, task in enumerate(tasks)]
        made.tell(tasks, outcomes)
        played.append((tasks, outcomes))
    return played


def kind(tasks):
    """That of a round."""
    (found,) = {task.options["kind"] for task in tasks}
    return found


def make(method, students=2, width=8, seed=0, **changes):
    return teacher(TeacherConfig(method, **changes), Numbers(), width, students, seed)


@pytest.mark.parametrize("tiles, width, students", [(1, 6, 1), (3, 6, 2), (2, 12, 3), (4, 4, 4)])
def test_seats(tiles, width, students):
    seats, each = Seats(tiles, width, students), width // students
    x = torch.arange(tiles * width * 2).view(tiles, width, 2)
    found = seats.gather(x)
    assert found.shape == (students, seats.each, 2) and torch.equal(seats.spread(found), x)
    assert seats.each == tiles * each
    for s in range(students):
        mine = [row for tile in x.tolist() for row in tile[s * each : (s + 1) * each]]
        assert found[s].tolist() == mine


@pytest.mark.parametrize("tiles, width", [(1, 16), (2, 8), (4, 4)])
def test_random_levels_come_once_and_in_order(tiles, width):
    game = world("maze", size=5)
    made = teacher(TeacherConfig("dr"), MazeMaker(game, walls=6, seed=3), width, 2)
    rounds = [made.ask(tiles) for _ in range(5)]
    assert all(task.learn and task.options["kind"] == "new" for tasks in rounds for task in tasks)
    played = torch.cat([task.levels for tasks in rounds for task in tasks])
    assert torch.equal(played, MazeMaker(game, walls=6, seed=3).draw(0, 80))
    made = make("dr", width=width)
    assert [n for tasks in (made.ask(tiles) for _ in range(5)) for t in tasks for n in read(t.levels)[:, 0]] == list(range(80))


@pytest.mark.parametrize("fill, warm", [(0.0, 2), (0.25, 4), (1.0, 13)])
def test_new_levels_until_all_buffers_are_warm(fill, warm):
    """By hand: each round brings three levels that are finished to each student, but none to the second in the first one; 36 fit."""
    made = make("plr", replay=1.0, robust=True, buffer=BufferConfig(capacity=36, fill=fill))
    for number in range(warm + 3):
        tasks = made.ask(1)
        assert kind(tasks) == ("new" if number < warm else "replay")
        assert tasks[0].learn == (number >= warm)
        lost = np.arange(8) % 4 == 0 if number else np.arange(8) != np.clip(np.arange(8), 1, 3)
        made.tell(tasks, [{"levels": {"best": np.where(lost, np.float32(np.nan), np.float32(1)), "value": np.zeros(8, np.float32)}}])
        rounds = min(number + 1, warm)
        assert made.report()["teacher/levels"] == (min(3 * rounds, 36) + 3 * (rounds - 1)) / 2


@pytest.mark.parametrize("method", ["plr", "accel", "repaired"])
@pytest.mark.parametrize("robust", [False, True])
def test_how_often_levels_are_replayed(method, robust):
    """A coin a round; ACCEL's edits come on top of it, one after each replay. Who may learn from what."""
    made, rounds = make(method, students=1, width=4, replay=0.3, robust=robust, buffer=replace(ROOMY, capacity=64)), 1500
    kinds = []
    for tasks, _ in go(made, rounds, tiles=1):
        kinds.append(kind(tasks))
        fresh = {"new": not robust, "build": False, "edit": False, "replay": True}
        assert [task.learn for task in tasks] == [fresh[kinds[-1]]]
    assert ("build" in kinds) == (method == "repaired") == ("new" not in kinds)
    for k in range(1, rounds):
        assert (kinds[k] == "edit") == (method == "accel" and kinds[k - 1] == "replay")
    replays, chances = kinds[1:].count("replay"), rounds - 1 - kinds.count("edit")  # the first round has nothing to replay
    assert stats.binomtest(replays, chances, 0.3).pvalue > LUCK
    # one round says nothing of the next
    thrown = [k == "replay" for k in kinds[1:] if k != "edit"]
    pairs = np.array([[sum(a == x and b == y for a, b in pairwise(thrown)) for x in (0, 1)] for y in (0, 1)])
    assert stats.chi2_contingency(pairs).pvalue > LUCK


def test_edits_are_of_what_was_replayed_last():
    made = make("accel", replay=0.6, buffer=ROOMY)
    played = go(made, 60)
    edits = 0
    for (before, _), (tasks, _) in pairwise(played):
        if kind(tasks) != "edit":
            continue
        edits += 1
        for parents, children in zip(before, tasks, strict=True):
            one, two = read(parents.levels), read(children.levels)
            assert (two[:, 0] == one[:, 0]).all() and (two[:, 2] == one[:, 2] + 1).all()
    assert edits > 10 and max(read(task.levels)[:, 2].max() for tasks, _ in played for task in tasks) > 1  # children have children
    assert len(set(made.maker.used)) == len(made.maker.used) - 1  # but for the constructor's look at a level


def expected_score(rule, found, k, best):
    """Of level k of a tile."""
    if rule == "maxmc":
        return best - found["value"][k]
    return found[rule][k] if rule != "learnability" else found["solved"][k] * (1 - found["solved"][k])


@pytest.mark.parametrize("rule", ["maxmc", "pvl", "l1", "learnability"])
@pytest.mark.parametrize("method", ["plr", "accel", "repaired"])
def test_what_is_remembered_of_levels(rule, method):
    """Scores, best returns and places, by students who know nothing of each other, against dictionaries."""
    made, known, kinds = make(method, score=rule, replay=0.6, buffer=ROOMY), [{}, {}], []
    for number in range(40):
        tasks = made.ask(2)
        outcomes = [outcome(task, number, k) for k, task in enumerate(tasks)]
        kinds.append(kind(tasks))
        for tile, task in enumerate(tasks):
            found = outcomes[tile]["levels"]
            levels = outcomes[tile]["built"]["levels"] if task.levels is None else task.levels
            for k, level in enumerate(map(tuple, read(levels).tolist())):
                mine = known[k // 4]
                assert kinds[-1] != "replay" or level in mine
                if found["episodes"][k]:
                    best = max(mine.get(level, (0, -np.inf))[1], found["best"][k])
                    mine[level] = (expected_score(rule, found, k, best), best)
        made.tell(tasks, outcomes)
        for mine, buffer in zip(known, made.buffers, strict=True):
            rows = read(torch.from_numpy(buffer.levels_at(np.arange(len(buffer)))))
            assert {tuple(row) for row in rows.tolist()} == set(mine) and len(rows) == len(mine)
            wanted = np.array([mine[tuple(row)] for row in rows.tolist()])
            np.testing.assert_allclose(buffer.scores_at(np.arange(len(rows))), wanted[:, 0], atol=1e-6)
            np.testing.assert_allclose(buffer.best_at(np.arange(len(rows))), wanted[:, 1], atol=1e-6)
        assert made.report() == pytest.approx(
            {
                "teacher/levels": (len(known[0]) + len(known[1])) / 2,
                "teacher/score": sum(np.mean([score for score, _ in mine.values()]) for mine in known) / 2,
            },
            abs=1e-6,
        )
    assert not set(known[0]) & set(known[1]) and kinds.count("replay") > 10


def test_the_best_return_is_remembered():
    """Through `measure`, as experiments do: one level, first solved for .5, then for .2, and .5 is still what can be had."""
    made = make("plr", students=1, width=1, replay=1.0, buffer=BufferConfig(capacity=1, fill=1.0))
    marks = []
    for paid in (0.5, 0.2, 0.0, 0.75):
        tasks = made.ask(1)
        reward, stop = torch.tensor([[0.0], [paid]]), torch.tensor([[False], [True]])
        found = measure(reward, torch.tensor([[0.1], [0.3]]), stop, 0.9, 0.8)
        made.tell(tasks, [{"levels": {name: x.numpy() for name, x in found.items()}}])
        marks.append(float(made.buffers[0].scores_at(np.array([0]))[0]))
    assert marks == pytest.approx([0.3, 0.3, 0.3, 0.55]) and made.made == 1


def test_levels_wait_while_others_are_played():
    """Ages by hand: draws age those that are not drawn, new levels age all that are there."""
    made = make("accel", students=1, width=4, replay=1.0, buffer=replace(ROOMY, staleness=1.0))
    ages = lambda: made.buffers[0].state_dict()["age"].tolist()
    whole = lambda task: [outcome(task, 0, 0, 4) | {"levels": dict.fromkeys(("best", "value"), np.ones(4, np.float32))}]
    made.tell(tasks := made.ask(1), whole(tasks[0]))
    assert ages() == [0] * 4
    made.tell(replayed := made.ask(1), whole(replayed[0]))
    drawn = read(replayed[0].levels)[:, 0]
    assert ages() == [0 if k in drawn else 4 for k in range(4)]
    made.tell(tasks := made.ask(1), whole(tasks[0]))
    assert ages() == [4 if k in drawn else 8 for k in range(4)] + [0] * 4


@pytest.mark.parametrize("robust", [False, True])
def test_lanes_of_plr(robust):
    made = make("plr", lanes=True, robust=robust, buffer=ROOMY)
    played = go(made, 6, tiles=4)
    assert [kind(tasks) for tasks, _ in played[:1]] == ["new"] and all(task.learn != robust for task in played[0][0])
    for tasks, _ in played[1:]:
        assert [task.options["kind"] for task in tasks] == ["replay"] * 2 + ["new"] * 2
        assert [task.learn for task in tasks] == [True] * 2 + [not robust] * 2
        assert all(task.options["report"]["teacher/replay"] == float(k < 2) for k, task in enumerate(tasks))
    drawn = [n for tasks, _ in played for task in tasks if task.options["kind"] == "new" for n in read(task.levels)[:, 0]]
    assert drawn == list(range(len(drawn)))


def test_lanes_of_accel():
    """A third each; children are of what was replayed a round before, at first of what is replayed beside them."""
    made = make("accel", lanes=True, buffer=ROOMY)
    played = go(made, 6, tiles=6)
    assert kind(played[0][0]) == "new" and not any(task.learn for task in played[0][0])
    parents = None
    for tasks, _ in played[1:]:
        assert [task.options["kind"] for task in tasks] == ["replay"] * 2 + ["edit"] * 2 + ["new"] * 2
        assert [task.learn for task in tasks] == [True] * 2 + [False] * 4
        now = np.stack([read(task.levels) for task in tasks[:2]])
        parents = now if parents is None else parents
        children = np.stack([read(task.levels) for task in tasks[2:4]])
        assert (children[..., 0] == parents[..., 0]).all() and (children[..., 2] == parents[..., 2] + 1).all()
        parents = now
    # all that is scored finds its place: the new ones, the children
    for s, buffer in enumerate(made.buffers):
        finished = {
            tuple(row)
            for tasks, outcomes in played
            for task, told in zip(tasks, outcomes, strict=True)
            for k, row in enumerate(read(task.levels).tolist())
            if k // 4 == s and told["levels"]["episodes"][k]
        }
        assert {tuple(r) for r in read(torch.from_numpy(buffer.levels_at(np.arange(len(buffer))))).tolist()} == finished


@pytest.mark.parametrize("method, tiles, of", [("plr", 3, 2), ("accel", 4, 3)])
def test_lanes_need_tiles(method, tiles, of):
    with pytest.raises(UsageError, match=rf"run.tiles is {tiles} with teacher.lanes and {method}; allowed are multiples of {of}"):
        make(method, lanes=True).ask(tiles)


def test_students_need_equal_shares():
    with pytest.raises(UsageError, match=r"run\.tile is 8 with 3 students"):
        make("dr", students=3)


@pytest.mark.parametrize("method", ["paired", "minimax"])
def test_builders_build_always(method):
    played = go(make(method), 5)
    assert all(kind(tasks) == "build" and task.levels is None and task.learn for tasks, _ in played for task in tasks)


SFL = {"sweep": 3, "tries": 2, "keep": 10, "period": 5, "share": 0.75}


def most_learnable(rounds, student, keep):
    """Brute force over the rounds of a sweep: all levels by p (1 - p), those without an episode last, of equals the earlier first."""
    solved, episodes = {}, {}
    for tasks, outcomes in rounds:
        for task, told in zip(tasks, outcomes, strict=True):
            for k, level in enumerate(map(tuple, read(task.levels).tolist())):
                if k // 4 == student:
                    count = int(told["levels"]["episodes"][k])
                    episodes[level] = episodes.get(level, 0) + count
                    solved[level] = solved.get(level, 0) + (int(told["levels"]["solved"][k] * count) if count else 0)
    share = {level: Fraction(solved[level], n) if n else None for level, n in episodes.items()}
    merit = lambda level: -1 if share[level] is None else share[level] * (1 - share[level])
    return sorted(share, key=merit, reverse=True)[:keep], episodes


def test_learnability_keeps_the_most_learnable():
    made, sweeps, seen = make("sfl", **SFL), [], set()
    for number in range(3 * 11):
        ((tasks, outcomes),) = go(made, 1, start=number)
        phase = number % 11
        assert kind(tasks) == ("sweep" if phase < 6 else "replay") and all(task.learn == (phase > 5) for task in tasks)
        levels = np.stack([read(task.levels)[:, 0] for task in tasks])
        if phase < 6:
            sweeps = [*(sweeps if phase else []), (tasks, outcomes)]
            if phase % 2:  # every batch of levels is tried twice
                assert (levels == np.stack([read(task.levels)[:, 0] for task in sweeps[-2][0]])).all()
            else:
                assert not seen & set(levels.flat)
            seen |= set(levels.flat)
            continue
        for s in range(2):
            best, episodes = most_learnable(sweeps, s, 10)
            assert len(episodes) == 24 and len(set(episodes.values())) > 1
            assert [tuple(row) for row in read(made.kept[s]).tolist()] == best
            # two tiles of four worlds: six of the eight play what was kept, two fresh levels
            mine = levels[:, 4 * s : 4 * s + 4].flatten().tolist()
            assert set(mine[:6]) <= {n for n, *_ in best} and not set(mine[6:]) & seen and len(set(mine[6:])) == 2
            seen |= set(mine[6:])
        assert made.report() == {"teacher/levels": 10.0}


def test_kept_levels_are_played_equally_often():
    made = make("sfl", students=1, sweep=1, tries=1, keep=5, period=2000, share=0.5)
    played = go(made, 1500)
    counts = np.zeros(16, int)
    for tasks, _ in played[1:]:
        np.add.at(counts, read(tasks[0].levels)[:, 0], 1)  # of two tiles of eight worlds, the first plays them
    kept = read(made.kept[0])[:, 0]
    assert counts.sum() == counts[kept].sum() == 8 * 1499 and stats.chisquare(counts[kept]).pvalue > LUCK


@pytest.mark.parametrize("method, changes", [("plr", {}), ("accel", {}), ("sfl", SFL | {"tries": 1, "share": 1.0})])
def test_asked_ahead(method, changes):
    """Rounds that are asked for before the one before is told: a lag of 1, and levels keep the outcomes that are theirs."""
    made = make(method, **({"score": "pvl", "replay": 0.5, "buffer": ROOMY} | changes))
    waiting, known, lags, swept, mine = [], {}, [], [], None
    for number in range(40):
        waiting.append((number, made.ask(2)))
        lags.append(waiting[-1][1][0].options["report"]["teacher/lag"])
        if number == 0:
            continue
        if method == "sfl" and kind(waiting[-1][1]) == "replay" and number % 8 > 3:
            assert set(read(waiting[-1][1][0].levels)[:4, 0]) <= {n for n, *_ in mine}
        asked, tasks = waiting.pop(0)
        outcomes = [outcome(task, asked, k) for k, task in enumerate(tasks)]
        made.tell(tasks, outcomes)
        if method == "sfl":
            swept = [*swept, (tasks, outcomes)] if kind(tasks) == "sweep" else []
            mine = most_learnable(swept, 0, 10)[0] if len(swept) == 3 else mine
            continue
        for task, told in zip(tasks, outcomes, strict=True):
            rows = enumerate(map(tuple, read(task.levels).tolist()))
            known |= {level: told["levels"]["pvl"][k] for k, level in rows if told["levels"]["episodes"][k]}
        for buffer in made.buffers:
            found = buffer.levels_at(np.arange(len(buffer)))
            assert buffer.scores_at(np.arange(len(buffer))).tolist() == [known[tuple(r)] for r in read(torch.from_numpy(found)).tolist()]
    assert lags == [0.0] + [1.0] * 39
    assert method == "sfl" or len(known) == sum(len(b) for b in made.buffers) > 50


def test_reports_say_what_a_round_was():
    for tasks, _ in go(make("accel", replay=0.7, buffer=ROOMY), 20):
        for task in tasks:
            assert {k for k in KINDS if task.options["report"][f"teacher/{k}"]} == {task.options["kind"]}
            assert task.options["report"]["teacher/lag"] == 0


@pytest.mark.parametrize("method", ["dr", "plr", "sfl"])
def test_buffers_are_looked_at_once_a_round(method, monkeypatch):
    """However many tiles play, all of which are told the same."""
    made, looks = make(method), []
    monkeypatch.setattr(made, "report", lambda: looks.append(len(looks)) or {"teacher/look": float(len(looks))})
    for number in range(3):
        assert [task.options["report"]["teacher/look"] for task in made.ask(4)] == [number + 1.0] * 4
    assert len(looks) == 3


STATES = {
    "dr": {},
    "plr": {"replay": 0.5},
    "accel": {"replay": 0.8},
    "plr-lanes": {"lanes": True},
    "accel-lanes": {"lanes": True},
    "repaired": {"replay": 0.5},
    "sfl": SFL,
    "paired": {},
}


@pytest.mark.parametrize("which", STATES)
def test_states_go_on_from_disk(which, tmp_path):
    """Saved in the middle of everything (a sweep, between parents and children), read back: what is asked next is the same."""
    new = lambda: make(which.split("-")[0], seed=5, buffer=BufferConfig(capacity=40, fill=0.2), **STATES[which])
    pending = 0
    for number in range(7, 16):
        made, again = new(), new()
        go(made, number, tiles=6)
        folder = tmp_path / f"{number}"
        checkpoint.save(folder, RunState(number, {}, made.state_dict()))
        pending += getattr(made, "parents", None) is not None or bool(getattr(made, "tried", {}))
        again.load_state_dict(checkpoint.load(folder).meta)
        assert again.asked == again.told == number
        for (mine, _), (theirs, _) in zip(go(made, 10, 6, number), go(again, 10, 6, number), strict=True):
            for one, two in zip(mine, theirs, strict=True):
                assert one.learn == two.learn and one.options["kind"] == two.options["kind"]
                assert (one.levels is None and two.levels is None) or torch.equal(one.levels, two.levels)
                plain = [{k: x for k, x in task.options["report"].items() if k != "time/teacher"} for task in (one, two)]
                assert plain[0] == plain[1]
    assert pending >= (2 if which in ("accel", "accel-lanes", "sfl") else 0)
