"""Levels of a maze world, made and edited: what teachers ask for."""

from typing import Any

from torch import Tensor

from interplay.envs import maze
from interplay.envs.core import World
from interplay.envs.maze_edits import mutate
from interplay.envs.maze_generators import generate


class MazeMaker:
    """Makes levels `[K, level bytes]` of a maze world.

    Args:
        world: of `envs.maze`.
        generator: one of `maze_generators.GENERATORS`.
        edits: changes that make a child of a level.
        seed: of both.
        params: the generator's own.
    """

    def __init__(self, world: World, generator: str = "clutter", edits: int = 20, seed: int = 0, **params: Any) -> None:
        self.world, self.generator, self.edits, self.seed, self.params = world, generator, edits, seed, params
        self.size = world.default["side"]
        self.draw(0, 1)  # what is wrong is told now

    def draw(self, first: int, count: int) -> Tensor:
        """Fresh levels, of numbers `first ...`."""
        return maze.pack(self.world, generate(self.generator, self.size, count, self.seed, first, **self.params))

    def edit(self, levels: Tensor, first: int) -> Tensor:
        """A child of each level."""
        return maze.pack(self.world, mutate(maze.unpack(self.world, levels), self.edits, self.seed, first))
