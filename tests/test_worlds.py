"""The rules of every world, against slow and obvious Python written from the games' descriptions; and users' mistakes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from interplay.envs import UsageError, World, fruit, hanabi, make, maze, names, world
from interplay.envs.matrix import CLASSICS, payoff_table

LUCK = 1e-4  # smallest p-value a fair die may show; seeds are fixed, so a test that passes once passes always


class Dice:
    """The rolls of one world: Philox2x32-10 in Python's unbounded integers."""

    def __init__(self, seed, world):
        self.seed, self.world, self.draws = seed, world, 0

    def word(self):
        self.draws += 1
        key, x, y = self.seed, self.draws, self.world
        for _ in range(10):
            product = 0xD256D193 * x
            x, y, key = (product >> 32) ^ key ^ y, product % 2**32, (key + 0x9E3779B9) % 2**32
        return x

    def below(self, n):
        return self.word() * n // 2**32

    def unit(self):
        return (self.word() >> 8) / 2**24


class Matrix:
    """Two players, one table; each sees the last joint move, its own first."""

    def __init__(self, dice, payoff, rounds=150, stop=0.0):
        self.dice, self.payoff, self.rounds, self.stop = dice, np.asarray(payoff, np.float32), rounds, stop
        self.reset()

    def reset(self):
        self.turn, self.last = 0, None

    def step(self, moves):
        self.turn, self.last = self.turn + 1, moves
        stopped = self.stop > 0 and self.dice.unit() < np.float32(self.stop)
        return [self.payoff[p][moves[0]][moves[1]] for p in range(2)], stopped, not stopped and self.turn == self.rounds

    def observe(self):
        _, rows, columns = self.payoff.shape
        views = np.zeros((2, 1 + rows * columns), np.uint8)
        if self.last is None:
            views[:, 0] = 1
        else:
            row, column = self.last
            joint = np.zeros((rows, columns), np.uint8)
            joint[row, column] = 1
            views[0, 1:] = joint.flatten()
            views[1, 1:] = joint.T.flatten()
        return views

    def legal(self):
        _, rows, columns = self.payoff.shape
        return [[k < side for k in range(max(rows, columns))] for side in (rows, columns)]


class PublicGoods:
    """Everybody has one coin; what is given is multiplied and shared among all."""

    def __init__(self, dice, players=4, factor=2.0, rounds=100):
        self.players, self.factor, self.rounds = players, factor, rounds
        self.reset()

    def reset(self):
        self.turn, self.gave = 0, None

    def step(self, moves):
        self.turn, self.gave = self.turn + 1, moves
        return [self.factor * sum(moves) / self.players + (1 - move) for move in moves], False, self.turn == self.rounds

    def observe(self):
        views = np.zeros((self.players, 3 + self.players), np.uint8)
        for p in range(self.players):
            if self.gave is None:
                views[p, 0] = 1
            else:
                views[p, 1 + self.gave[p]] = 1
                views[p, 3 + sum(self.gave[:p]) + sum(self.gave[p + 1 :])] = 1
        return views


class Lever:
    """The same lever pays what is written on it."""

    def __init__(self, dice, pays=(1.0,) * 9 + (0.9,), rounds=1, players=2):
        self.pays, self.rounds, self.players = np.asarray(pays, np.float32), rounds, players
        self.reset()

    def reset(self):
        self.turn, self.pulled = 0, None

    def step(self, moves):
        self.turn, self.pulled = self.turn + 1, moves
        pay = self.pays[moves[0]] if len(set(moves)) == 1 else 0
        return [pay] * self.players, self.turn == self.rounds, False

    def observe(self):
        views = np.zeros((self.players, 1 + self.players * len(self.pays)), np.uint8)
        for p in range(self.players):
            if self.pulled is None:
                views[p, 0] = 1
            else:
                mine_first = [self.pulled[(p + j) % self.players] for j in range(self.players)]
                views[p, 1:] = np.concatenate([np.arange(len(self.pays)) == lever for lever in mine_first])
        return views


