"""Levels of Stochastic Fruit Choice, made and edited: what teachers ask for. Levels drawn here can all be played to either fruit."""

import numpy as np
import torch
from torch import Tensor

from interplay.envs import streams
from interplay.envs.core import UsageError, World, whole
from interplay.envs.fruit import APPLE, BANANA, building, chance
from interplay.envs.grid import pack_planes, unpack_planes
from interplay.envs.maze_generators import key_of


class FruitMaker:
    """Makes levels `[K, level bytes]` of a fruit world; level k of a call depends on (seed, first + k) alone.

    Agents start anywhere in the first room. Fruits lie anywhere in the last one, but not on the agent, nor right behind the door, where
    whoever comes in for one fruit would have to eat the other.

    Args:
        world: of `envs.fruit`.
        bias: how often the apple is the right fruit *in levels*. It is the curriculum's, and need not be the true chance q.
        seed: of draws and edits.
    """

    def __init__(self, world: World, bias: float = 0.7, seed: int = 0) -> None:
        if world.name != "fruit":
            raise UsageError(f"the world is {world.name!r}; allowed is 'fruit'")
        self.world, self.bias, self.seed = world, chance("bias", bias), whole("seed", seed, 0, 2**32 - 1)
        self.side = world.default["side"]
        free = ~unpack_planes(world.default["walls"][None], self.side)[0]
        self.room = int(free.any(1).sum())
        self.rooms = (self.side + 1) // (self.room + 1)
        self.grid = np.arange(self.side**2).reshape(self.side, self.side)[free.any(1)]  # the rooms' rows of cells

    def draw(self, first: int, count: int) -> Tensor:
        """Fresh levels, of numbers `first ...`: of each the apple is right with probability `bias`."""
        unit = self.units("fruit", first, count, 5 + self.rooms)
        rows = self.records(count)
        rows["truth"] = np.where(unit[:, 0] < self.bias, APPLE, BANANA)
        rows["heading"] = 4 * unit[:, 1]
        rows["start"] = pick(self.inside(0), np.empty((count, 0), np.int64), unit[:, 2])
        doors = [pick(self.behind(wall), np.empty((count, 0), np.int64), unit[:, 5 + wall]) for wall in range(self.rooms - 1)]
        rows["walls"] = pack_planes(building(self.rooms, self.room, np.array(doors, np.int64).reshape(-1, count).T // self.side))
        return self.levels(self.place(rows, unit[:, 3:5]))

    def edit(self, levels: Tensor, first: int) -> Tensor:
        """A child of each level: the start, the heading, both fruits, or one door at random is moved to where `draw` might have put it.

        Where it was counts among those places. What is right stays.
        """
        unit = self.units("fruit edit", first, len(levels), 3)
        rows = self.records(len(levels))
        rows.view(np.uint8).reshape(len(rows), -1)[:, : self.world.level_bytes] = levels.numpy()
        what = (unit[:, 0] * (4 if self.rooms > 1 else 3)).astype(np.int64)
        for kind in np.unique(what):
            mine, change = what == kind, (self.move_start, self.turn, self.place, self.move_door)[kind]
            rows[mine] = change(rows[mine], unit[mine, 1:])
        return self.levels(rows)

    def move_start(self, rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Records `[K]` with another start, by numbers `[K, 2]` in [0, 1)."""
        rows["start"] = pick(self.inside(0), np.stack([rows["apple"], rows["banana"]], 1), unit[:, 0])
        return rows

    def turn(self, rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Records `[K]` with another heading, by numbers `[K, 2]` in [0, 1)."""
        rows["heading"] = 4 * unit[:, 0]
        return rows

    def place(self, rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Records `[K]` with both fruits elsewhere, by numbers `[K, 2]` in [0, 1)."""
        taken, cells = rows["start"], self.inside(self.rooms - 1)
        if self.rooms > 1:
            behind = self.behind(self.rooms - 2)
            taken = behind[self.open(rows)[:, behind - 1].argmax(1)]
        rows["apple"] = pick(cells, taken[:, None], unit[:, 0])
        rows["banana"] = pick(cells, np.stack([taken, rows["apple"]], 1), unit[:, 1])
        return rows

    def move_door(self, rows: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Records `[K]` with one door elsewhere in its wall, not before a fruit, by numbers `[K, 2]` in [0, 1)."""
        free, wall = self.open(rows), (unit[:, 0] * (self.rooms - 1)).astype(np.int64)
        for w in range(self.rooms - 1):
            mine, behind = wall == w, self.behind(w)
            cell = pick(behind, np.stack([rows["apple"], rows["banana"]], 1)[mine], unit[mine, 1])
            free[np.ix_(mine, behind - 1)] = behind == cell[:, None]
        rows["walls"] = pack_planes(~free.reshape(-1, self.side, self.side))
        return rows

    def inside(self, room: int) -> np.ndarray:
        """The cells of a room."""
        left = room * (self.room + 1)
        return self.grid[:, left : left + self.room].reshape(-1)

    def behind(self, wall: int) -> np.ndarray:
        """The cells that are first in a room, behind the wall before it; those of the wall have numbers one less."""
        return self.grid[:, (wall + 1) * (self.room + 1)]

    def open(self, rows: np.ndarray) -> np.ndarray:
        """Which cells of records `[K]` are free, `[K, cells]` bool."""
        return ~unpack_planes(rows["walls"], self.side).reshape(len(rows), -1)

    def units(self, label: str, first: int, count: int, columns: int) -> np.ndarray:
        """Numbers in [0, 1), `[count, columns]`, of which row k is for level `first + k`."""
        count = whole("count", count, 1, 2**31 - 1)
        first = whole("first", first, 0, 2**32 - count)
        return streams.run("units", torch.empty(count, columns), key_of(self.seed, label), 0, first).numpy().astype(np.float64)

    def records(self, count: int) -> np.ndarray:
        """Records `[count]` of the world's own level."""
        rows = np.zeros(count, self.world.record)
        for name, value in self.world.default.items():
            rows[name] = value
        return rows

    def levels(self, rows: np.ndarray) -> Tensor:
        """The levels `[K, level bytes]` of records."""
        return torch.from_numpy(rows.view(np.uint8).reshape(len(rows), -1)[:, : self.world.level_bytes].copy())


def pick(cells: np.ndarray, taken: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """One of `cells` `[n]` for each number `[K]` in [0, 1): uniform over those that are not among `taken` `[K, m]`."""
    free = (cells != taken[:, :, None]).all(1)
    number = (unit * free.sum(1)).astype(np.int64)
    return cells[(free.cumsum(1) > number[:, None]).argmax(1)]
