"""Aggregates of runs x tasks against numbers by hand, enumeration, brute force and simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from interplay.envs.core import UsageError
from interplay.learners import aggregates
from interplay.learners.aggregates import cvar, improvement, interval, iqm, mean, median, optimality_gap, per_seed_range, profile

HAND = [[0.0, 0.2, 1.0], [0.1, 0.6, 1.5]]  # 2 runs, 3 tasks: in order 0, 0.1, 0.2, 0.6, 1, 1.5


def test_by_hand():
    assert iqm(HAND) == pytest.approx((0.1 + 0.2 + 0.6 + 1.0) / 4)  # floor(6 / 4) = 1 goes at either end
    assert mean(HAND) == pytest.approx(3.4 / 6)
    assert median(HAND) == pytest.approx(0.4)  # of the tasks' 0.05, 0.4, 1.25
    assert optimality_gap(HAND) == pytest.approx((1 + 0.8 + 0 + 0.9 + 0.4 + 0) / 6)
    assert optimality_gap(HAND, 0.5) == pytest.approx((0.5 + 0.3 + 0 + 0.4 + 0 + 0) / 6)
    assert per_seed_range(HAND) == pytest.approx((1.2 / 3, 2.2 / 3))
    assert profile(HAND, [-1, 0, 0.2, 0.59, 1.5]) * 6 == pytest.approx([6, 5, 3, 3, 0])  # strictly above
    assert iqm([[0.7]]) == 0.7 and iqm([[1.0], [2.0], [9.0]]) == 4  # with less than 4 scores nothing is cut


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_trimming_is_that_of_scipy(runs, tasks, seed):
    scores = np.random.default_rng(seed).normal(size=(runs, tasks))
    assert iqm(scores) == pytest.approx(stats.trim_mean(scores.ravel(), 0.25))


def test_many_resamples_at_once():
    scores = np.random.default_rng(0).random((4, 5, 3, 7))
    for statistic in (mean, median, iqm, optimality_gap, lambda s: profile(s, [0.3, 0.6])):
        one_by_one = [[statistic(scores[i, j]) for j in range(5)] for i in range(4)]
        assert np.array_equal(statistic(scores), one_by_one)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(0, 99))
def test_improvement_counts_pairs(runs_x, runs_y, tasks, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 4, (runs_x, tasks)), rng.integers(0, 4, (runs_y, tasks))  # ties are common
    pairs = [(x[i, t] > y[j, t]) + (x[i, t] == y[j, t]) / 2 for i in range(runs_x) for j in range(runs_y) for t in range(tasks)]
    assert improvement(x, y) == pytest.approx(sum(pairs) / len(pairs))
    assert improvement(x, y) + improvement(y, x) == pytest.approx(1)


@pytest.mark.parametrize("statistic", [mean, median, iqm])
def test_interval_of_all_resamples_there_are(statistic):
    scores = np.array([[0.0, 0.05], [0.31, 0.4], [0.87, 1.0]])  # a good run is good at both: drawn together, means would spread more
    draws = list(itertools.product(range(3), repeat=3))
    all_of_them = [float(statistic(np.stack([scores[list(a), 0], scores[list(b), 1]], 1))) for a in draws for b in draws]
    for level in (0.5, 0.9, 0.95):
        expected = np.quantile(all_of_them, [(1 - level) / 2, (1 + level) / 2])
        assert interval(scores, statistic, level, 40_000, seed=1) == pytest.approx(expected, abs=0.012)


def test_resamples_are_uniform_and_stratified():
    seen = []
    interval([[0, 0], [1, 1], [2, 2]], lambda s: seen.append(s) or mean(s), resamples=29_160)
    drawn = np.concatenate(seen[1:])  # the first call is for the scores themselves
    code = drawn.reshape(-1, 6) @ 3.0 ** np.arange(6)
    assert stats.chisquare(np.bincount(code.astype(int), minlength=729)).pvalue > 1e-3  # 40 of each of 3**6 expected


def test_interval_covers_the_truth():
    """Symmetric tasks about 0.5, 10 runs: mean and interquartile mean of ever more runs are both 0.5."""
    rng, runs, spread = np.random.default_rng(3), 10, 0.2
    centre = np.array([0.2, 0.4, 0.5, 0.6, 0.8])
    for statistic in (mean, iqm):
        tables = [centre + spread * rng.standard_normal((runs, 5)) for _ in range(200)]
        low, high = np.array([interval(table, statistic, resamples=1000, seed=k) for k, table in enumerate(tables)]).T
        assert 0.85 <= np.mean((low < 0.5) & (0.5 < high)) < 1
        if statistic is mean:  # normal theory, with the variance of a resample instead of the unbiased one
            width = 2 * 1.96 * spread * math.sqrt((runs - 1) / runs) / math.sqrt(runs * 5)
            assert np.mean(high - low) == pytest.approx(width, rel=0.03)


def test_interval_is_repeatable_in_any_memory(monkeypatch):
    scores = np.random.default_rng(4).random((6, 7))
    expected = interval(scores, iqm, resamples=500, seed=5)
    assert interval(scores, iqm, resamples=500, seed=5) == expected != interval(scores, iqm, resamples=500, seed=6)
    for budget, rows in ((1, 1), (42 * 7 + 1, 7)):
        monkeypatch.setattr(aggregates, "BUDGET", budget)
        seen = []
        assert interval(scores, lambda s, kept=seen: kept.append(s) or iqm(s), resamples=500, seed=5) == expected
        assert max(len(s) for s in seen[1:]) == rows
    fewer = []
    interval(scores, lambda s: fewer.append(s) or iqm(s), resamples=33, seed=5)
    assert np.array_equal(np.concatenate(fewer[1:]), np.concatenate(seen[1:])[:33])


def test_interval_of_a_profile_and_of_one_run():
    scores = np.random.default_rng(6).random((5, 4))
    low, high = interval(scores, lambda s: profile(s, [0.2, 0.5, 0.9]), seed=2)
    assert low.shape == high.shape == (3,)
    assert (low[1], high[1]) == interval(scores, lambda s: (s > 0.5).mean((-2, -1)), seed=2)
    assert np.isnan(interval(scores[:1], iqm)).all() and np.shape(interval(scores[:1], iqm)) == (2,)
    assert interval(np.ones((3, 2)), iqm) == (1, 1)


def test_cvar_by_hand():
    chosen_by, scored_on = [0.5, 0.1, 0.5, 0.9, 0.5], [0.3, 0.4, 0.0, 1.0, 0.2]  # in order: levels 1, then 0, 2, 4 by number, then 3
    got = cvar(chosen_by, scored_on, [0.001, 0.2, 0.21, 0.6, 1])
    assert got == pytest.approx([0.4, 0.4, 0.35, 0.7 / 3, 1.9 / 5])
    one_to_a_hundred = np.arange(100.0)
    shares = np.arange(1, 101) / 100  # 0.07 * 100 is above 7 in floats
    assert cvar(one_to_a_hundred, one_to_a_hundred, shares) == pytest.approx(np.arange(100) / 2)
    tied, number = np.arange(1000) % 2, np.arange(1000.0)
    assert cvar(tied, number, [0.1, 0.5, 0.6]) == pytest.approx([99, 499, (500 * 499 + 100 * 100) / 600])  # evens first, then odds
    assert cvar([0.3, 0.1], [0.3, 0.1], [5e-324]) == [0.1]  # at least one level


def test_one_pass_is_biased_low_and_two_are_not():
    rng, alphas, repeats = np.random.default_rng(7), [0.01, 0.1, 1.0], 300
    for rate in (np.full(500, 0.5), rng.beta(5, 2, 500)):
        passes = rng.binomial(10, rate, (repeats, 2, 500)) / 10
        truth = np.empty((repeats, 3))  # mean true solve rate of the levels that the first pass takes for the worst
        for r, (first, _) in enumerate(passes):
            order = sorted(range(500), key=lambda level, first=first: (first[level], level))
            truth[r] = [np.mean([rate[k] for k in order[:count]]) for count in (5, 50, 500)]
        one = np.array([cvar(a, a, alphas) for a, _ in passes]) - truth
        two = np.array([cvar(a, b, alphas) for a, b in passes]) - truth
        error = two.std(0) / math.sqrt(repeats)
        assert (abs(two.mean(0)) < 4 * error).all() and (error < 0.01).all()
        assert one.mean(0)[0] < -0.2 and one.mean(0)[1] < -0.1
        assert abs(one.mean(0)[2]) < 0.003  # over all levels nothing is chosen


BAD = [
    (lambda: iqm([]), r"scores has shape \[0\]; allowed is \[runs, tasks\]"),
    (lambda: mean(np.empty((0, 3))), "with at least one of each"),
    (lambda: median([0.1, 0.2]), r"shape \[2\]"),
    (lambda: optimality_gap([[0.1, math.nan]]), "holds 1 of 2 values that are NaN"),
    (lambda: optimality_gap([[0.1]], math.nan), "target holds"),
    (lambda: profile([[math.inf]], [0.5]), "NaN or infinite"),
    (lambda: profile([[1.0]], 0.5), "thresholds has shape"),
    (lambda: per_seed_range(np.ones((2, 2, 2))), r"\[2, 2, 2\]"),
    (lambda: iqm([["a", "b"]]), "no array of numbers"),
    (lambda: iqm([[1.0], [1.0, 2.0]]), "no array of numbers"),
    (lambda: interval(np.ones((2, 2, 2)), iqm), r"\[2, 2, 2\]"),
    (lambda: interval(HAND, iqm, level=1.0), "level is 1.0"),
    (lambda: interval(HAND, iqm, level=0), "level is 0"),
    (lambda: interval(HAND, iqm, resamples=0), "resamples is 0"),
    (lambda: interval(HAND, iqm, seed=-1), "seed is -1"),
    (lambda: interval(HAND, np.mean), r"statistic gives \[\]"),
    (lambda: improvement(HAND, [[0.1, 0.2]]), "x has 3 tasks and y has 2"),
    (lambda: improvement(HAND, [0.1, 0.2, 0.3]), r"y has shape \[3\]"),
    (lambda: cvar([0.1, 0.2], [0.1], [0.5]), "chosen_by has 2 levels and scored_on has 1"),
    (lambda: cvar([0.1], [0.1], [0.5, 0.0]), "alphas hold 0.0"),
    (lambda: cvar([0.1], [0.1], [1.01]), "alphas hold 1.01"),
    (lambda: cvar([[0.1]], [[0.1]], [1]), r"chosen_by has shape \[1, 1\]"),
    (lambda: cvar([0.1], [math.nan], [1]), "scored_on holds 1"),
]


@pytest.mark.parametrize("call, message", BAD, ids=range(len(BAD)))
def test_mistakes_are_named(call, message):
    with pytest.raises(UsageError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and "allowed" in str(caught.value)
