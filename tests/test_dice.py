"""Keyed random numbers: the published Philox vectors, the distributions, and independence of the batch they are drawn in."""

import numba
import numpy as np
import pytest
import torch
from scipy import stats

from interplay.envs import dice, streams

LUCK = 1e-4  # seeds are fixed, so that a test which passes once passes always; below this p-value the numbers are not random


def philox(key: int, x: int, y: int) -> tuple[int, int]:
    """Philox2x32-10 from the paper's text, in Python's unbounded integers: both output words."""
    for _ in range(10):
        product = 0xD256D193 * x
        x, y = (product >> 32) ^ key ^ y, product % 2**32
        key = (key + 0x9E3779B9) % 2**32
    return x, y


def one_world(seed: int, world: int) -> np.record:
    """A record that has nothing but its dice."""
    record = np.zeros(1, np.dtype((np.record, np.dtype(dice.FIELDS, align=True))))
    record["seed"], record["id"] = seed, world
    return record[0]


# Random123, kat_vectors: philox2x32 10
@pytest.mark.parametrize(
    "counter, key, words",
    [
        ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_published_vectors(counter, key, words):
    assert philox(key, *counter) == words
    assert dice.philox(key, *counter) == words[0]


def test_philox_equals_unbounded_integers():
    numbers = np.random.default_rng(0).integers(0, 2**32, (300, 3))
    for key, x, y in numbers.tolist():
        assert dice.philox(key, x, y) == philox(key, x, y)[0]


def test_a_worlds_rolls_are_keyed_by_seed_world_and_draw():
    w = one_world(seed=7, world=3)
    rolls = [int(dice.word(w)) for _ in range(5)]
    assert rolls == [philox(7, draw, 3)[0] for draw in range(1, 6)]
    assert w.draws == 5


@pytest.mark.parametrize("n", [1, 2, 3, 9, 100])
def test_below_is_uniform(n):
    w = one_world(seed=1, world=0)
    rolls = np.array([dice.below(w, n) for _ in range(200 * n)])
    assert rolls.min() >= 0 and rolls.max() < n
    assert n == 1 or stats.chisquare(np.bincount(rolls, minlength=n)).pvalue > LUCK


def test_unit_is_a_multiple_of_two_to_the_minus_24_below_one():
    w = one_world(seed=2, world=0)
    rolls = np.array([dice.unit(w) for _ in range(5000)], np.float32)
    assert (rolls * 2**24 == np.floor(rolls * 2**24)).all()
    assert rolls.min() >= 0 and rolls.max() < 1
    assert stats.kstest(rolls, "uniform").pvalue > LUCK


def test_keys_of_streams_differ_and_the_worlds_own_is_the_seed():
    keys = [int(streams.key_of(seed, stream)) for seed in range(200) for stream in range(16)]
    assert len(set(keys)) == len(keys)
    assert streams.key_of(17, dice.WORLD) == 17
    assert streams.key_of(17, dice.INIT) == philox(17, dice.INIT, 0xC0FFEE)[0]


def test_streams_are_independent():
    drawn = np.stack([streams.units(0, stream, 0, 0, (5000, 1)).flatten().numpy() for stream in range(16)])
    correlations = np.corrcoef(drawn)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() < 4 / np.sqrt(5000)


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_choices_are_uniform_and_agents_independent(count):
    out = torch.zeros(20000, 5, dtype=torch.int64)
    first = streams.choices(0, 0, 0, count, None, out).clone()
    second = streams.choices(0, 0, 1, count, None, out)
    for p in range(5):
        assert stats.chisquare(torch.bincount(first[:, p], minlength=count)).pvalue > LUCK
        # Agents of a world share words, draws share rows: neither may be seen in the pairs.
        for other in (first[:, (p + 1) % 5], second[:, p]):
            assert stats.chisquare(torch.bincount(first[:, p] * count + other, minlength=count**2)).pvalue > LUCK


def test_one_choice_is_no_choice():
    assert (streams.choices(3, 0, 9, 1, None, torch.ones(50, 3, dtype=torch.int64)) == 0).all()


def test_many_choices_take_a_word_each():
    out = streams.choices(0, 0, 4, 50000, None, torch.zeros(20, 2, dtype=torch.int64))
    key = int(streams.key_of(0, dice.PLAY))
    assert out.tolist() == [[philox(key, 4 * 2 + p, row)[0] * 50000 >> 32 for p in range(2)] for row in range(20)]


def test_legal_choices_are_legal_and_uniform():
    legal = (torch.tensor([0b0110100, 0b1111111, 0b0000001, 0])[:, None] >> torch.arange(7) & 1).bool()
    legal = legal.repeat(10000, 1).reshape(20000, 2, 7)
    out = streams.choices(5, 0, 0, 7, legal, torch.full((20000, 2), -1, dtype=torch.int64))
    some = legal.any(-1)
    assert legal.gather(2, out.unsqueeze(-1)).squeeze(-1)[some].all()
    assert (out[~some] == 0).all()
    kinds = out.reshape(10000, 4)
    assert stats.chisquare(torch.bincount(kinds[:, 0], minlength=7)[[2, 4, 5]]).pvalue > LUCK
    assert stats.chisquare(torch.bincount(kinds[:, 1], minlength=7)).pvalue > LUCK
    assert (kinds[:, 2] == 0).all()


@pytest.mark.parametrize("n, first", [(1, 0), (50, 100), (3000, 500)])
def test_rows_belong_to_worlds_not_to_batches(n, first):
    large, small = torch.zeros(4000, 2, dtype=torch.int64), torch.zeros(n, 2, dtype=torch.int64)
    rows = slice(first, first + n)
    assert torch.equal(streams.choices(1, first, 6, 4, None, small), streams.choices(1, 0, 6, 4, None, large)[rows])
    legal = streams.units(9, dice.ACT, 0, 0, (4000, 2, 4)) < 0.6
    own = legal[rows].contiguous()
    assert torch.equal(streams.choices(1, first, 6, 4, own, small), streams.choices(1, 0, 6, 4, legal, large)[rows])
    shape = (2, 3)
    for draw in (streams.units, streams.normals):
        assert torch.equal(draw(1, dice.ACT, first, 6, (n, *shape)), draw(1, dice.ACT, 0, 6, (4000, *shape))[rows])


def test_draws_differ():
    drawn = torch.cat([streams.units(0, dice.ACT, 0, draw, (64, 3)).flatten() for draw in range(50)])
    assert len(torch.unique(drawn)) > 0.99 * len(drawn)


def test_normals_have_the_moments_of_a_normal():
    drawn = streams.normals(4, dice.ACT, 0, 0, (50000, 4)).double()
    n = drawn.numel()
    assert drawn.isfinite().all()
    assert abs(drawn.mean()) < 4 / n**0.5
    assert abs(drawn.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((drawn**3).mean()) < 4 * (15 / n) ** 0.5
    assert abs((drawn**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert stats.kstest(drawn.flatten().numpy(), "norm").pvalue > LUCK
    assert np.abs(np.corrcoef(drawn.T.numpy())[np.triu_indices(4, 1)]).max() < 4 / 50000**0.5


@pytest.mark.parametrize("n", [1, 2, 17, 4096])
def test_permutation_is_a_permutation(n):
    shuffle = streams.permutation(0, 3, n)
    assert torch.equal(shuffle.sort().values, torch.arange(n))
    assert torch.equal(shuffle, streams.permutation(0, 3, n))
    assert n <= 2 or not torch.equal(shuffle, streams.permutation(0, 4, n))


def test_permutations_are_uniform():
    shuffles = torch.stack([streams.permutation(1, draw, 3) for draw in range(1200)])
    codes = shuffles @ torch.tensor([9, 3, 1])
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > LUCK


@pytest.fixture
def keep_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_do_not_change_the_numbers(keep_threads):
    drawn = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        drawn.append((streams.units(0, dice.ACT, 0, 0, (100, 400)), streams.units(0, dice.ACT, 0, 0, (30000, 2))))
        assert torch.get_num_threads() == threads
    assert all(torch.equal(one, two) for one, two in zip(*drawn, strict=True))


@pytest.mark.skipif(numba.config.NUMBA_NUM_THREADS < 2, reason="one core")
@pytest.mark.parametrize("shape", [(100, 400), (20000, 1)])
def test_parallel_loops_have_as_many_threads_as_torch(shape, keep_threads, monkeypatch):
    asked = []
    monkeypatch.setattr(numba, "set_num_threads", asked.append)
    torch.set_num_threads(2)
    streams.units(0, dice.ACT, 0, 0, shape)
    assert asked and set(asked) == {2}
