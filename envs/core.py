"""The contract between worlds and everything above them: what a world is, what a step returns, how mistakes are told.

Order of axes everywhere: worlds first, then agents: `[N, A, ...]`. Dictionaries exist in the adapters only.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from interplay.envs import dice
from interplay.envs.bits import packed_bytes


class UsageError(ValueError):
    """A mistake of the person who called: one line that names the problem, the value, what is allowed."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown `word`: the nearest known one, if there is one, then all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"{hint} Known: {', '.join(known)}"


class Step(NamedTuple):
    """What N worlds of A agents show after a step. The tensors are the batch's own: the next step overwrites them.

    obs:         `[N, A, *observation]` what each agent sees now; where a game has just ended, the first view of the next one
    reward:      `[N, A]` float32, of the move just made
    terminated:  `[N]` bool, the game ended by its rules
    truncated:   `[N]` bool, the game was cut by a time limit: its future has a value, bootstrap from `final_obs`
    final_obs:   like `obs`: the last view of a game that has just ended; other rows hold older views
    legal:       `[N, A, actions]` bool, what each agent may do now
    acting:      `[N, A]` bool, whose move it is; the actions of the others are ignored
    alive:       `[N, A]` bool, who is still in the game
    """

    obs: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    final_obs: Tensor
    legal: Tensor
    acting: Tensor
    alive: Tensor


class Section(NamedTuple):
    """A part of a view: features `start ... stop - 1`."""

    name: str
    start: int
    stop: int


class Spec(NamedTuple):
    """What a policy has to know of a world.

    observation: shape of one agent's view
    actions:     number of moves, or of dimensions where actions are continuous
    continuous:  whether actions are vectors of numbers
    masks:       whether some moves are sometimes illegal
    turns:       whether agents sometimes wait for others
    leaves:      whether agents may leave a game that goes on
    packed:      whether a view is zeros and ones that are kept eight to a byte (`bits.unpack` gives `observation`)
    sections:    the named parts of a view, where it has such
    """

    observation: tuple[int, ...]
    actions: int
    continuous: bool = False
    masks: bool = False
    turns: bool = False
    leaves: bool = False
    packed: bool = False
    sections: tuple[Section, ...] = ()

    def section(self, name: str) -> slice:
        """Where the part of that name lies in a view."""
        return next(slice(s.start, s.stop) for s in self.sections if s.name == name)


class Env(Protocol):
    """N worlds played at once: kernel worlds (`engine.Batch`) and composite ones (whose step contains a learner) alike."""

    spec: Spec
    n: int
    agents: int
    out: Step
    first: int
    seed: int
    device: torch.device

    def step(self, action: Tensor) -> Step:
        """Play one turn; `action` is `[N, A]` whole numbers, or `[N, A, dims]` floats where actions are continuous."""
        ...

    def reset(self, mask: Tensor | None = None) -> Step:
        """Start the worlds under `mask` `[N]` anew (all by default)."""
        ...

    def snapshot(self) -> dict[str, Tensor]:
        """The whole state as tensors `[N, ...]`, copied."""
        ...

    def restore(self, state: dict[str, Tensor]) -> Step:
        """Go back to a snapshot: the same `Step` is shown, and the same future follows from the same actions."""
        ...


@dataclass(frozen=True)
class World:
    """A game, as the engine plays it.

    Attributes:
        name: what the registry calls it.
        rules: a module of scalar `@njit` functions on the record `w` of one world: `reset(w)`, `step(w, action, reward) -> (terminated,
            truncated)`, `observe(w, p, out)`, and where they are not constantly true `legal(w, p, out)`, `acting(w, p)`, `alive(w, p)`;
            `edit(w, change) -> done`, if the state can be changed from outside.
        agents: how many play.
        actions: how many moves an agent has, at most.
        observation: shape of one agent's view, uint8.
        level: fields that `reset` leaves alone, `(name, dtype[, shape])`: together they are the level.
        state: the other fields.
        default: values of the level's fields.
        high: the largest number in an observation.
        action_names: what the moves are called.
        constant: optional rules that are constantly true with these parameters, though the module has them.
        packed: views are zeros and ones, `observation` `(bits,)`, which rules write as 32-bit words (`bits.emit`).
        sections: the named parts of a view.
        picture: the record of one world as text.
        limits: least and greatest value of fields of the level; those of numbers that are not whole must be finite.
        check_levels: raises a `UsageError` where records `[N]` (the second argument) hold a level that cannot be played.
    """

    name: str
    rules: ModuleType
    agents: int
    actions: int
    observation: tuple[int, ...]
    level: list[tuple[Any, ...]]
    state: list[tuple[Any, ...]]
    default: dict[str, Any]
    high: int = 1
    action_names: tuple[str, ...] = field(default=())
    constant: tuple[str, ...] = field(default=())
    packed: bool = False
    sections: tuple[Section, ...] = ()
    picture: Callable[[Any], str] | None = None
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    check_levels: "Callable[[World, Any], None] | None" = None

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape in which a view is kept."""
        return (packed_bytes(self.observation[0]),) if self.packed else self.observation

    @property
    def record(self) -> np.dtype:
        """The layout of one world: level, then state, then its dice (last, so that no record is a prefix of another)."""
        fields = self.level + self.state + dice.FIELDS
        taken = [name for name, *_ in fields if hasattr(np.record, name)]
        if taken:
            raise ValueError(f"{self.name}: fields {taken} have names that NumPy's records keep for themselves")
        return np.dtype((np.record, np.dtype(fields, align=True)))

    @property
    def optional(self) -> tuple[str, ...]:
        """The optional rules that this world needs asked every step."""
        return tuple(name for name in ("legal", "acting", "alive") if hasattr(self.rules, name) and name not in self.constant)

    @property
    def level_bytes(self) -> int:
        """Width of the prefix of the record that is the level, in bytes."""
        fields = self.record.fields
        assert fields is not None
        return min(fields[name][1] for name, *_ in self.state + dice.FIELDS)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int in [low, high], or a `UsageError` that says what is allowed."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise UsageError(f"{name} is {value!r}; allowed are whole numbers from {low} to {high}")
    return int(value)


def on_device(device: str | torch.device) -> torch.device:
    """The torch device of that name, or a `UsageError` naming those that are there."""
    try:
        found = torch.device(device)
    except RuntimeError:
        raise UsageError(f"device {device!r} is unknown; allowed are 'cpu' and 'cuda:0', 'cuda:1', ...") from None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    there = ["cpu", *(f"cuda:{k}" for k in range(count))]
    if found.type == "cuda" and found.index is None and count:
        found = torch.device("cuda", torch.cuda.current_device())
    if str(found) not in there:
        raise UsageError(f"device {str(device)!r} is not there; this machine has {', '.join(there)}")
    return found
