"""Stochastic Fruit Choice against slow Python on complex numbers; its secret; its levels; what is best to eat."""

import itertools
from collections import Counter, deque

import numpy as np
import pytest
import torch
from scipy import stats

from interplay.envs import UsageError, fruit, make, world
from interplay.envs.fruit import indifference, optimum, values
from interplay.envs.fruit_maker import FruitMaker
from interplay.policies.grid_network import GridConfig, GridNetwork

LUCK = 1e-4  # seeds are fixed; below this p-value the numbers are not random
SIZES = [(1, 2), (1, 3), (1, 7), (2, 2), (2, 5), (3, 3), (8, 3), (5, 2), (1, 32), (3, 32)]
TURNS = (1, 1j, -1, -1j)  # right, down, left, up; x + y i, y grows downwards: times i is a turn to the right


def records(game, levels):
    """Levels as records of their fields, read by the layout alone."""
    rows = np.zeros((len(levels), game.record.itemsize), np.uint8)
    rows[:, : game.level_bytes] = levels
    return rows.view(game.record).reshape(-1)


class Slow:
    """One game."""

    def __init__(self, row):
        n = int(row["side"])
        place = lambda cell: complex(int(cell) % n, int(cell) // n)
        bits = [byte >> k & 1 for byte in row["walls"].tolist() for k in range(8)][: n * n]
        self.free = {place(cell) for cell in range(n * n) if not bits[cell]}
        self.start, self.apple, self.banana = (place(row[name]) for name in ("start", "apple", "banana"))
        self.first, self.truth, self.rounds, self.pays = int(row["heading"]), int(row["truth"]), int(row["rounds"]), row["pays"].tolist()
        self.reset()

    def reset(self):
        self.turn, self.at, self.ahead = 0, self.start, TURNS[self.first]

    def step(self, action):
        """Reward, and whether the game ends."""
        self.turn += 1
        self.ahead *= {0: -1j, 1: 1j}.get(action, 1)
        to = self.at + self.ahead
        if action == 2 and to in (self.apple, self.banana):
            eaten = int(to == self.banana)
            return (self.pays[eaten] if eaten == self.truth else 0.0), True
        if action == 2 and to in self.free:
            self.at = to
        return 0.0, self.turn == self.rounds

    def observe(self):
        cells = [self.at + (4 - row) * self.ahead + (column - 2) * 1j * self.ahead for row in range(5) for column in range(5)]
        shown = [cell not in self.free for cell in cells] + [cell == fruit for fruit in (self.apple, self.banana) for cell in cells]
        return [int(bit) for bit in (*shown, *(self.ahead == turn for turn in TURNS))]

    def lengths(self):
        """The least number of moves to eat the apple, and the banana, without eating the other; None where there is no way."""
        found, seen, todo = [None, None], {(self.at, self.ahead)}, deque([(self.at, self.ahead, 1)])
        while todo:
            at, ahead, moves = todo.popleft()
            for k, thing in enumerate((self.apple, self.banana)):
                if at + ahead == thing and found[k] is None:
                    found[k] = moves
            to = at + ahead
            for state in ((at, ahead * 1j), (at, ahead * -1j), (to, ahead)):
                if state not in seen and state[0] in self.free and state[0] not in (self.apple, self.banana):
                    seen.add(state)
                    todo.append((*state, moves + 1))
        return found


@pytest.mark.parametrize("rooms, room", SIZES)
@pytest.mark.parametrize("actions", [3, 7])
def test_rules(rooms, room, actions):
    """Every bit, reward and end of random games, in made and edited levels."""
    count, steps = 12, 250 if rooms * room < 32 else 60
    params = {"rooms": rooms, "room": room, "actions": actions, "rounds": 57, "apple": 3.5, "banana": 0.25}
    batch = make("fruit", num_envs=count, seed=4, **params)
    maker = FruitMaker(batch.world, 0.5, seed=rooms)
    levels = maker.edit(maker.draw(7, count), 3)
    batch.set_level(torch.ones(count, dtype=torch.bool), levels)
    games, rng, paid = [Slow(row) for row in records(batch.world, levels)], np.random.default_rng(room), set()
    for _ in range(steps):
        np.testing.assert_array_equal(batch.views(batch.out.obs)[:, 0], [game.observe() for game in games])
        action = rng.integers(0, actions, count)
        shown = batch.step(torch.from_numpy(action)[:, None])
        found = [game.step(move) for game, move in zip(games, action.tolist(), strict=True)]
        assert shown.reward[:, 0].tolist() == [reward for reward, _ in found]
        assert shown.terminated.tolist() == [ended for _, ended in found] and not shown.truncated.any()
        final = batch.views(shown.final_obs)[:, 0]
        for k, (reward, ended) in enumerate(found):
            if ended:
                assert final[k].tolist() == games[k].observe()
                paid.add((reward, games[k].turn == 57))
                games[k].reset()
    assert (0.0, True) in paid and (rooms * room > 3 or {(3.5, False), (0.25, False), (0.0, False)} <= paid)


@pytest.mark.parametrize("rooms, room", [(1, 2), (1, 3), (2, 3)])
def test_the_secret_shows_in_nothing_but_the_pay(rooms, room):
    """Copies whose truth is the other one look the same for whole games, and are paid where these are not."""
    count = 400
    params = {"rooms": rooms, "room": room}
    here, there = make("fruit", num_envs=count, **params), make("fruit", num_envs=count, **params)
    levels, every = FruitMaker(here.world, 0.5).draw(0, count), torch.ones(count, dtype=torch.bool)
    truth = torch.from_numpy(records(here.world, levels)["truth"].astype(np.int64))
    for batch in (here, there):
        batch.set_level(every, levels)
    eaten, paid = 0, torch.zeros(2, dtype=torch.int64)
    for draw in range(120):
        if draw in (0, 60):  # in the middle of games, too
            assert there.edit(every, 1 - truth[:, None] if draw == 0 else truth[:, None]).all()
            assert here.edit(every, truth[:, None] if draw == 0 else 1 - truth[:, None]).all()
        action = here.random_action(draw)
        one, two = here.step(action), there.step(action)
        for name in ("obs", "final_obs", "terminated", "truncated"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name
        ate = one.terminated & ((one.reward + two.reward)[:, 0] > 0)
        assert not (one.reward * two.reward).any() and not (one.reward + two.reward)[~one.terminated].any()
        now = truth if draw < 60 else 1 - truth
        pay = torch.where(one.reward > 0, now[:, None], 1 - now[:, None])[ate, 0]  # the fruit that was eaten
        assert (one.reward + two.reward)[ate, 0].tolist() == [(3.0, 10.0)[k] for k in pay]
        eaten += int(ate.sum())
        paid += torch.stack([one.reward.count_nonzero(), two.reward.count_nonzero()])
    assert eaten == paid.sum() > 100 and paid.min() > 40


def test_numbers_are_signed():
    """In plain Python a difference of unsigned ones would wrap; walls are bits, not numbers."""
    game, fields = world("fruit", rooms=16, room=5), make("fruit").world.record.fields
    assert [name for name, *_ in game.level + game.state if fields[name][0].base.kind == "u"] == ["walls"]
    assert all(np.iinfo(game.record[name]).max >= high for name, (_, high) in game.limits.items() if name != "pays")


def test_edits_that_are_none_change_nothing():
    batch = make("fruit", num_envs=6)
    batch.step(torch.tensor([[0], [1], [0], [1], [0], [1]]))
    kept, view = batch.memory.clone(), batch.out.obs.clone()
    mask = torch.tensor([True, True, True, True, False, True])
    done = batch.edit(mask, torch.tensor([[2], [-1], [256], [2**32 + 1], [1], [1]]))
    assert done.tolist() == [False] * 5 + [True]
    assert torch.equal(batch.memory[:5], kept[:5]) and torch.equal(batch.out.obs, view)
    changed = (batch.memory[5] != kept[5]).nonzero().flatten().tolist()
    assert changed == [batch.world.record.fields["truth"][1]] and batch._worlds["turn"].tolist() == [1] * 6


@pytest.mark.parametrize("rooms, room", SIZES)
def test_levels_can_be_played_to_either_fruit(rooms, room):
    """Drawn ones, and children of children: as described, checked by the world, with ways that fit into the default time."""
    batch = make("fruit", num_envs=40, rooms=rooms, room=room)
    maker = FruitMaker(batch.world, seed=2)
    own, levels = records(batch.world, batch.levels()[:1]), maker.draw(0, 40)
    for generation in range(4):
        rows = records(batch.world, levels)
        for row in (*rows, *own):
            n = int(row["side"])
            assert n == rooms * (room + 1) - 1 and row["rounds"] == 2 * rooms * (room + 1) ** 2
            game = Slow(row)
            assert len(game.free) == rooms * room * room + rooms - 1
            columns = Counter(cell.real for cell in game.free)
            assert [columns[x] for x in range(n)] == ([room] * room + [1]) * (rooms - 1) + [room] * room
            assert {cell.imag - (n - room) // 2 for cell in game.free} <= set(range(room))
            left = (rooms - 1) * (room + 1)  # column of the last room
            assert {game.start, game.apple, game.banana} < game.free and game.start.real < room and game.start != game.apple != game.banana
            assert min(game.apple.real, game.banana.real) >= left and game.start != game.banana
            assert max(game.lengths()) <= row["rounds"] / 2
        batch.set_level(torch.ones(40, dtype=torch.bool), levels)
        assert torch.equal(batch.pack_levels(), levels)  # checks them
        levels = maker.edit(levels, 100 * generation)


def test_draws_are_as_probable_as_they_should_be():
    """Truth, heading, start, doors and pairs of fruits by chi-square; and that each is independent of each."""
    game, count = world("fruit", rooms=3, room=2), 20_000
    levels = FruitMaker(game, 0.3, seed=5).draw(1000, count)
    rows = records(game, levels)
    np.testing.assert_array_equal(fruit.truths(game, levels), rows["truth"])
    side = int(rows["side"][0])
    even = lambda values, ways: stats.chisquare(np.bincount(values, minlength=ways)).pvalue > LUCK and len(np.bincount(values)) == ways
    number = lambda name: np.array([(cell // side - 3) * 2 + cell % side % 3 for cell in rows[name].astype(int)])
    assert stats.binomtest(int((rows["truth"] == 0).sum()), count, 0.3).pvalue > LUCK
    assert even(rows["heading"], 4) and even(number("start"), 4)
    walls = np.unpackbits(rows["walls"], axis=1, bitorder="little")[:, : side * side].reshape(-1, side, side)
    doors = np.stack([1 - walls[:, 4, x] for x in (2, 5)], 1).astype(int)  # 0: in the upper row
    assert even(doors @ [1, 2], 4)
    apple, banana = number("apple"), number("banana")
    behind = 2 * doors[:, 1]  # the cell behind the last door
    assert not ((apple == behind) | (banana == behind) | (apple == banana)).any()
    pairs = Counter(zip(doors[:, 1], apple, banana, strict=True))
    assert len(pairs) == 12 and stats.chisquare(list(pairs.values())).pvalue > LUCK
    # nothing that can be seen tells what is right, or what else there is
    fruits = (apple - behind) % 4 * 4 + (banana - behind) % 4  # counted from the door
    for one, two in itertools.combinations([rows["truth"], rows["heading"], number("start"), doors @ [1, 2], fruits], 2):
        assert stats.chi2_contingency(stats.contingency.crosstab(one, two).count).pvalue > LUCK
    for bias in (0.0, 1.0):
        assert set(records(game, FruitMaker(game, bias).draw(0, 500))["truth"]) == {1 - bias}


@pytest.mark.parametrize("rooms, kinds", [(1, 3), (3, 4)])
def test_edits_move_one_thing_and_keep_the_truth(rooms, kinds):
    game, count = world("fruit", rooms=rooms, room=4), 8000
    maker = FruitMaker(game, 0.5, seed=8)
    levels = maker.draw(0, count)
    kept = levels.clone()
    before, after = records(game, levels), records(game, maker.edit(levels, 0))
    assert torch.equal(levels, kept)
    for name in ("truth", "side", "rounds", "pays"):
        np.testing.assert_array_equal(before[name], after[name])
    fruits = (before["apple"] != after["apple"]) | (before["banana"] != after["banana"])
    walls = (before["walls"] != after["walls"]).any(1)
    moved = np.stack([before["start"] != after["start"], before["heading"] != after["heading"], fruits, walls], 1)
    assert moved.sum(1).max() == 1
    # what is drawn is the old place with chance 1 / places: of 16 cells less two fruits or less none, 4 headings, pairs, 4 rows (the
    # last wall's door has fewer where fruits lie right behind it)
    places = 14 if rooms == 1 else 16
    for change, share in ((0, 1 - 1 / places), (1, 3 / 4), (2, 1 - 1 / (15 * 14))):
        assert stats.binomtest(int(moved[:, change].sum()), count, share / kinds).pvalue > LUCK
    assert moved[:, 3].any() == (rooms > 1)
    if rooms > 1:
        flips = np.unpackbits(before["walls"] ^ after["walls"], axis=1).sum(1)
        assert set(flips[walls]) == {2} and 0.6 / kinds < walls.mean() < 0.75 / kinds


def test_levels_do_not_depend_on_the_batch():
    maker = FruitMaker(world("fruit", rooms=4, room=3), seed=3)
    many = maker.draw(10, 50)
    children = maker.edit(many, 77)
    for k in (0, 1, 31, 49):
        assert torch.equal(maker.draw(10 + k, 1)[0], many[k])
        assert torch.equal(maker.edit(many[k : k + 1], 77 + k)[0], children[k])
    assert len(many.unique(dim=0)) == 50 == len(maker.edit(many[:1].expand(50, -1), 0))
    assert not torch.equal(FruitMaker(maker.world, seed=4).draw(10, 50), many)


def test_what_is_best_to_eat():
    """The exact oracle on both sides of the indifference point, and what games pay on average."""
    assert values() == pytest.approx((2.1, 3.0)) and optimum() == 1
    assert indifference() == pytest.approx(10 / 13)
    for apple, banana in ((3.0, 10.0), (1.0, 1.0), (7.5, 0.2)):
        edge = indifference(apple, banana)
        assert values(edge, apple, banana)[0] == pytest.approx(values(edge, apple, banana)[1])
        assert optimum(edge + 1e-6, apple, banana) == 0 and optimum(edge - 1e-6, apple, banana) == 1
    assert optimum(0.5, 2, 2) == 0 and values(0, 3, 10) == (0, 10) and values(1, 3, 10) == (3, 0)
    count = 20_000
    batch = make("fruit", num_envs=count)
    truth = records(batch.world, FruitMaker(batch.world, 0.7, seed=1).draw(0, count))["truth"]
    packed = batch.pack_levels(truth=truth, start=4, heading=0, apple=5, banana=1)  # ahead the apple, to the left the banana
    for eat, moves in enumerate(([2], [0, 2])):
        batch.set_level(torch.ones(count, dtype=torch.bool), packed)
        for move in moves:
            shown = batch.step(torch.full((count, 1), move))
        assert shown.terminated.all() and set(shown.reward.flatten().tolist()) == {0.0, (3.0, 10.0)[eat]}
        error = (3.0, 10.0)[eat] * (0.21 / count) ** 0.5
        assert abs(shown.reward.mean() - values()[eat]) < 4 * error


def test_pictures():
    batch = make("fruit", rooms=2, room=2, banana=4)
    drawn = "#####\n<.#.B\n.{}..A\n#####\n#####\nmove {} of 36, apple is right"
    assert batch.world.picture(batch._worlds[0]) == drawn.format(".", 0)
    batch.step(torch.tensor([[1]]))
    batch.edit(torch.tensor([True]), torch.tensor([[1]]))
    assert batch.world.picture(batch._worlds[0]) == drawn.format(".", 1).replace("<", "^").replace("apple", "banana")


def test_students_can_read_its_views():
    spec = make("fruit").spec
    assert [(s.name, s.stop - s.start) for s in spec.sections] == [("walls", 25), ("apple", 25), ("banana", 25), ("heading", 4)]
    assert GridNetwork(GridConfig(recurrent=8), spec, 1).planes == 3


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"start": 0}, r"level 0: its start \(cell 0\) is a wall; allowed are free cells"),
        ({"apple": [76, 47, 76]}, r"level 1: its apple \(cell 47\) is a wall"),
        ({"banana": 77}, r"level 0: its banana \(cell 77\) is a wall"),
        ({"start": 76}, "level 0: its start and apple are both cell 76; allowed are different free cells"),
        ({"start": [44, 44, 65]}, "level 2: its start and banana are both cell 65"),
        ({"apple": 65}, "level 0: its apple and banana are both cell 65"),
        ({"truth": 2}, "level 0: truth holds 2; allowed are finite numbers from 0 to 1"),
        ({"banana": 121}, "level 0: banana holds 121; allowed are finite numbers from 0 to 120"),
        ({"pays": [1, -1]}, "level 0: pays holds -1.0"),
        ({"side": 12}, "level 0: side holds 12; allowed are finite numbers from 11 to 11"),
    ],
)
def test_levels_that_cannot_be_played(fields, message):
    batch = make("fruit", num_envs=3, rooms=3, room=3)  # 11 x 11 cells, rooms in rows 4 to 6
    with pytest.raises(UsageError, match=message):
        batch.pack_levels(**fields)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: world("fruit", rooms=0), "rooms is 0; allowed are whole numbers from 1 to 16"),
        (lambda: world("fruit", room=1), "room is 1; allowed are whole numbers from 2 to 32"),
        (lambda: world("fruit", rooms=16, room=6), "16 rooms of 6 cells make a square of 111 cells on a side; allowed are 101 at most"),
        (lambda: world("fruit", rounds=-1), "rounds is -1; allowed are whole numbers from 0"),
        (lambda: world("fruit", actions=4), "actions is 4; allowed are 3"),
        (lambda: world("fruit", apple=0), "apple is 0; allowed are finite numbers above 0"),
        (lambda: world("fruit", banana=1e60), "banana is 1e\\+60; allowed are finite numbers above 0"),
        (lambda: world("fruit", banana="ten"), "banana is 'ten'"),
        (lambda: FruitMaker(world("fruit"), 1.5), "bias is 1.5; allowed are probabilities from 0 to 1"),
        (lambda: FruitMaker(world("fruit"), float("nan")), "bias is nan"),
        (lambda: FruitMaker(world("fruit"), seed=-1), "seed is -1"),
        (lambda: FruitMaker(world("maze")), "the world is 'maze'; allowed is 'fruit'"),
        (lambda: FruitMaker(world("fruit")).draw(2**32, 1), "first is 4294967296"),
        (lambda: FruitMaker(world("fruit")).draw(0, 0), "count is 0; allowed are whole numbers from 1"),
        (lambda: optimum(-0.1), "q is -0.1; allowed are probabilities"),
        (lambda: fruit.values(0.5, -1), "apple is -1; allowed are finite numbers above 0"),
        (lambda: indifference(float("inf")), "apple is inf"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(UsageError, match=message) as told:
        call()
    assert "\n" not in str(told.value)
