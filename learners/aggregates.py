"""What many runs on many tasks come to: aggregate scores and how sure one can be of them (Agarwal et al. 2021), and worst cases.

Scores are `[runs, tasks]`, for example the solve rate of every training seed in every maze; a run is one seed, trained once. The
aggregates (`mean`, `median`, `iqm`, `optimality_gap`, `profile`) also take `[..., runs, tasks]` and return `[...]`, which is how
`interval` gives them many resamples at once.

Errors: every function raises `UsageError` for what is empty, has other dimensions, or holds NaN or infinity.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from interplay.envs.core import UsageError, whole

Array = NDArray[np.float64]
BUDGET = 1 << 20  # scores that `interval` holds at a time (8 MiB), or one resample where that has more


def numbers(name: str, values: ArrayLike, axes: str, leading: bool = False) -> Array:
    """`values` as finite float64 with the axes that `axes` names, such as "runs, tasks", after any others where `leading`."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {type(values).__name__} that is no array of numbers; allowed are finite numbers [{axes}]") from None
    expected = axes.count(",") + 1
    if found.ndim < expected or (found.ndim > expected and not leading) or not found.size:
        raise UsageError(f"{name} has shape {list(found.shape)}; allowed is [{axes}] with at least one of each")
    broken = int(np.count_nonzero(~np.isfinite(found)))
    if broken:
        raise UsageError(f"{name} holds {broken} of {found.size} values that are NaN or infinite; allowed are finite numbers")
    return found


def pooled(scores: ArrayLike) -> Array:
    """The scores of all runs and tasks in one row, `[..., runs * tasks]`."""
    found = numbers("scores", scores, "runs, tasks", leading=True)
    return found.reshape(*found.shape[:-2], -1)


def mean(scores: ArrayLike) -> Any:
    """Mean over runs and tasks, `[...]` from `[..., runs, tasks]`. One task with large scores can carry it."""
    return pooled(scores).mean(-1)


def median(scores: ArrayLike) -> Any:
    """Median over tasks of the mean over runs, `[...]` from `[..., runs, tasks]`. Half of the tasks can be at 0 unseen."""
    return np.median(numbers("scores", scores, "runs, tasks", leading=True).mean(-2), axis=-1)


def iqm(scores: ArrayLike) -> Any:
    """Interquartile mean, `[...]` from `[..., runs, tasks]`: the mean of the middle half of all runs x tasks (Agarwal et al. 2021).

    Of n = runs * tasks scores in order, the floor(n / 4) lowest and as many of the highest are left out, and the others count fully, as
    in `scipy.stats.trim_mean(scores, 0.25, axis=None)`. With n no multiple of 4 a little more than half is kept; no score counts partly.
    """
    row = pooled(scores)
    n = row.shape[-1]
    cut = n // 4
    return np.partition(row, (cut, n - cut - 1), axis=-1)[..., cut : n - cut].mean(-1)


def optimality_gap(scores: ArrayLike, target: float = 1.0) -> Any:
    """How far scores fall short of a target on average, mean of max(target - score, 0); `[...]` from `[..., runs, tasks]`.

    More than the target earns nothing (Agarwal et al. 2021, sec. 4.3). Lower is better; for solve rates it is 1 - mean.
    """
    goal = numbers("target", [target], "targets")[0]
    return np.maximum(goal - pooled(scores), 0).mean(-1)


def profile(scores: ArrayLike, thresholds: ArrayLike) -> Array:
    """Performance profile, `[..., len(thresholds)]` from `[..., runs, tasks]` (Agarwal et al. 2021, sec. 4.2).

        F(tau) = mean over tasks of the share of runs with score > tau

    Args:
        scores: `[..., runs, tasks]`.
        thresholds: `[K]`, tau in the unit of the scores.
    """
    row = pooled(scores)
    # One threshold at a time: a profile of many resamples needs no K times the memory.
    return np.stack([(row > tau).mean(-1) for tau in numbers("thresholds", thresholds, "thresholds")], -1)


