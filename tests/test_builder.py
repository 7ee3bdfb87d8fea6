"""Who builds mazes: its world against slow Python, its pay by hand, and that it learns; stretches of play beside each other."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import stats

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_ued import MakerConfig, UEDExperiment
from interplay.cluster.experiment_worlds import WorldConfig
from interplay.cluster.runner import LocalRunner
from interplay.cluster.tiles import TileHost
from interplay.envs import maze, maze_builder, maze_levels, world
from interplay.envs.engine import Batch
from interplay.learners.core import Task
from interplay.learners.optim import AdamConfig
from interplay.learners.ppo import PPO, PPOConfig
from interplay.learners.teachers import TeacherConfig
from interplay.policies.architect import BUILT, Architect, hardship, regret
from interplay.policies.grid_network import GridConfig
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer
from interplay.policies.trajectory import Trajectory

LUCK = 1e-4  # seeds are fixed; below this p-value the numbers are not random


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Slow:
    """One builder: a list of cells, and Philox2x32-10 in Python's unbounded integers."""

    def __init__(self, size, walls, seed, number):
        self.cells, self.walls, self.seed, self.number, self.draws = size * size, walls, seed, number, 0
        self.reset()
        self.reset()  # a batch starts its worlds, and then the test does

    def word(self):
        self.draws += 1
        key, x, y = self.seed, self.draws, self.number
        for _ in range(10):
            product = 0xD256D193 * x
            x, y, key = (product >> 32) ^ key ^ y, product % 2**32, (key + 0x9E3779B9) % 2**32
        return x

    def reset(self):
        self.wall, self.goal, self.agent, self.placed = [False] * self.cells, None, None, 0
        self.noise = [self.word() >> k & 1 for word in range(2) for k in range(1)] and self.bits()

    def bits(self):
        return [word >> k & 1 for word in (self.word(), self.word()) for k in range(25)]

    def step(self, cell):
        if self.placed < self.walls:
            self.wall[cell] = True
        elif self.placed == self.walls:
            self.wall[cell], self.goal = False, cell
        elif self.placed == self.walls + 1:
            if cell == self.goal:
                free = [k for k in range(self.cells) if k != self.goal and not self.wall[k]]
                free = free or [(self.goal + 1 + k) % self.cells for k in range(self.cells - 1)]
                cell = free[self.word() * len(free) // 2**32]
            self.wall[cell], self.agent = False, (cell, self.word() * 4 // 2**32)
        self.placed = min(self.placed + 1, self.walls + 2)

    def observe(self):
        one = lambda count, k: [int(j == k) for j in range(count)]
        return {
            "walls": [int(x) for x in self.wall],
            "goal": one(self.cells, self.goal),
            "placed": one(self.walls + 3, self.placed),
            "noise": self.noise,
        }
