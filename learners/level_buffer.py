"""The level buffer of Prioritised Level Replay (Jiang et al. 2021): levels worth playing again, drawn by score and by staleness.

Draws and insertions take place one at a time, each seeing what the one before has done, so that a batch of n equals n batches of one.
What decides is in `learners.priorities`.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from interplay.envs import dice, streams
from interplay.envs.core import UsageError, whole
from interplay.learners.priorities import BufferConfig, check, draw, factors, put, weakest, weights_of_ranks

DRAW = 2**31 - 1  # the throw, on the stream META, that is the buffer's own: the others that roll there count theirs from 0
ARRAYS = {"levels": torch.uint8, "scores": torch.float64, "best": torch.float64, "age": torch.int64}


class LevelBuffer:
    """Levels `[count, width]` uint8 with their scores; slots are numbered from 0 in the order in which they were first filled.

    Args:
        config: how levels are kept and drawn.
        width: bytes of a level.
        seed: of the draws; draw number d of a seed always rolls the same.

    Levels come as NumPy arrays or CPU tensors `[n, width]` uint8, with `scores` and `best` (R_max, the highest return so far) `[n]`. A
    score that is not finite is none: no game of the level was finished. Bad arguments raise a `UsageError` and change nothing.
    """

    def __init__(self, config: BufferConfig, width: int, seed: int = 0) -> None:
        check(config)
        self.config, self.width = config, whole("width", width, 1, 2**31 - 1)
        self.seed = whole("seed", seed, 0, 2**32 - 1)
        self.ranked, self.power = weights_of_ranks(config), 1 / config.temperature
        self._clear()

    def _clear(self) -> None:
        n = self.config.capacity
        self.count, self.draws = 0, 0
        self.levels, self.age = np.zeros((n, self.width), np.uint8), np.zeros(n, np.int64)
        self.score, self.best, self.weight = np.zeros(n), np.zeros(n), np.zeros(n)
        self.order = np.zeros(n, np.int64)  # [:count], slots from the highest score to the lowest
        self.where: dict[bytes, set[int]] = {}

    def __len__(self) -> int:
        return self.count

    @property
    def warm(self) -> bool:
        """Whether enough is there to replay: the share `fill` of the capacity, and one level at least."""
        return self.count > 0 and self.count / self.config.capacity >= self.config.fill

    def distribution(self) -> np.ndarray:
        """P of the filled slots, `[count]` float64."""
        weight, age = self.weight[: self.count], self.age[: self.count]
        if not self.count:
            return weight.copy()
        a, b, c = factors(weight, age, self.config.staleness)
        return a * weight + b * age + c

    def sample(self, n: int) -> np.ndarray:
        """Draw n slots from P, `[n]` int64, one after the other: each draw ages all levels by 1, and sets the drawn one's age to 0."""
        out = np.zeros(whole("n", n, 0, 2**31 - 1), np.int64)
        if n and not self.count:
            raise UsageError(f"n is {n}, but the buffer is empty; nothing can be drawn before `insert`")
        if n:
            high, low = streams.units(self.seed, dice.META, self.draws, DRAW, (n, 2)).to(torch.float64).numpy().T
            draw(high + low * 2.0**-24, self.weight[: self.count], self.age[: self.count], self.config.staleness, out)
        self.draws += int(n)
        return out

    def levels_at(self, slots: np.ndarray) -> np.ndarray:
        """The levels in some slots, `[n, width]` uint8."""
        return self.levels[self._filled(slots)]

    def scores_at(self, slots: np.ndarray) -> np.ndarray:
        """The scores of some slots, `[n]` float64."""
        return self.score[self._filled(slots)]

    def best_at(self, slots: np.ndarray) -> np.ndarray:
        """The highest returns so far of some slots, `[n]` float64; -inf where none is known."""
        return self.best[self._filled(slots)]

    def find(self, levels: np.ndarray) -> np.ndarray:
        """The lowest slots of levels `[n, width]` uint8, `[n]` int64; -1 for those that are not there."""
        return np.array([min(self.where.get(row.tobytes(), (-1,))) for row in levels], np.int64)

    def insert(self, levels: Any, scores: Any, best: Any) -> np.ndarray:
        """Offer new levels, one after the other; returns the slots they now have, `[n]` int64, -1 for those that were refused.

        One without a score is refused. With `unique`, one that is there already is updated. Else it takes the next free slot; in a full
        buffer that of the smallest P, if its score is not below that level's. A level that is inserted or updated has age 0.
        """
        out = []
        for level, score, most in self._offered(levels, scores, best):
            if not math.isfinite(score):
                out.append(-1)
            elif self.config.unique and level in self.where:
                out.append(self._renew(level, score, most))
            else:
                out.append(self._admit(level, score, most))
        return np.array(out, np.int64)

    def update(self, levels: Any, scores: Any, best: Any) -> np.ndarray:
        """Tell what came of levels that were replayed; returns their slots, `[n]` int64, -1 for those that are no longer there.

        The score is overwritten, the best return can only rise, and the age is 0; without a score, only the best return rises. Where a
        level is there more than once, all its copies are updated, and the lowest slot is returned.
        """
        offered = self._offered(levels, scores, best)
        return np.array([self._renew(*one) if one[0] in self.where else -1 for one in offered], np.int64)

    def older(self, n: int) -> None:
        """All levels have waited for n more, as those do that stand by while n new ones are played."""
        self.age[: self.count] += whole("n", n, 0, 2**31 - 1)

    def state_dict(self) -> dict[str, Any]:
        """What is kept: tensors `levels` `[count, width]`, `scores`, `best`, `age` `[count]`, and the ints `count` and `draws`."""
        kept = zip(ARRAYS, (self.levels, self.score, self.best, self.age), strict=True)
        state = {name: torch.from_numpy(array[: self.count].copy()) for name, array in kept}
        return {**state, "count": self.count, "draws": self.draws}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`, bit for bit if config and seed are the same; a `UsageError` where the state does not fit."""
        count, draws, (levels, score, best, age) = fitting(state, self.config, self.width)
        self._clear()
        self.draws = draws
        self.levels[:count], self.best[:count] = levels, best
        for slot in range(count):
            self._fill(slot, levels[slot].tobytes(), float(score[slot]))
        self.age[:count] = age

    def _renew(self, level: bytes, score: float, best: float) -> int:
        """Update all copies of a level; the lowest slot."""
        for slot in self.where[level]:
            self.best[slot] = max(float(self.best[slot]), best)
            if math.isfinite(score):
                self._put(slot, score)
        return min(self.where[level])

    def _admit(self, level: bytes, score: float, best: float) -> int:
        """Find a slot for a new level; -1 if there is none."""
        slot, full = self.count, self.count == self.config.capacity
        if full:
            slot = weakest(self.weight, self.age, self.config.staleness)
            if score < self.score[slot]:
                return -1
            leaver = self.levels[slot].tobytes()
            self.where[leaver].discard(slot)
            if not self.where[leaver]:
                del self.where[leaver]
        self.levels[slot], self.best[slot] = np.frombuffer(level, np.uint8), best
        self._fill(slot, level, score)
        return slot

    def _fill(self, slot: int, level: bytes, score: float) -> None:
        """A level comes into a slot, the next free one or one that was left."""
        self.where.setdefault(level, set()).add(slot)
        if slot == self.count:
            self.order[slot] = slot
            self.count += 1
        self._put(slot, score)

    def _put(self, slot: int, score: float) -> None:
        put(self.ranked, self.power, self.order[: self.count], self.score, self.weight, slot, score)
        self.age[slot] = 0

    def _offered(self, levels: Any, scores: Any, best: Any) -> Iterator[tuple[bytes, float, float]]:
        """Levels as bytes with their scores and best returns (-inf for NaN), after a check of all of them."""
        levels = array_of("levels", levels)
        if levels.ndim != 2 or levels.shape[1] != self.width or levels.dtype != np.uint8:
            raise UsageError(f"levels are {list(levels.shape)} {levels.dtype}; allowed are [n, {self.width}] uint8")
        columns = {"scores": array_of("scores", scores), "best": array_of("best", best)}
        for name, x in columns.items():
            if x.shape != (len(levels),) or x.dtype.kind not in "fiu":
                raise UsageError(f"{name} are {list(x.shape)} {x.dtype}; allowed are [{len(levels)}] numbers, one a level")
        rows = [row.tobytes() for row in levels]
        value, most = (x.astype(np.float64) for x in columns.values())
        return zip(rows, value.tolist(), np.where(np.isnan(most), -np.inf, most).tolist(), strict=True)

    def _filled(self, slots: Any) -> np.ndarray:
        slots = array_of("slots", slots)
        if slots.ndim != 1 or slots.dtype.kind not in "iu" or ((slots < 0) | (slots >= self.count)).any():
            raise UsageError(f"slots are {slots.tolist()}; allowed is a list of whole numbers from 0 to {self.count - 1}")
        return slots


def array_of(name: str, values: Any) -> np.ndarray:
    """Values as a NumPy array, without a copy where they are one."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{name} are of type {type(values).__name__}; allowed are NumPy arrays and CPU tensors") from None


def fitting(state: dict[str, Any], config: BufferConfig, width: int) -> tuple[int, int, list[np.ndarray]]:
    """Count, draws and the arrays of a buffer's state, or a `UsageError` where they do not fit each other, or the buffer."""
    missing = [name for name in (*ARRAYS, "count", "draws") if name not in state]
    if missing:
        raise UsageError(f"state has no {missing[0]!r}; a buffer's state has {', '.join((*ARRAYS, 'count', 'draws'))}")
    count = whole("count of the state", state["count"], 0, config.capacity)
    draws = whole("draws of the state", state["draws"], 0, 2**63 - 1)
    found = {name: torch.as_tensor(state[name]) for name in ARRAYS}
    for name, x in found.items():
        shape = (count, width) if name == "levels" else (count,)
        if tuple(x.shape) != shape or x.dtype != ARRAYS[name]:
            raise UsageError(f"{name} of the state are {list(x.shape)} {x.dtype}; allowed are {list(shape)} {ARRAYS[name]}")
    levels, scores, best, age = (x.cpu().numpy() for x in found.values())
    if not np.isfinite(scores).all() or np.isnan(best).any() or (age < 0).any():
        raise UsageError("state holds a score that is not finite, a best return that is NaN, or an age below 0; none is allowed")
    if config.unique and len({level.tobytes() for level in levels}) < count:
        raise UsageError("state holds a level more than once; that is allowed only with unique=False")
    return count, draws, [levels, scores, best, age]
