"""What worlds and policies make and learners consume: a stretch of play, time-major `[T, B, A, ...]`."""

import warnings
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Trajectory:
    """T turns of B worlds of A agents. Row b is world `first + b`; observations travel in the smallest type that holds them.

    Attributes:
        obs: `[T, B, A, *observation]` what each agent saw when it acted.
        action: `[T, B, A]` int64, or `[T, B, A, dims]` float32.
        logp: `[T, B, A]` float32, the behaviour's log-probability of the action.
        reward: `[T, B, A]` float32.
        terminated, truncated: `[T, B]` bool, the game ended with this turn.
        last_obs: `[B, A, *observation]` what is seen after turn T, for the bootstrap value.
        final_at: `[K, 2]` int64, the (t, b) of turns that cut a game short.
        final_obs: `[K, A, *observation]` the last view of those games, to bootstrap from.
        legal: `[T, B, A, actions]` bool, or None where everything always is; `last_legal` after turn T.
        acting: `[T, B, A]` bool, or None where everybody always moves.
        alive: `[T, B, A]` bool, or None where everybody always lives.
        target: `[T, B, A]` float32, what a player imagined to be the worth of the action; NaN where it imagined nothing; or None.
        value: `[T, B, A]` float32, what the critic thought when it acted, where a player says so; it stays where it was made; or None.
        carry: `[B, A, hidden]` recurrent state before the first turn, or None.
        version: the version of the policy that acted.
        learned: updates that the policy that acted had learned from, where that is not `version` (rounds may teach nothing); or None.
        draw: the number of the first turn in the worlds' random streams.
        stage: of training, where there are several (`learners.levels`).
        groups: populations; the worlds come in so many equal contiguous groups (`policies.seating`).
        teacher: of whom built what was played here, in worlds of their own.
    """

    obs: Tensor
    action: Tensor
    logp: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    last_obs: Tensor
    final_at: Tensor
    final_obs: Tensor
    legal: Tensor | None = None
    acting: Tensor | None = None
    alive: Tensor | None = None
    target: Tensor | None = None
    value: Tensor | None = None
    carry: Tensor | None = None
    version: int = 0
    learned: int | None = None
    draw: int = 0
    stage: int = 0
    groups: int = 1
    teacher: "Trajectory | None" = None

    @property
    def turns(self) -> int:
        """Number of env steps in it: T x B."""
        return self.reward.shape[0] * self.reward.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all its tensors."""
        return sum(x.nbytes for x in vars(self).values() if isinstance(x, (Tensor, Trajectory)))

    def score(self) -> float:
        """What a player earned in a game, on average: all rewards over all ends, 0 where no game has ended."""
        ends = int((self.terminated | self.truncated).sum())
        return float(self.reward.mean(-1).sum(dtype=torch.float64)) / ends if ends else 0.0

    def to(self, device: torch.device | str) -> "Trajectory":
        """The same on another device."""
        moved: dict[str, Any] = {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in vars(self).items()}
        moved["teacher"] = None if self.teacher is None else self.teacher.to(device)
        return Trajectory(**moved)

    def pack(self) -> dict[str, Any]:
        """As NumPy arrays, which Ray moves without a copy."""
        plain = lambda v: v.cpu().contiguous().numpy() if isinstance(v, Tensor) else v.pack() if isinstance(v, Trajectory) else v
        return {k: plain(v) for k, v in vars(self).items() if v is not None}

    @staticmethod
    def unpack(packed: dict[str, Any]) -> "Trajectory":
        """Back from `pack()`. The tensors share the arrays' memory, which may be read-only: learners do not write to trajectories."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            shared: dict[str, Any] = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in packed.items()}
        if "teacher" in shared:
            shared["teacher"] = Trajectory.unpack(shared["teacher"])
        return Trajectory(**shared)

    @staticmethod
    def join(parts: list["Trajectory"]) -> "Trajectory":
        """Several stretches of different worlds and equal length, side by side in the order given.

        Where each one's worlds come in groups, so do those of the whole: the first groups of all, then the second ones.
        """
        if len(parts) == 1:
            return parts[0]
        joined: dict[str, Any] = {}
        groups = parts[0].groups
        widths = [p.reward.shape[1] // groups for p in parts]
        whole, offsets = sum(widths), [sum(widths[:k]) for k in range(len(parts))]

        def beside(values: list[Tensor], dim: int) -> Tensor:
            split = [v.chunk(groups, dim) for v in values]
            return torch.cat([split[k][g] for g in range(groups) for k in range(len(parts))], dim)

        def moved(at: Tensor, k: int) -> Tensor:
            group, inside = at[:, 1] // widths[k], at[:, 1] % widths[k]
            return torch.stack([at[:, 0], group * whole + offsets[k] + inside], 1)

        for f in fields(Trajectory):
            values = [getattr(p, f.name) for p in parts]
            if f.name in ("version", "learned", "draw", "stage", "groups"):
                joined[f.name] = None if values[0] is None else min(values)
            elif f.name == "teacher":
                joined[f.name] = Trajectory.join(values) if values[0] is not None else None
            elif f.name == "final_at":
                joined[f.name] = torch.cat([moved(v, k) for k, v in enumerate(values)])
            elif f.name == "final_obs":
                joined[f.name] = torch.cat(values)
            elif values[0] is not None:
                joined[f.name] = beside(values, 0 if f.name in ("last_obs", "carry") else 1)
        return Trajectory(**joined)
