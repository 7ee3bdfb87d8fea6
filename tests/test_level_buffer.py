"""The level buffer against hand-computed numbers, and against a slow buffer of lists that works everything out anew for every level."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from interplay.envs.core import UsageError
from interplay.learners.level_buffer import LevelBuffer
from interplay.learners.priorities import BufferConfig, draw

META, THROW, WIDTH = 5, 2**31 - 1, 2


def philox(key, x, y):
    """Philox2x32-10 on Python's own integers."""
    for k in range(10):
        product = 0xD256D193 * x
        x, y = (product >> 32) ^ (key + k * 0x9E3779B9) % 2**32 ^ y, product % 2**32
    return x


def keyed(seed, number):
    """The uniform number of a draw: 24 bits of each of two words."""
    key = philox(seed, META, 0xC0FFEE)
    high, low = (philox(key, 2 * THROW + k, number) >> 8 for k in range(2))
    return high / 2**24 + low / 2**48


class Lists:
    """The reference: rows [level, score, best, age], nothing kept but them."""

    def __init__(self, config, seed):
        self.config, self.seed, self.rows, self.draws = config, seed, [], 0

    def weights(self):
        c, scores = self.config, [score for _, score, _, _ in self.rows]
        if c.priority == "proportional":
            peak = max([0.0, *scores])
            return [math.pow(max(s, 0.0) / peak, 1 / c.temperature) if peak else 1.0 for s in scores]
        rank = [1 + sum(t > s or (t == s and j < i) for j, t in enumerate(scores)) for i, s in enumerate(scores)]
        return [math.pow(1 / r, 1 / c.temperature) if c.priority == "rank" else float(r <= c.top) for r in rank]

    def chances(self, weights):
        """P in the documented order of operations, so that ties are the same ties."""
        total, waited = 0.0, sum(age for *_, age in self.rows)
        for w in weights:
            total += w
        rho = self.config.staleness
        a, b, c = (1 - rho) / total, rho / waited if waited else 0.0, 0.0 if waited else rho / len(weights)
        return [a * w + b * age + c for w, (*_, age) in zip(weights, self.rows, strict=True)]

    def sample(self, n):
        weights, out = self.weights(), []
        for _ in range(n):
            unit, edge, drawn = keyed(self.seed, self.draws), 0.0, -1
            for slot, p in enumerate(self.chances(weights)):
                edge += p
                if unit < edge and drawn < 0:
                    drawn = slot
            for row in self.rows:
                row[3] += 1
            self.rows[drawn][3] = 0
            self.draws += 1
            out.append(drawn)
        return out

    def renew(self, level, score, best):
        copies = [slot for slot, row in enumerate(self.rows) if row[0] == level]
        for slot in copies:
            row = self.rows[slot]
            self.rows[slot] = [level, score, max(row[2], best), 0] if math.isfinite(score) else [level, row[1], max(row[2], best), row[3]]
        return copies[0] if copies else -1

    def admit(self, level, score, best):
        if not math.isfinite(score):
            return -1
        if self.config.unique and any(row[0] == level for row in self.rows):
            return self.renew(level, score, best)
        if len(self.rows) < self.config.capacity:
            self.rows.append([level, score, best, 0])
            return len(self.rows) - 1
        chances = self.chances(self.weights())
        slot = chances.index(min(chances))
        if score < self.rows[slot][1]:
            return -1
        self.rows[slot] = [level, score, best, 0]
        return slot


def contents(buffer):
    state = buffer.state_dict()
    columns = [state[name].tolist() for name in ("levels", "scores", "best", "age")]
    assert len(columns[0]) == state["count"] == len(buffer)
    return [list(row) for row in zip(*columns, strict=True)]


def offer(rng, n, kinds):
    """Levels of few kinds with scores that tie, and some that are none."""
    levels = rng.integers(0, kinds, (n, WIDTH), dtype=np.uint8)
    scores = rng.choice([math.nan, -math.inf, math.inf, -1.0, -1.0, 0.0, 0.25, 0.5, rng.normal(), rng.normal()], n)
    return levels, scores, rng.choice([-math.inf, -1.0, 0.0, 1.0], n)


