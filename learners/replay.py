"""Prioritised replay (Schaul et al. 2016) of whole games, as R2D2 (Kapturowski et al. 2019) has it for stretches of them.

A game is kept from its first turn, so that a recurrent network can start from nothing, for at most `length` turns. A longer game is
cut: its first `length` turns are kept as a truncated game, and the rest is dropped. Of a truncated game, cut here or by the world, the
last turn is only bootstrapped from: what was seen, and could be done, after it is not kept.

Observations stay packed as they come, legal moves take a bit each, and waiting is the move number `actions`: 92 bytes for a turn of a
player of two-player Hanabi (84 observation, 3 legal moves, 1 move, 4 reward).
"""

from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.bits import pack, unpack
from interplay.envs.core import Spec
from interplay.policies.q_network import possible
from interplay.policies.trajectory import Trajectory

STEPS = ("obs", "legal", "move", "reward")


@dataclass
class Games:
    """E games of at most T turns, padded with zeros.

    Attributes:
        obs: `[E, T, A, *stored observation]`.
        legal: `[E, T, A, bytes]` uint8, a bit for each legal move; none for who waits.
        move: `[E, T, A]` uint8 (int16 with 255 moves or more), `actions` for who waits.
        reward: `[E, T, A]` float32; or what the player imagined to be the worth of the move (`Trajectory.target`).
        length: `[E]` int64, turns.
        truncated: `[E]` bool, the game went on.
    """

    obs: Tensor
    legal: Tensor
    move: Tensor
    reward: Tensor
    length: Tensor
    truncated: Tensor

    def pick(self, index: Tensor) -> "Games":
        """Some of the games, padded to the longest of them."""
        length = self.length[index]
        longest = int(length.max())
        steps = {name: getattr(self, name)[:, :longest][index] for name in STEPS}
        return Games(**steps, length=length, truncated=self.truncated[index])

    def to(self, device: torch.device) -> "Games":
        """The same on another device."""
        return Games(**{f.name: getattr(self, f.name).to(device, non_blocking=True) for f in fields(Games)})


class Drawn(NamedTuple):
    """A draw from replay: slots `[E]`, their games, and importance weights `[E]` float32."""

    slot: Tensor
    games: Games
    weight: Tensor


def unpack_moves(legal: Tensor, actions: int) -> Tensor:
    """What is possible, with waiting last, `[..., actions + 1]` bool, from the bits that `Games` holds."""
    return possible(unpack(legal, actions).to(torch.bool), None, None, legal[..., 0], actions)