def interval(
    scores: ArrayLike, statistic: Callable[[Array], Any], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[Any, Any]:
    """Stratified bootstrap percentile interval of a statistic (Efron 1979; Agarwal et al. 2021, sec. 4.1).

    A resample draws, for each task on its own, as many runs as there are with replacement. The interval runs between the quantiles
    (1 - level) / 2 and (1 + level) / 2 of the statistic over the resamples (interpolated linearly). It speaks of other training seeds
    on the same tasks, not of other tasks. Percentile intervals are narrow with few runs: those of a mean by sqrt(1 - 1 / runs).

    Resample b of a seed is the same whatever the memory it is computed in and however many follow it.

    Args:
        scores: `[runs, tasks]`.
        statistic: from `[B, runs, tasks]` to `[B, ...]`, and from `[runs, tasks]` to `[...]`: `iqm`, `lambda s: profile(s, taus)`.
        level: share of resamples inside, in (0, 1).
        resamples: how many.
        seed: of the resamples.

    Returns:
        (low, high), each `[...]` as the statistic is. With one run both are NaN, since nothing is known of the spread over seeds.

    Errors:
        `UsageError` as above, and for a statistic that reduces other axes than the last two.
    """
    table = numbers("scores", scores, "runs, tasks")
    resamples, seed = whole("resamples", resamples, 1, 2**31 - 1), whole("seed", seed, 0, 2**32 - 1)
    if not 0 < level < 1:
        raise UsageError(f"level is {level!r}; allowed are numbers between 0 and 1, both excluded")
    (runs, tasks), shape = table.shape, np.shape(statistic(table))
    if runs == 1:
        return np.full(shape, np.nan)[()], np.full(shape, np.nan)[()]
    # Numbers come in order, one a score: where a chunk ends makes no difference.
    uniform, found = np.random.Generator(np.random.Philox(key=seed)), np.empty((resamples, *shape))
    chunk = max(1, BUDGET // table.size)
    for start in range(0, resamples, chunk):
        part = found[start : start + chunk]
        index = (uniform.random((len(part), runs, tasks)) * runs).astype(np.intp)
        value = statistic(table[index, np.arange(tasks)])
        if np.shape(value) != part.shape:
            raise UsageError(f"statistic gives {list(np.shape(value))} for [{len(part)}, runs, tasks]; allowed is {list(part.shape)}")
        part[...] = value
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def improvement(x: ArrayLike, y: ArrayLike) -> float:
    """Probability of improvement: P(X > Y) + P(X = Y) / 2 of a run of each on the same task, averaged over tasks.

    Of each task it is U / (runs_x * runs_y), with U of Mann & Whitney (1947) from midranks (Agarwal et al. 2021, sec. 4.3). It says how
    often x is better, not by how much; x against y and y against x add up to 1.

    Args:
        x: `[runs_x, tasks]`.
        y: `[runs_y, tasks]`, the same tasks in the same order.
    """
    ours, theirs = numbers("x", x, "runs, tasks"), numbers("y", y, "runs, tasks")
    if ours.shape[1] != theirs.shape[1]:
        raise UsageError(f"x has {ours.shape[1]} tasks and y has {theirs.shape[1]}; allowed are the same tasks for both")
    n = len(ours)
    rank = rankdata(np.concatenate([ours, theirs]), axis=0)[:n].mean(0)
    return float(((rank - (n + 1) / 2) / len(theirs)).mean())


def cvar(chosen_by: ArrayLike, scored_on: ArrayLike, alphas: ArrayLike) -> Array:
    """Mean over the worst share alpha of levels, `[len(alphas)]`, chosen and scored by two passes (Rutherford et al. 2024).

    A level's solve rate p is measured by a few episodes, so a first pass finds p plus luck. The levels that come out worst are in part
    those with bad luck: scored on the episodes that chose them, they look worse than they are, and most so for small alpha (with p = 0.5
    in all of 1000 levels, the worst 1 % by 10 episodes each score about 0.1). The luck of an independent second pass has mean 0 whatever
    was chosen, so its mean over the chosen levels estimates their true mean without bias. That mean is itself at or above the one of the
    levels that are truly worst, since luck has a part in the choice, and nears it as the first pass has more episodes.

    The ceil(alpha * levels) worst of the first pass are taken. Ties go by level number, so that the second pass has no say in them;
    levels should therefore not be numbered by difficulty.

    Args:
        chosen_by: `[levels]`, solve rates of the first pass of one run.
        scored_on: `[levels]`, of the second: other episodes of the same levels and the same run.
        alphas: `[K]`, each in (0, 1].
    """
    first, second = numbers("chosen_by", chosen_by, "levels"), numbers("scored_on", scored_on, "levels")
    share, levels = numbers("alphas", alphas, "alphas"), len(first)
    if levels != len(second):
        raise UsageError(f"chosen_by has {levels} levels and scored_on has {len(second)}; allowed are the same levels for both")
    outside = share[(share <= 0) | (share > 1)]
    if outside.size:
        raise UsageError(f"alphas hold {float(outside[0])!r}; allowed are numbers above 0 and at most 1")
    # 0.07 * 100 is 7.000000000000001 in floats, and would take 8.
    count = np.ceil(share * levels * (1 - 1e-12)).astype(np.int64)
    worst = second[np.argsort(first, kind="stable")]
    return np.cumsum(worst)[count - 1] / count


def per_seed_range(scores: ArrayLike) -> tuple[float, float]:
    """(min, max) over runs of the mean over tasks: what the worst and the best seed of `[runs, tasks]` came to."""
    each = numbers("scores", scores, "runs, tasks").mean(1)
    return float(each.min()), float(each.max())