def told(levels, scores, best):
    return zip(levels.tolist(), scores.tolist(), best.tolist(), strict=True)


def operate(buffer, lists, rng, kinds):
    """The same random call of both."""
    n, kind = int(rng.integers(0, 4)), rng.random()
    if kind < 0.35 and lists.rows:
        assert buffer.sample(n).tolist() == lists.sample(n)
    elif kind < 0.75:
        batch = offer(rng, n, kinds)
        assert buffer.insert(*batch).tolist() == [lists.admit(*one) for one in told(*batch)]
    elif kind < 0.9:
        batch = offer(rng, n, kinds)
        assert buffer.update(*batch).tolist() == [lists.renew(*one) for one in told(*batch)]
    else:
        buffer.older(n)
        for row in lists.rows:
            row[3] += n
    if kind > 0.98:
        restored = LevelBuffer(buffer.config, WIDTH, buffer.seed)
        restored.load_state_dict(buffer.state_dict())
        return restored
    return buffer


@pytest.mark.parametrize("capacity", [1, 4, 11])
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("priority", ["rank", "proportional", "top"])
def test_it_does_what_lists_do(priority, unique, capacity):
    rng = np.random.default_rng(capacity)
    for seed in range(20):  # 18 x 20 x 280 = 100,800 calls
        beta, rho = float(rng.choice([0.1, 0.3, 1.0])), float(rng.choice([0.0, 0.3, 0.5, 1.0]))
        config = BufferConfig(capacity, 0.5, priority, beta, rho, int(rng.integers(1, 4)), unique)
        buffer, lists = LevelBuffer(config, WIDTH, seed), Lists(config, seed)
        for _ in range(280):
            buffer = operate(buffer, lists, rng, 2 + capacity // 3)
            assert contents(buffer) == lists.rows
        assert buffer.draws == lists.draws > 0
        assert buffer.distribution() == pytest.approx(lists.chances(lists.weights()), abs=1e-12, rel=0)


def test_it_does_what_lists_do_with_many_ranks():
    rng, config = np.random.default_rng(0), BufferConfig(150, temperature=0.1)
    buffer, lists = LevelBuffer(config, WIDTH, 7), Lists(config, 7)
    for _ in range(120):
        batch = rng.integers(0, 40, (5, WIDTH), dtype=np.uint8), rng.normal(size=5).round(2), np.zeros(5)
        assert buffer.insert(*batch).tolist() == [lists.admit(*one) for one in told(*batch)]
        assert buffer.sample(3).tolist() == lists.sample(3)
    assert contents(buffer) == lists.rows and len(lists.rows) == 150


def filled(scores, ages, best=None, **options):
    """A buffer with level [i, 0] in slot i, as long as a byte holds it."""
    buffer = LevelBuffer(BufferConfig(**{"capacity": len(scores), "temperature": 1.0, **options}), WIDTH)
    levels = np.array([[i % 256, i // 256] for i in range(len(scores))], np.uint8)
    buffer.load_state_dict(
        {
            "levels": levels,
            "scores": np.array(scores, np.float64),
            "best": np.zeros(len(scores)) if best is None else np.array(best, np.float64),
            "age": np.array(ages),
            "count": len(scores),
            "draws": 0,
        }
    )
    return buffer


@pytest.mark.parametrize(
    ("scores", "ages", "options", "expected"),
    [
        # ranks 3, 1, 2, 4: weights 1/3, 1, 1/2, 1/4, in all 25/12
        ([2, 9, 3, -5], [0, 0, 0, 0], {"staleness": 0}, [4 / 25, 12 / 25, 6 / 25, 3 / 25]),
        # beta 1/2: weights 1/9, 1, 1/4 of 49/36; ages 1, 0, 3 of 4
        ([2, 9, 3], [1, 0, 3], {"temperature": 0.5, "staleness": 0.25}, [3 / 49 + 1 / 16, 27 / 49, 27 / 196 + 3 / 16]),
        # equal scores: the lower slot has the better rank; no ages: the stale share is uniform
        ([1, 1], [0, 0], {"staleness": 0.3}, [0.7 * 2 / 3 + 0.15, 0.7 / 3 + 0.15]),
        ([1, -4, 3, 0], [2, 2, 0, 0], {"priority": "proportional", "staleness": 0.5}, [3 / 8, 1 / 4, 3 / 8, 0]),
        ([1, 2], [0, 0], {"priority": "proportional", "temperature": 0.5, "staleness": 0}, [1 / 5, 4 / 5]),
        ([1e-300, 2e-300], [0, 0], {"priority": "proportional", "temperature": 0.1, "staleness": 0}, [1 / 1025, 1024 / 1025]),
        ([-1, 0, -2], [0, 0, 0], {"priority": "proportional", "staleness": 0.2}, [1 / 3, 1 / 3, 1 / 3]),
        ([5, 7, 7, 7], [0, 1, 0, 0], {"priority": "top", "top": 2, "staleness": 0.5}, [0, 3 / 4, 1 / 4, 0]),
        ([5, 7], [0, 0], {"priority": "top", "top": 9, "staleness": 0}, [1 / 2, 1 / 2]),
    ],
)
def test_distribution_by_hand(scores, ages, options, expected):
    assert filled(scores, ages, **options).distribution() == pytest.approx(expected, abs=1e-12, rel=0)


def test_the_last_of_many_ranks_does_no_harm():
    p = filled(np.arange(4000.0), np.zeros(4000, np.int64), temperature=0.1, staleness=0.0).distribution()
    assert p[-1] == pytest.approx(1 / 1.000994575127818, abs=1e-12)  # 1 / zeta(10)
    assert p[0] == pytest.approx(4000.0**-10 * p[-1], rel=1e-9) and abs(p.sum() - 1) < 1e-12


def test_draws_come_as_often_as_p_says():
    buffer = filled([3, 1, 2], [0, 0, 0], staleness=0.0)
    share = np.bincount(buffer.sample(20_000), minlength=3) / 20_000
    assert share == pytest.approx([6 / 11, 2 / 11, 3 / 11], abs=4 * math.sqrt(0.25 / 20_000))


def test_a_draw_is_exact_where_two_slots_meet():
    for number in range(5):
        for aside, slot in ((-1e-12, 1), (1e-12, 0)):  # the border lies just below, then just above the number drawn
            border = keyed(0, number) + aside
            buffer = filled([border, 1 - border], [0, 0], priority="proportional", staleness=0.0)
            buffer.draws = number
            assert buffer.sample(1).tolist() == [slot]
    out = np.zeros(2, np.int64)
    draw(np.array([0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.0]), np.zeros(4, np.int64), 0.0, out)
    assert out.tolist() == [1, 2]  # never one that P forbids, however the sum is rounded


def test_each_draw_sees_the_ages_that_the_one_before_left():
    buffer = filled([1, 1, 1], [0, 5, 0], staleness=1.0)
    assert buffer.sample(1).tolist() == [1]  # all of P lies there
    assert contents(buffer) == [[[0, 0], 1, 0, 1], [[1, 0], 1, 0, 0], [[2, 0], 1, 0, 1]]
    first, second = buffer.sample(2).tolist()
    assert first in (0, 2) and second in (0, 1, 2) and first != second  # who has just been drawn has age 0
    assert LevelBuffer(BufferConfig(4), WIDTH).sample(0).tolist() == []


def test_draws_do_not_depend_on_how_many_are_asked_for_at_once():
    one, other = filled(range(20), range(20)), filled(range(20), range(20))
    assert one.sample(60).tolist() == [*other.sample(1), *other.sample(50), *other.sample(9)]
    assert contents(one) == contents(other)


def test_the_smallest_p_leaves_not_the_smallest_score():
    buffer = filled([1, 2, 3], [9, 0, 0], staleness=0.5)  # P = .5 * (2, 3, 6) / 11 + .5 * (1, 0, 0)
    new = np.array([[9, 9]], np.uint8)
    assert buffer.insert(new, np.array([1.9]), np.zeros(1)).tolist() == [-1]
    assert buffer.insert(new, np.array([2.0]), np.array([0.5])).tolist() == [1]  # as good is good enough
    assert contents(buffer)[1] == [[9, 9], 2, 0.5, 0]
    assert buffer.update(np.array([[1, 0], [9, 9]], np.uint8), np.array([8.0, 8.0]), np.zeros(2)).tolist() == [-1, 1]


def test_levels_that_are_there():
    buffer = filled([1, 2], [4, 5], best=[0.5, 0.5], capacity=3)
    same = np.array([[0, 0], [0, 0], [7, 7], [1, 0]], np.uint8)
    assert buffer.insert(same, np.array([3, 4, 5, math.nan]), np.array([0.1, 0.2, math.nan, 0.9])).tolist() == [0, 0, 2, -1]
    assert contents(buffer) == [[[0, 0], 4, 0.5, 0], [[1, 0], 2, 0.5, 5], [[7, 7], 5, -math.inf, 0]]
    assert buffer.update(same[-1:], np.array([math.nan]), np.array([0.9])).tolist() == [1]  # not finished: only R_max rises
    assert contents(buffer)[1] == [[1, 0], 2, 0.9, 5]
    assert buffer.levels_at(np.array([2, 0])).tolist() == [[7, 7], [0, 0]]
    assert buffer.scores_at(np.array([2, 0])).tolist() == [5, 4] and buffer.best_at(np.array([1])).tolist() == [0.9]
    twice = filled([1], [4], capacity=3, unique=False)
    assert twice.insert(same[:2], np.array([3.0, 4.0]), np.zeros(2)).tolist() == [1, 2]
    assert twice.update(same[:1], np.array([6.0]), np.ones(1)).tolist() == [0]  # all copies: none keeps a stale score
    assert contents(twice) == [[[0, 0], 6, 1, 0]] * 3


def test_when_it_is_warm():
    buffer = LevelBuffer(BufferConfig(capacity=100, fill=0.55), WIDTH)
    for count in range(1, 101):
        buffer.insert(np.array([[count, 0]], np.uint8), np.ones(1), np.ones(1))
        assert buffer.warm == (count >= 55)  # 0.55 * 100 is above 55 in floating point
    assert not LevelBuffer(BufferConfig(fill=0.0), WIDTH).warm
    assert len(buffer) == 100


def test_tensors_do_as_well_as_arrays():
    buffer = LevelBuffer(BufferConfig(4), WIDTH)
    assert buffer.insert(torch.ones(1, 2, dtype=torch.uint8), torch.tensor([0.5]), torch.tensor([1])).tolist() == [0]
    assert contents(buffer) == [[[1, 1], 0.5, 1, 0]]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"capacity": 0}, "capacity is 0; allowed are whole numbers from 1"),
        ({"staleness": 1.1}, "staleness is 1.1; allowed are numbers from 0 to 1"),
        ({"staleness": math.nan}, "staleness is nan"),
        ({"fill": -0.1}, "fill is -0.1; allowed are numbers from 0 to 1"),
        ({"temperature": 0.0}, "temperature is 0.0; allowed are finite numbers above 0"),
        ({"top": 0}, "top is 0"),
        ({"priority": "ranks"}, "priority 'ranks' is unknown; did you mean 'rank'"),
    ],
)
def test_configs_that_cannot_be(change, line):
    with pytest.raises(UsageError, match=line):
        LevelBuffer(replace(BufferConfig(), **change), WIDTH)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda b: b.insert(np.zeros((1, 3), np.uint8), np.ones(1), np.ones(1)), r"levels are \[1, 3\] uint8; allowed are \[n, 2\] uint8"),
        (lambda b: b.insert(np.zeros((1, 2)), np.ones(1), np.ones(1)), "float64; allowed"),
        (lambda b: b.insert(np.zeros(2, np.uint8), np.ones(1), np.ones(1)), r"levels are \[2\]"),
        (lambda b: b.insert([[1], [1, 2]], np.ones(1), np.ones(1)), "levels are of type list"),
        (lambda b: b.insert(np.full((2, 2), 9, np.uint8), np.ones(3), np.ones(2)), r"scores are \[3\] float64; allowed are \[2\] numbers"),
        (lambda b: b.update(np.zeros((2, 2), np.uint8), np.full(2, 9.0), np.ones((2, 1))), r"best are \[2, 1\]"),
        (lambda b: b.update(np.zeros((1, 2), np.uint8), np.array(["9"]), np.ones(1)), "scores are .*allowed are .* numbers"),
        (lambda b: b.sample(-1), "n is -1"),
        (lambda b: b.older(0.5), "n is 0.5"),
        (lambda b: b.levels_at(np.array([0, -1])), r"slots are \[0, -1\]; allowed is .* from 0 to 2"),
        (lambda b: b.scores_at(np.array([3])), "slots are"),
        (lambda b: b.best_at(np.array([0.0])), "slots are"),
        (lambda b: LevelBuffer(b.config, WIDTH).sample(1), "the buffer is empty"),
        (lambda b: LevelBuffer(b.config, 0), "width is 0"),
        (lambda b: LevelBuffer(b.config, WIDTH, -1), "seed is -1"),
    ],
)
def test_calls_that_cannot_be_change_nothing(call, line):
    buffer = filled([1, 2, 3], [1, 2, 3], capacity=4)
    before = contents(buffer)
    with pytest.raises(UsageError, match=line):
        call(buffer)
    assert contents(buffer) == before and buffer.draws == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda s: {"scores": s["scores"][:2]}, r"scores of the state are \[2\]"),
        (lambda s: {"levels": s["levels"][:, :1]}, r"levels of the state are \[3, 1\] .*allowed are \[3, 2\]"),
        (lambda s: {"age": s["age"].float()}, "age of the state are .*float32"),
        (lambda s: {"count": 5}, "count of the state is 5; allowed are whole numbers from 0 to 4"),
        (lambda s: {"count": 2}, "levels of the state"),
        (lambda s: {"draws": -1}, "draws of the state is -1"),
        (lambda s: {"scores": s["scores"] * math.nan}, "not finite"),
        (lambda s: {"best": s["best"] * math.nan}, "best return that is NaN"),
        (lambda s: {"age": -s["age"]}, "age below 0"),
        (lambda s: {"levels": s["levels"] * 0}, "more than once"),
    ],
)
def test_states_that_do_not_fit_change_nothing(change, line):
    state = filled([7, 8, 9], [1, 2, 3], capacity=4).state_dict()
    buffer = filled([1, 2], [1, 2], capacity=4)
    before = contents(buffer)
    with pytest.raises(UsageError, match=line):
        buffer.load_state_dict({**state, **change(state)})
    with pytest.raises(UsageError, match="state has no 'best'"):
        buffer.load_state_dict({name: x for name, x in state.items() if name != "best"})
    assert contents(buffer) == before


@pytest.mark.parametrize("priority", ["rank", "proportional", "top"])
def test_a_full_buffer_is_fast(priority):
    rng = np.random.default_rng(0)
    buffer = LevelBuffer(BufferConfig(priority=priority), 26)
    batch = lambda n: (rng.integers(0, 256, (n, 26), dtype=np.uint8), rng.random(n), rng.random(n))
    buffer.insert(*batch(4000))
    buffer.sample(1)
    buffer.insert(*batch(1))  # all is compiled now
    drawn, inserted = math.inf, math.inf
    for _ in range(5):
        offered, start = batch(256), time.perf_counter()
        buffer.sample(256)
        middle = time.perf_counter()
        slots = buffer.insert(*offered)
        drawn, inserted = min(drawn, middle - start), min(inserted, time.perf_counter() - middle)
        assert (slots >= 0).any()
    assert drawn < 0.05 and inserted < 0.1
