"""The student of the literature on environment design (Dennis et al. 2020): a small convolution, an LSTM, two heads.

It reads a view of `envs.grid` as the published picture, 5 x 5 cells of (object, colour, state) / 10. The picture is an affine function
of the view's bits, and the convolution one of the picture: so both are one matrix, made of the kernel, for the bits to be multiplied with.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import Spec, UsageError
from interplay.envs.grid import CELLS, VIEW
from interplay.policies.dense import perceptron
from interplay.policies.flat import FlatWeights
from interplay.policies.lstm import scan

# (object, colour, state) / 10 of a cell that holds nothing, or one of these
EMPTY = (0.1, 0.0, 0.0)
PICTURE = {"walls": (0.2, 0.5, 0.0), "goal": (0.8, 0.1, 0.0), "apple": (0.8, 0.0, 0.0), "banana": (0.8, 0.4, 0.0)}
KERNEL = 3
SIDE = VIEW - KERNEL + 1  # of what the convolution gives


@dataclass(frozen=True)
class GridConfig:
    """The sizes; the defaults are the published ones.

    Attributes:
        filters: of the 3 x 3 convolution.
        heading: numbers that a heading is embedded into.
        recurrent: width of the LSTM.
        head: width of the hidden layer of each head.
    """

    filters: int = 16
    heading: int = 5
    recurrent: int = 256
    head: int = 32


def taps() -> Tensor:
    """Which of the kernel's taps a cell meets at an output position: `[25 cells, 9 positions]`, 9 where none."""
    found = torch.full((CELLS, SIDE * SIDE), KERNEL * KERNEL)
    for position in range(SIDE * SIDE):
        for tap in range(KERNEL * KERNEL):
            y, x = position // SIDE + tap // KERNEL, position % SIDE + tap % KERNEL
            found[y * VIEW + x, position] = tap
    return found