class Coin:
    """Squares are pairs; who stands on the coin takes it; the other colour's owner pays 2."""

    MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))

    def __init__(self, dice, size=3, rounds=150, egocentric=False):
        self.dice, self.size, self.rounds, self.egocentric = dice, size, rounds, egocentric
        self.squares = [(x, y) for x in range(size) for y in range(size)]
        self.reset()

    def reset(self):
        self.turn, self.owner = 0, self.dice.below(2)
        first = self.dice.below(len(self.squares))
        apart = 1 + self.dice.below(len(self.squares) - 1)
        self.at = [self.squares[first], self.squares[(first + apart) % len(self.squares)]]
        self.place()

    def place(self):
        free = [square for square in self.squares if square not in self.at]
        self.coin = free[self.dice.below(len(free))]

    def step(self, moves):
        self.turn += 1
        self.at = [tuple((x + dx) % self.size for x, dx in zip(self.at[p], self.MOVES[moves[p]], strict=True)) for p in range(2)]
        takers = [p for p in range(2) if self.at[p] == self.coin]
        pay = [int(p in takers) for p in range(2)]
        if 1 - self.owner in takers:
            pay[self.owner] -= 2
        if takers:
            self.owner = 1 - self.owner
            self.place()
        return pay, False, self.turn == self.rounds

    def observe(self):
        planes = np.zeros((4, self.size, self.size), np.uint8)
        for k in range(2):
            planes[k][self.at[k]] = 1
        planes[2 + self.owner][self.coin] = 1
        if not self.egocentric:
            return np.stack([planes, planes])
        swapped = planes[[1, 0, 3, 2]]
        return np.stack([self.centred(planes, self.at[0]), self.centred(swapped, self.at[1])])

    def centred(self, planes, at):
        shift = [self.size // 2 - x for x in at]
        return np.roll(planes, shift, axis=(1, 2))


TABLE = np.arange(12.0).reshape(2, 2, 3) - 5
CASES = {
    "ipd": ("ipd", Matrix, {"payoff": CLASSICS["ipd"], "rounds": 7}),
    "2x3": ("matrix", Matrix, {"payoff": TABLE, "rounds": 4, "stop": 0.25}),
    "3x2": ("matrix", Matrix, {"payoff": TABLE.transpose(0, 2, 1), "rounds": 4}),
    "1x4": ("matrix", Matrix, {"payoff": [[[1, 2, 3, 4]], [[4, 3, 2, 1]]], "rounds": 3}),
    "public goods": ("public-goods", PublicGoods, {"rounds": 5}),
    "public goods of 7": ("public-goods", PublicGoods, {"players": 7, "factor": 3.7, "rounds": 5}),
    "coin": ("coin", Coin, {"rounds": 30}),
    "coin 2x2": ("coin", Coin, {"size": 2, "rounds": 30}),
    "coin, own view": ("coin", Coin, {"rounds": 30, "egocentric": True}),
    "coin 6x6, own view": ("coin", Coin, {"size": 6, "rounds": 30, "egocentric": True}),
    "lever": ("lever", Lever, {}),
    "lever of three": ("lever", Lever, {"players": 3, "pays": (0.5, -1.0), "rounds": 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_rules(case):
    """Twelve worlds for 100 steps: every number of every step equals the reference's."""
    name, reference, params = CASES[case]
    batch = make(name, num_envs=12, seed=5, first=30, **params)
    games = [reference(Dice(5, 30 + i), **params) for i in range(12)]
    rng = np.random.default_rng(0)
    for _ in range(100):
        expected = np.stack([game.observe() for game in games])
        np.testing.assert_array_equal(batch.out.obs, expected)
        for i, game in enumerate(games):
            assert batch.out.legal[i].tolist() == (game.legal() if hasattr(game, "legal") else torch.ones_like(batch.out.legal[i]).tolist())
        action = rng.integers(0, batch.out.legal.sum(-1).numpy())
        shown = batch.step(torch.from_numpy(action))
        for i, game in enumerate(games):
            reward, terminated, truncated = game.step(action[i].tolist())
            np.testing.assert_allclose(shown.reward[i], reward, rtol=1e-6)
            assert (shown.terminated[i].item(), shown.truncated[i].item()) == (terminated, truncated)
            if terminated or truncated:
                np.testing.assert_array_equal(shown.final_obs[i], game.observe())
                game.reset()
        assert shown.acting.all() and shown.alive.all()


def test_every_registered_world_has_a_reference():
    elsewhere = {name for name in names() if world(name).rules in (hanabi, maze, fruit)}  # test_hanabi, test_maze, test_fruit
    assert {name for name, *_ in CASES.values()} | set(CLASSICS) | elsewhere == set(names())


# (CC, CD, DC, DD) to the first player, then to the second: Foerster et al. 2018 (IPD, IMP), Lu et al. 2022 (chicken)
@pytest.mark.parametrize(
    "name, first, second",
    [
        ("ipd", [-1, -3, 0, -2], [-1, 0, -3, -2]),
        ("imp", [1, -1, -1, 1], [-1, 1, 1, -1]),
        ("chicken", [0, -1, 1, -100], [0, 1, -1, -100]),
        ("stag-hunt", [4, 1, 3, 2], [4, 3, 1, 2]),
    ],
)
def test_classic_payoffs(name, first, second):
    batch = make(name, num_envs=4)
    reward = batch.step(torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])).reward
    assert reward.T.tolist() == [first, second]
    assert batch.world.name == name
    assert len(batch.world.action_names) == batch.world.actions == 2


def test_joint_moves_in_the_order_of_the_literature():
    assert payoff_table([[-1, -3, 0, -2], [-1, 0, -3, -2]]).tolist() == CLASSICS["ipd"]


def test_the_column_player_sees_its_own_move_first():
    batch = make("matrix", payoff=TABLE)  # two rows, three columns
    batch.step(torch.tensor([[1, 2]]))
    row, column = batch.out.obs[0].tolist()
    assert row.index(1) == 1 + 1 * 3 + 2
    assert column.index(1) == 1 + 2 * 2 + 1
    assert sum(row) == sum(column) == 1


@pytest.mark.parametrize("stop", [0.04, 0.5, 1.0])
def test_stop_is_the_probability_of_ending(stop):
    batch = make("ipd", num_envs=1000, rounds=2**31 - 1, stop=stop)
    action = torch.zeros(1000, 2, dtype=torch.int64)
    ends = sum(int(batch.step(action).terminated.sum()) for _ in range(50))
    assert not batch.out.truncated.any()
    assert stats.binomtest(ends, 50000, stop).pvalue > LUCK


@pytest.fixture(scope="module")
def coins():
    """3,000 coin games for 40 rounds by random players: where everybody stood, before and after each step."""
    batch = make("coin", num_envs=3000, seed=3)
    state = lambda: {name: batch._worlds[name].copy() for name in ("at", "coin", "owner")}
    steps = []
    for draw in range(40):
        before = state()
        shown = batch.step(batch.random_action(draw))
        steps.append(SimpleNamespace(before=before, after=state(), reward=shown.reward.numpy().copy()))
    return steps


def joined(coins, field):
    return np.concatenate([field(step) for step in coins])


def test_coin_never_lies_under_an_agent(coins):
    for step in coins:
        assert not (step.after["at"] == step.after["coin"][:, None]).all(-1).any()


def test_coin_colours_alternate(coins):
    taken = joined(coins, lambda step: (step.reward != 0).any(-1))
    changed = joined(coins, lambda step: step.before["owner"] != step.after["owner"])
    np.testing.assert_array_equal(taken, changed)
    assert 0.1 < taken.mean() < 0.5


def test_coin_ties_favour_nobody(coins):
    """Both on the coin: both take it, and its owner pays for the other's."""
    reward, owner = joined(coins, lambda step: step.reward), joined(coins, lambda step: step.before["owner"])
    where = joined(coins, lambda step: (step.after["at"][:, 0] == step.after["at"][:, 1]).all(-1)) & (reward != 0).any(-1)
    assert where.sum() > 500
    np.testing.assert_array_equal(reward[where, owner[where]], -1)
    np.testing.assert_array_equal(reward[where, 1 - owner[where]], 1)
    assert {tuple(r) for r in reward.astype(int).tolist()} == {(0, 0), (1, 0), (0, 1), (1, -2), (-2, 1), (-1, 1), (1, -1)}
    reds = (owner[where] == 0).sum()
    assert stats.binomtest(reds, where.sum(), 0.5).pvalue > LUCK


def test_coin_appears_uniformly_where_nobody_stands(coins):
    changed = joined(coins, lambda step: step.before["owner"] != step.after["owner"])
    square = lambda at: at[..., 0].astype(int) * 3 + at[..., 1]
    agents = square(joined(coins, lambda step: step.after["at"]))[changed]
    coin = square(joined(coins, lambda step: step.after["coin"]))[changed]
    free = np.ones((len(coin), 9), bool)
    free[np.arange(len(coin))[:, None], agents] = False
    rank = (free & (np.arange(9) < coin[:, None])).sum(-1)
    for squares in (7, 8):  # apart, and on one square
        ranks = rank[free.sum(-1) == squares]
        assert stats.chisquare(np.bincount(ranks, minlength=squares)).pvalue > LUCK


def test_coin_games_start_apart_anywhere_with_either_colour():
    batch = make("coin", num_envs=20000, size=2)
    square = batch._worlds["at"][..., 0] * 2 + batch._worlds["at"][..., 1]
    pairs = np.bincount(square[:, 0] * 4 + square[:, 1], minlength=16).reshape(4, 4)
    assert (pairs.diagonal() == 0).all()
    assert stats.chisquare(pairs[~np.eye(4, dtype=bool)]).pvalue > LUCK
    assert stats.binomtest(int(batch._worlds["owner"].sum()), 20000, 0.5).pvalue > LUCK


@pytest.mark.parametrize("size", [2, 3, 6])
def test_own_view_is_the_common_view_shifted(size):
    common, own = (make("coin", num_envs=50, size=size, egocentric=egocentric) for egocentric in (False, True))
    for draw in range(30):
        action = common.random_action(draw)
        for i, (planes, views) in enumerate(zip(common.step(action).obs.numpy(), own.step(action).obs.numpy(), strict=True)):
            for p, order in enumerate(([0, 1, 2, 3], [1, 0, 3, 2])):
                np.testing.assert_array_equal(planes[0], planes[1])
                x, y = common._worlds["at"][i, p]
                np.testing.assert_array_equal(views[p], np.roll(planes[p][order], (size // 2 - x, size // 2 - y), (1, 2)))
                assert views[p, 0, size // 2, size // 2] == 1


def test_lever_pays_agreement_only():
    batch = make("lever", num_envs=3)
    shown = batch.step(torch.tensor([[3, 3], [9, 9], [3, 9]]))
    assert shown.reward.tolist() == [[1, 1], [np.float32(0.9)] * 2, [0, 0]]
    assert shown.terminated.all() and not shown.truncated.any()


def test_public_goods_is_a_dilemma():
    batch = make("public-goods", num_envs=3, players=4, factor=2.0)
    all_give, one_keeps, all_keep = batch.step(torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]])).reward.tolist()
    assert all_give == [2] * 4
    assert one_keeps == [2.5, 1.5, 1.5, 1.5]
    assert all_keep == [1] * 4


@pytest.mark.parametrize("field", ["round", "size", "flags", "data", "T", "item"])
def test_names_that_numpy_keeps_for_itself(field):
    """In plain Python `w.size` would silently be the record's size: no field may have such a name."""
    trap = World("trap", make("ipd").world.rules, 2, 2, (5,), [("rounds", "i4")], [(field, "i4")], {"rounds": 3})
    with pytest.raises(ValueError, match=f"trap: fields \\['{field}'\\] have names that NumPy"):
        _ = trap.record


def test_the_level_is_the_prefix_that_reset_leaves_alone():
    for name in names():
        game = world(name)
        fields = game.record.fields
        ends = [fields[field][1] + fields[field][0].itemsize for field, *_ in game.level]
        starts = [fields[field][1] for field, *_ in game.state]
        assert max(ends) <= game.level_bytes == min(starts)
        assert set(game.default) == {field for field, *_ in game.level}


NAN = float("nan")
MISTAKES = [
    (
        "ipdd",
        {},
        "world 'ipdd' is unknown; did you mean 'ipd'? Known: chicken, coin, fruit, hanabi, hanabi-small, hanabi-very-small, imp",
    ),
    ("zzz", {}, "world 'zzz' is unknown. Known: chicken, coin"),
    ("coin", {"sise": 5}, "world 'coin' has no parameter 'sise'; did you mean 'size'? Known: egocentric, rounds, size"),
    ("ipd", {"game": "imp"}, "world 'ipd' has no parameter 'game'"),
    ("ipd", {"num_envs": 0}, "num_envs is 0; allowed are whole numbers from 1 to"),
    ("ipd", {"num_envs": 2.5}, "num_envs is 2.5; allowed are whole numbers from 1 to"),
    ("ipd", {"num_envs": True}, "num_envs is True; allowed"),
    ("ipd", {"seed": -1}, "seed is -1; allowed are whole numbers from 0 to 4294967295"),
    ("ipd", {"first": 2**32}, "first is 4294967296; allowed are whole numbers from 0 to"),
    ("ipd", {"rounds": 0}, "rounds is 0; allowed are whole numbers from 1 to"),
    ("ipd", {"stop": 1.5}, "stop is 1.5; allowed are probabilities from 0 to 1"),
    ("ipd", {"stop": NAN}, "stop is nan; allowed are probabilities from 0 to 1"),
    ("ipd", {"stop": "soon"}, "stop is 'soon'; allowed are probabilities from 0 to 1"),
    ("ipd", {"payoff": [[1, 2, 3], [4, 5, 6]]}, "payoff has shape [2, 3]; allowed are [2, m, n] or [2, k*k], with 1 to 64 moves a player"),
    ("ipd", {"payoff": [1, 2, 3]}, "payoff has shape [3]; allowed are [2, m, n]"),
    ("ipd", {"payoff": np.zeros((3, 2, 2))}, "payoff has shape [3, 2, 2]; allowed are [2, m, n]"),
    ("ipd", {"payoff": np.zeros((2, 65, 2))}, "payoff has shape [2, 65, 2]; allowed are [2, m, n]"),
    ("ipd", {"payoff": np.zeros((2, 0, 2))}, "payoff has shape [2, 0, 2]; allowed are [2, m, n]"),
    ("ipd", {"payoff": [[[1, 2], [3]], [[1], [2]]]}, "payoff is not a table of numbers"),
    ("ipd", {"payoff": "CD"}, "payoff is not a table of numbers: 'CD'; allowed are [2, m, n]"),
    ("ipd", {"payoff": [[[NAN, 2], [3, 4]]] * 2}, "payoff has entries that are not finite; allowed are finite numbers"),
    ("ipd", {"payoff": [[[1e60, 2], [3, 4]]] * 2}, "payoff has entries that are not finite; allowed are finite numbers"),
    ("coin", {"size": 1}, "size is 1; allowed are whole numbers from 2 to 64"),
    ("coin", {"size": 3.0}, "size is 3.0; allowed are whole numbers from 2 to 64"),
    ("public-goods", {"players": 1}, "players is 1; allowed are whole numbers from 2 to 64"),
    ("public-goods", {"factor": 0}, "factor is 0; allowed are numbers above 0"),
    ("public-goods", {"factor": NAN}, "factor is nan; allowed are numbers above 0"),
    ("public-goods", {"factor": "two"}, "factor is 'two'; allowed are numbers above 0"),
    ("lever", {"pays": [1.0]}, "pays has shape [1]"),
    ("lever", {"pays": [1.0, NAN]}, "allowed are 2 to 1024 finite numbers"),
    ("lever", {"pays": [1.0, -1e60]}, "allowed are 2 to 1024 finite numbers"),
    ("lever", {"pays": "many"}, "pays is not a list of numbers: 'many'"),
    ("ipd", {"device": "gpu"}, "device 'gpu' is unknown; allowed are 'cpu' and 'cuda:0', 'cuda:1', ..."),
    ("ipd", {"device": "meta"}, "device 'meta' is not there; this machine has cpu"),
    ("ipd", {"device": "cuda:99"}, "device 'cuda:99' is not there; this machine has cpu"),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name, params, message", MISTAKES, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(MISTAKES)])
def test_mistakes(name, params, message):
    with pytest.raises(UsageError) as told:
        make(name, **params)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_device():
    with pytest.raises(UsageError, match="device 'cuda' is not there; this machine has cpu"):
        make("ipd", device="cuda")
