"""Exams: mazes that nobody was trained on, and how they are sat.

An attempt is one game from a maze's start to its first end; it is solved if it pays. Views do not depend on the size of a maze, so who
was trained in small ones can sit exams in large ones. Whoever plays attempt a of maze k rolls the same dice in every batch that holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from interplay.envs import dice, maze, streams
from interplay.envs.core import Env, Step, UsageError, World, whole
from interplay.envs.engine import Batch
from interplay.envs.maze_generators import generate
from interplay.envs.maze_levels import NAMES, Mazes, join, named, pick
from interplay.envs.maze_paths import solvable
from interplay.policies.distributions import categorical_sample
from interplay.policies.meeting import ROWS
from interplay.policies.player import NetworkPlayer, Player

WORLDS = 4096  # played at once, at most
LEVELS = 100  # of a generated exam
SEED, FIRST = 2_718_281_828, 2**31  # of generated levels: training counts from 0, and never comes to these numbers of any seed
PROTOCOLS = ("450", "250")  # time limits of the named mazes: Dennis et al. 2020, Coward et al. 2024
PUBLISHED = 13  # the size of the named mazes

Watch = Callable[[int], None]  # is told how many more attempts are over


@dataclass(frozen=True)
class Exam:
    """What is to be solved.

    Attributes:
        name: what tables call it.
        mazes: of one size.
        rounds: moves that an attempt may take.
        attempts: at each maze.
        protocol: the one of `PROTOCOLS` that it belongs to; "" for both.
    """

    name: str
    mazes: Mazes
    rounds: int
    attempts: int
    protocol: str = ""

    @property
    def key(self) -> str:
        """Its name and protocol."""
        return f"{self.name} {self.protocol}".rstrip()


def suite(size: int, rounds: int, walls: int, attempts: int = 100, protocols: tuple[str, ...] = PROTOCOLS) -> list[Exam]:
    """The exams of students of mazes of `size` x `size` cells.

    From 13 on: the named mazes by each protocol, four rooms (17 x 17), crossings (9 x 9) and perfect mazes (13 x 13) with the time limits
    of minimax (Jiang et al. 2023). Below: mazes of the students' own size, clutter among them, with their own time limit.

    Args:
        size: of the mazes they were trained in.
        rounds: moves of a game in training.
        walls: placed in clutter.
        attempts: at each exam, shared among its mazes, and rounded up.
        protocols: some of `PROTOCOLS`.
    """
    share = lambda mazes: -(-attempts // len(mazes.goal))
    if size < PUBLISHED:
        kinds: dict[str, dict[str, Any]] = {"clutter": {"walls": walls}, "empty": {}}
        kinds |= {"perfect": {}} if size % 2 else {}
        kinds |= {"four-rooms": {}} if size % 2 and size >= 5 else {}
        drawn = [(kind, held_out(kind, size, LEVELS, **params), rounds) for kind, params in kinds.items()]
    else:
        drawn = [(kind, held_out(kind, n, LEVELS), limit) for kind, n, limit in (("four-rooms", 17, 250), ("crossings", 9, 484))]
        drawn.append(("perfect", held_out("perfect", PUBLISHED, LEVELS), 338))
    exams = [Exam(kind, mazes, limit, share(mazes)) for kind, mazes, limit in drawn]
    for protocol in reversed(protocols) if size >= PUBLISHED else ():
        limit = lambda name, protocol=protocol: 882 if name == "LargeCorridor" and protocol == "450" else int(protocol)
        exams = [Exam(name, named(name), limit(name), share(named(name)), protocol) for name in NAMES] + exams
    return exams


SUITES = {"mazes": suite}


def held_out(generator: str, size: int, count: int, **params: Any) -> Mazes:
    """The first `count` solvable mazes of a generator, of numbers that training does not use; `UsageError` where hardly any is."""
    parts, at, found = [], FIRST, 0
    while found < count:
        some = generate(generator, size, 1024, SEED, at, **params)
        parts.append(pick(some, solvable(some)))
        at, found = at + 1024, found + len(parts[-1].goal)
        if at - FIRST > 1000 * count + 10_000:
            raise UsageError(f"{generator} of size {size} with {params}: fewer than one maze in 1000 is solvable; allowed are fewer walls")
    return pick(join(parts), slice(count))


class Attempts(NamedTuple):
    """What came of attempts at K mazes.

    reward: `[K, attempts]` float32, what they paid; above 0 where the maze was solved
    moves:  `[K, attempts]` int64, how many were made
    """

    reward: np.ndarray
    moves: np.ndarray


def sit(player: Player, exam: Exam, actions: int, seed: int, device: Any = "cpu", watch: Watch = lambda n: None) -> Attempts:
    """Let a player attempt every maze of an exam; attempt a of maze k is world k * attempts + a of the seed.

    Args:
        player: acts in worlds whose `ids` need not follow each other.
        exam: what is to be solved.
        actions: 3 or 7.
        seed: of the player's dice.
        device: where worlds and player live.
        watch: is told of progress.
    """
    n = exam.mazes.walls.shape[1]
    world = maze.world(n, exam.rounds, actions)
    levels = maze.pack(world, exam.mazes)
    total = whole("attempts at all mazes", len(levels) * exam.attempts, 1, 2**32 - 2)
    parts = []
    for first in range(0, total, WORLDS):
        number = torch.arange(first, min(first + WORLDS, total))
        env = Batch(world, len(number), seed, first, device)
        env.set_level(torch.ones(env.n, dtype=torch.bool, device=env.device), levels[number // exam.attempts].to(env.device))
        parts.append(first_games(player, env, exam.rounds))
        watch(len(number))
    reward, moves = (torch.cat(x).cpu().numpy().reshape(len(levels), exam.attempts) for x in zip(*parts, strict=True))
    return Attempts(reward, moves)


@torch.no_grad()
def first_games(player: Player, env: Batch, rounds: int) -> tuple[Tensor, Tensor]:
    """Play each world's game to its end, `rounds` moves at most; returns the rewards `[N]` float32 and moves `[N]` int64.

    Worlds that are over are put away when half are. A multiple of `ROWS` is always asked, so that nothing rounds otherwise.
    """
    filled = lambda rows: torch.cat([rows, rows[:1].expand(-len(rows) % ROWS)])
    count, device = env.n, env.device
    reward, moves = torch.zeros(count, device=device), torch.zeros(count, dtype=torch.int64, device=device)
    number = filled(torch.arange(count, device=device))
    env, going = env.part(number), torch.arange(len(number), device=device) < count
    carry = player.start(env)
    for turn in range(rounds):
        action, _, carry = player.act(env, env.out, carry, turn)
        shown = env.step(action)
        reward.index_add_(0, number, shown.reward[:, 0] * going)  # filled rows repeat a number
        moves.index_add_(0, number, going.to(torch.int64))
        going = going & ~(shown.terminated | shown.truncated)
        left = int(going.sum())
        if not left:
            break
        if 2 * left <= env.n - ROWS:
            rows = filled(going.nonzero().squeeze(1))
            env, number, carry = env.part(rows), number[rows], None if carry is None else carry[rows]
            going = torch.arange(len(rows), device=device) < left
    return reward, moves


class Student(NetworkPlayer):
    """One network that plays alone, in worlds of one agent; its dice go by the worlds' ids."""

    @torch.no_grad()
    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Sample from the actor, or take the likeliest move where it is greedy."""
        obs = shown.obs.transpose(0, 1).unsqueeze(1)  # [P = 1, T = 1, N, bytes]
        logits, _, after = self.network.play(obs, obs, None if carry is None else carry.transpose(0, 1))
        logits, carry = logits.view(env.n, 1, -1), None if after is None else after.view(env.n, 1, -1)
        if self.greedy:
            return logits.argmax(-1), torch.zeros(env.n, 1, device=env.device), carry
        ids: Tensor = env.ids  # type: ignore[attr-defined]
        first, last = int(ids.min()), int(ids.max())
        units = streams.units(env.seed, dice.ACT, first, draw, (last - first + 1, 1), env.device)
        return *categorical_sample(logits, units[ids - first]), carry


def check_maze(world: World, name: str) -> tuple[int, int]:
    """Size and time limit of a run's maze; `UsageError` where it is none."""
    if world.rules is not maze:
        raise UsageError(f"{name} was trained in {world.name}; allowed are runs in mazes")
    return world.default["side"], world.default["rounds"]