class Window:
    """The last turns of every world, from which games are cut out as they end.

    The first trajectory must start at the worlds' beginning (draw 0). Where it does not, or where one is missing in between, the games
    under way are skipped.

    Args:
        spec: what is seen and done.
        length: turns of a game that are kept, at most.
    """

    def __init__(self, spec: Spec, length: int) -> None:
        self.spec, self.length = spec, length
        self.past: dict[str, Tensor] = {}
        self.age: Tensor | None = None  # [B], turns of the game under way; more than `length` where it is to be skipped
        self.draw = 0

    def steps(self, tr: Trajectory) -> dict[str, Tensor]:
        """A trajectory's turns `[T, B, A, ...]` as `Games` keeps them."""
        moves = possible(tr.legal, tr.acting, tr.alive, tr.action, self.spec.actions)
        move = torch.where(moves[..., -1], self.spec.actions, tr.action % self.spec.actions)  # a further number may ride on it
        small = torch.uint8 if self.spec.actions < 256 else torch.int16
        reward = tr.reward if tr.target is None else tr.target
        return {"obs": tr.obs, "legal": pack(moves[..., :-1]), "move": move.to(small), "reward": reward}

    def push(self, tr: Trajectory) -> Games | None:
        """The games that end in a trajectory (or reach `length` turns), ordered by turn, then world; None if there is none."""
        new, stop = self.steps(tr), tr.terminated | tr.truncated
        turns, worlds = stop.shape
        if self.age is None:
            self.past = {name: x.new_zeros(self.length - 1, *x.shape[1:]) for name, x in new.items()}
            self.age = torch.zeros(worlds, dtype=torch.int64, device=stop.device)
        if tr.draw != self.draw:
            self.age = torch.full_like(self.age, self.length + 1)
        both = {name: torch.cat([self.past[name], x]) for name, x in new.items()}
        time = torch.arange(turns, device=stop.device).unsqueeze(1)
        began = torch.cat([-self.age.unsqueeze(0), torch.where(stop[:-1], time[1:], -self.age)]).cummax(0).values
        length = time + 1 - began
        cut = torch.where(stop, length <= self.length, length == self.length)
        self.past = {name: x[turns:].clone() for name, x in both.items()}
        self.age = torch.where(stop[-1], 0, length[-1]).clamp(max=self.length + 1)
        self.draw = tr.draw + turns
        t, b = cut.nonzero().unbind(1)
        if not len(t):
            return None
        taken = length[t, b]
        offset = torch.arange(int(taken.max()), device=t.device)
        at = (self.length + t - taken).unsqueeze(1) + offset  # `past` has length - 1 turns
        inside = offset < taken.unsqueeze(1)
        at = torch.where(inside, at, 0)
        kept = {name: _where(inside, x[at, b.unsqueeze(1)]) for name, x in both.items()}
        return Games(**kept, length=taken, truncated=~tr.terminated[t, b])

    def state_dict(self) -> dict[str, Tensor]:
        """The turns kept, and where each world's game stands."""
        if self.age is None:
            return {}
        return {"age": self.age.clone(), "draw": torch.tensor(self.draw), **{f"past.{name}": x.clone() for name, x in self.past.items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.age, self.draw = (state["age"].clone(), int(state["draw"])) if state else (None, 0)
        self.past = {name: state[f"past.{name}"].clone() for name in STEPS} if state else {}


def _where(inside: Tensor, x: Tensor) -> Tensor:
    """`x` `[E, T, ...]` with zeros where `inside` `[E, T]` is False, in its own memory."""
    return x.masked_fill_(~inside.view(*inside.shape, *[1] * (x.ndim - 2)), 0)


class Store(Protocol):
    """Where a learner's games are, in this process or in another."""

    def add(self, trajectory: Trajectory) -> tuple[int, int]:
        """Keep the games that end in a trajectory; returns how many there were, and how many are kept in all."""
        ...

    def clear(self) -> None:
        """Forget all games, those under way too."""
        ...

    def draw(self, count: int, draws: list[int]) -> list[Drawn]:
        """For each number in `draws`, `count` games by priority, keyed by that number."""
        ...

    def reprioritise(self, slot: Tensor, priority: Tensor) -> None:
        """Set priorities."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Everything."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        ...


class Replay:
    """The last `capacity` games, drawn by priority.

        P(i) = p_i^alpha / sum_j p_j^alpha,   w_i = (N P(i))^-beta, divided by the largest of the draw

    A new game has the largest priority that is in store. Games lie where the trajectories came from.

    Args:
        spec: what is seen and done.
        capacity: games.
        length: turns of a game, at most; memory is taken for all of them as they are first written.
        alpha, beta: how much priorities, and their correction, count.
        seed: of the draws.
    """

    def __init__(self, spec: Spec, capacity: int, length: int = 80, alpha: float = 0.9, beta: float = 0.6, seed: int = 0) -> None:
        self.window = Window(spec, length)
        self.capacity, self.length, self.alpha, self.beta, self.seed = capacity, length, alpha, beta, seed
        self.games: Games | None = None
        self.priority = torch.zeros(0, dtype=torch.float64)
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the store addresses."""
        return 0 if self.games is None else sum(getattr(self.games, f.name).nbytes for f in fields(Games))

    def add(self, trajectory: Trajectory) -> tuple[int, int]:
        """Keep the games that end in a trajectory; returns how many there were, and how many are kept in all."""
        games = self.window.push(trajectory)
        if games is None:
            return 0, len(self)
        self._allocate(games)
        store, count = self.games, len(games.length)
        assert store is not None
        new = torch.arange(max(0, count - self.capacity), count, device=games.length.device)
        slot, longest = (self.added + new) % self.capacity, games.obs.shape[1]
        for name in STEPS:
            getattr(store, name)[slot, :longest] = getattr(games, name)[new]
            getattr(store, name)[slot, longest:] = 0
        store.length[slot], store.truncated[slot] = games.length[new], games.truncated[new]
        self.priority[slot] = float(self.priority.max()) or 1.0
        self.added += count
        return count, len(self)

    def clear(self) -> None:
        """Forget all games, those under way too."""
        self.added, self.window.draw = 0, -1
        self.priority.zero_()

    def _allocate(self, like: Games) -> None:
        if self.games is not None:
            return
        room = {name: (x := getattr(like, name)).new_empty(self.capacity, self.length, *x.shape[2:]) for name in STEPS}
        per_game = {name: getattr(like, name).new_empty(self.capacity) for name in ("length", "truncated")}
        self.games = Games(**room, **per_game)
        self.priority = torch.zeros(self.capacity, dtype=torch.float64, device=like.length.device)

    def draw(self, count: int, draws: list[int]) -> list[Drawn]:
        """For each number in `draws`, `count` games by priority, keyed by that number."""
        return [self.sample(count, draw) for draw in draws]

    def sample(self, count: int, draw: int) -> Drawn:
        """Some games by priority, with replacement, keyed by `draw`."""
        assert self.games is not None
        heap = self.priority[: len(self)] ** self.alpha
        edges = heap.cumsum(0)
        high, low = streams.units(self.seed, dice.SHUFFLE, 0, draw, (count, 2), heap.device).to(torch.float64).unbind(1)
        at = torch.searchsorted(edges, (high + low * 2.0**-24) * edges[-1], right=True).clamp(max=len(self) - 1)  # rounding
        weight = (len(self) * heap[at] / edges[-1]) ** -self.beta
        return Drawn(at, self.games.pick(at), (weight / weight.max()).to(torch.float32))

    def reprioritise(self, slot: Tensor, priority: Tensor) -> None:
        """Set priorities (at least 1e-6, so that no game is lost)."""
        self.priority[slot] = priority.to(self.priority).clamp(min=1e-6)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything; of games only the turns that were played."""
        state = {"added": torch.tensor(self.added), **{f"window.{k}": v for k, v in self.window.state_dict().items()}}
        if self.games is None:
            return state
        n, games = len(self), self.games
        inside = torch.arange(self.length, device=games.length.device) < games.length[:n].unsqueeze(1)
        state |= {name: getattr(games, name)[:n][inside] for name in STEPS}
        return state | {"length": games.length[:n].clone(), "truncated": games.truncated[:n].clone(), "priority": self.priority[:n].clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.window.load_state_dict({k.removeprefix("window."): v for k, v in state.items() if k.startswith("window.")})
        self.added, self.games = int(state["added"]), None
        if "length" not in state:
            return
        n, length = len(self), state["length"]
        inside = torch.arange(self.length, device=length.device) < length.unsqueeze(1)
        self._allocate(Games(**{k: state[k].unsqueeze(0) for k in STEPS}, length=length, truncated=state["truncated"]))
        assert self.games is not None
        for name in STEPS:
            getattr(self.games, name)[:n] = 0
            getattr(self.games, name)[:n][inside] = state[name]
        self.games.length[:n], self.games.truncated[:n], self.priority[:n] = length, state["truncated"], state["priority"]