class GridNetwork(FlatWeights):
    """P members' actor-critics with a shared trunk; the recurrent state of a row is the LSTM's output and memory, `[2 H]`.

    Args:
        config: sizes.
        spec: of a world whose view has the sections of `envs.grid`.
        members: P.
        seed: of the initial weights; member m's depend on (seed, m) alone.
        device: where.
    """

    views = 1

    def __init__(self, config: GridConfig, spec: Spec, members: int, seed: int = 0, device: torch.device | str = "cpu") -> None:
        planes = [s.name for s in spec.sections if s.name != "heading"]
        if "heading" not in [s.name for s in spec.sections] or not set(planes) <= set(PICTURE):
            raise UsageError(f"the grid network reads views of grids; this world's have the sections {[s.name for s in spec.sections]}")
        self.config, self.spec = config, spec
        self.planes, self.turning = len(planes), spec.section("heading")
        f, e, h, d, n = config.filters, config.heading, config.recurrent, config.head, spec.actions
        width = SIDE * SIDE * f + e
        shapes: dict[str, tuple[int, ...]] = {
            "conv.weight": (3 * KERNEL * KERNEL, f),
            "conv.bias": (1, f),
            "heading.weight": (4, e),
            "heading.bias": (1, e),
            "lstm.input": (width, 4 * h),
            "lstm.output": (h, 4 * h),
            "lstm.bias": (1, 4 * h),
        }
        for head, out in (("actor", n), ("critic", 1)):
            shapes |= {f"{head}.0.weight": (h, d), f"{head}.0.bias": (1, d), f"{head}.head.weight": (d, out), f"{head}.head.bias": (1, out)}
        super().__init__(shapes, members, device)
        gains = {"actor.head.weight": 0.01, "critic.head.weight": 1.0, "lstm.input": 1.0, "lstm.output": 1.0, "heading.weight": 1.0}
        self.draw(seed, lambda name: gains.get(name, math.sqrt(2)))
        self.taps = taps().to(device)
        self.colours = torch.tensor([PICTURE[name] for name in planes], device=device) - torch.tensor(EMPTY, device=device)
        self.empty = torch.tensor(EMPTY, device=device)

    @property
    def carry_width(self) -> int:
        """Numbers of recurrent state a row."""
        return 2 * self.config.recurrent

    def share(self, carry: Tensor, tower: int) -> Tensor:
        """What actor (0) or critic (1) remember of a carry: both all of it."""
        return carry

    def seen(self, obs: Tensor) -> Tensor:
        """What the critic reads: the same."""
        return obs

    def matrix(self) -> tuple[Tensor, Tensor]:
        """The convolution of the picture as a function of bits: `[P, planes * 25, 9 F]` and its constant `[P, 1, 9 F]`."""
        kernel = self.weights["conv.weight"].unflatten(1, (3, KERNEL * KERNEL))  # [P, 3, 9, F]
        none = torch.zeros_like(kernel[:, 0, :1])
        planes = torch.einsum("kc,pcaf->pkaf", self.colours, kernel)
        spread = torch.cat([planes, none.unsqueeze(1).expand(-1, len(self.colours), -1, -1)], 2)[:, :, self.taps]  # [P, planes, 25, 9, F]
        constant = torch.einsum("c,pcaf->pf", self.empty, kernel).unsqueeze(1) + self.weights["conv.bias"]
        return spread.flatten(3).flatten(1, 2), constant.repeat(1, 1, SIDE * SIDE)

    def trunk(self, obs: Tensor, carry: Tensor, keep: Tensor | None) -> Tensor:
        """The LSTM's output and memory after each turn, `[P, T, R, 2 H]`, from views `[P, T, R, bytes]`."""
        w, turns, rows = self.weights, obs.shape[1], obs.shape[2]
        bits = unpack(obs, self.spec.observation[0]).flatten(1, 2).to(torch.float32)
        weight, constant = self.matrix()
        features = perceptron(bits[..., : self.planes * CELLS], [weight, constant], "relu", False)
        heading = torch.baddbmm(w["heading.bias"], bits[..., self.turning], w["heading.weight"])
        x = perceptron(torch.cat([features, heading], -1), [w["lstm.input"], w["lstm.bias"]], "relu", True)
        return scan(x.unflatten(1, (turns, rows)), w["lstm.output"], carry, keep)

    def head(self, name: str, states: Tensor) -> Tensor:
        """What a head says `[P, T, R, n]` of the trunk's states."""
        w, output = self.weights, states[..., : self.config.recurrent].flatten(1, 2)
        layers = [w[f"{name}.{part}"] for part in ("0.weight", "0.bias", "head.weight", "head.bias")]
        return perceptron(output, layers, "tanh", True).unflatten(1, states.shape[1:3])

    def play(self, obs: Tensor, seen: Tensor, carry: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """One turn: logits `[P, 1, R, n]`, values `[P, 1, R]` and the next carry `[P, 1, R, 2 H]`."""
        assert carry is not None
        states = self.trunk(obs, carry, None)
        return self.head("actor", states), self.head("critic", states).squeeze(-1), states

    def both(self, obs: Tensor, seen: Tensor, carry: Tensor | None, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits `[P, T, R, n]` and values `[P, T, R]`, in one pass; `carry` `[P, R, 2 H]`."""
        assert carry is not None
        states = self.trunk(obs, carry, keep)
        return self.head("actor", states), self.head("critic", states).squeeze(-1)

    def actor(self, obs: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Logits `[P, T, R, n]` and the recurrent states `[P, T, R, 2 H]`."""
        assert carry is not None
        states = self.trunk(obs, carry, keep)
        return self.head("actor", states), states

    def critic(self, obs: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values `[P, T, R]` and the recurrent states `[P, T, R, 2 H]`."""
        assert carry is not None
        states = self.trunk(obs, carry, keep)
        return self.head("critic", states).squeeze(-1), states
