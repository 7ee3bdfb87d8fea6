"""Recurrent duelling Q-networks: what each move is worth to an agent that remembers all it has seen of the game."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import Spec, UsageError
from interplay.policies.dense import perceptron
from interplay.policies.networks import gru_scan


@dataclass(frozen=True)
class QNetworkConfig:
    """A perceptron (ReLU), a GRU, and heads.

    Attributes:
        hidden: widths of the perceptron's layers.
        recurrent: width of the GRU.
    """

    hidden: tuple[int, ...] = (128,)
    recurrent: int = 128


def possible(legal: Tensor | None, acting: Tensor | None, alive: Tensor | None, action: Tensor, actions: int) -> Tensor:
    """What each agent may do, with waiting as the last move: `[..., A, actions + 1]` bool.

    Whoever is not acting, has left, or has no legal move can only wait; nobody else can.

    Args:
        legal, acting, alive: as in a `Step` or a `Trajectory`; None where they always hold.
        action: `[..., A]`, anything of that shape and device.
        actions: number of moves without waiting.
    """
    may = torch.ones(*action.shape, actions, dtype=torch.bool, device=action.device) if legal is None else legal
    for moving in (acting, alive):
        if moving is not None:
            may = may & moving.unsqueeze(-1)
    return torch.cat([may, ~may.any(-1, keepdim=True)], -1)


class QNetwork:
    """P recurrent duelling Q-networks (Wang et al. 2016, Hausknecht & Stone 2015) over flat observations.

        q(o_1..o_t, u) = v + a_u - mean of a over the moves that are possible

    so that q of waiting, when nothing else can be done, is v itself. All weights are one tensor `flat` `[P, D]`.

    Args:
        config: its shape.
        spec: what is seen and done; waiting is move number `spec.actions`.
        members: P.
        seed: member m is initialised from (seed, m) alone: orthogonal weights (gain sqrt 2, GRU 1, heads 0.1), zero biases.
    """

    def __init__(self, config: QNetworkConfig, spec: Spec, members: int = 1, seed: int = 0, device: torch.device | str = "cpu") -> None:
        if config.recurrent < 1 or spec.continuous:
            raise UsageError(f"recurrent is {config.recurrent}; allowed are whole numbers from 1, and worlds whose actions are discrete")
        self.config, self.spec, self.members = config, spec, members
        self.shapes = self._layout()
        self.flat = torch.zeros(members, sum(math.prod(s) for s in self.shapes.values()), device=device)
        sizes = [math.prod(s) for s in self.shapes.values()]
        parts = zip(self.shapes.items(), self.flat.split(sizes, 1), strict=True)
        self.weights = {name: part.unflatten(1, shape).requires_grad_() for (name, shape), part in parts}
        self._initialise(seed)

    def _layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of one member's weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        width, h = math.prod(self.spec.observation), self.config.recurrent
        for k, n in enumerate(self.config.hidden):
            shapes[f"{k}.weight"], shapes[f"{k}.bias"] = (width, n), (1, n)
            width = n
        shapes["gru.input"], shapes["gru.hidden"] = (3 * h, width), (3 * h, h)
        shapes["gru.input_bias"], shapes["gru.hidden_bias"] = (3 * h,), (3 * h,)
        shapes["head.weight"], shapes["head.bias"] = (h, self.spec.actions + 2), (1, self.spec.actions + 2)
        return shapes

    @torch.no_grad()
    def _initialise(self, seed: int) -> None:
        gains = {"gru.input": 1.0, "gru.hidden": 1.0, "head.weight": 0.1}
        for m in range(self.members):
            rng = torch.Generator().manual_seed(seed * 1_000_003 + m)
            for name, shape in self.shapes.items():
                if not name.endswith("bias"):
                    drawn = torch.nn.init.orthogonal_(torch.empty(shape), gains.get(name, math.sqrt(2)), generator=rng)
                    self.weights[name][m].copy_(drawn)

    @torch.no_grad()
    def load(self, flat: Tensor) -> None:
        """Take over weights `[P, D]`."""
        self.flat.copy_(flat)

    def gradient(self, loss: Tensor) -> Tensor:
        """The gradient of a loss that sums over members, as one tensor `[P, D]`."""
        grads = torch.autograd.grad(loss, list(self.weights.values()), materialize_grads=True)
        return torch.cat([g.flatten(1) for g in grads], 1)

    def q(self, obs: Tensor, moves: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values `[P, T, R, actions + 1]` of all moves (of impossible ones: meaningless), and recurrent states `[P, T, R, H]`.

        Args:
            obs: `[P, T, R, *observation]`, packed where the spec says so.
            moves: `[P, T, R, actions + 1]` bool, what is possible (`possible`).
            carry: `[P, R, H]` before the first turn; None for zeros.
            keep: `[P, T, R]` bool, False where a game starts with that turn; None for all True.
        """
        w, (members, turns, rows) = self.weights, obs.shape[:3]
        if self.spec.packed:
            obs = unpack(obs, self.spec.observation[0])
        x = obs.reshape(members, turns * rows, -1).to(torch.float32)
        hidden = [w[f"{k}.{part}"] for k in range(len(self.config.hidden)) for part in ("weight", "bias")]
        if hidden:
            x = perceptron(x, hidden, "relu", False)
        if carry is None:
            carry = torch.zeros(members, rows, self.config.recurrent, device=x.device)
        gru = [w[f"gru.{part}"] for part in ("input", "hidden", "input_bias", "hidden_bias")]
        states = gru_scan(x.unflatten(1, (turns, rows)), carry, keep, gru)
        out = perceptron(states.flatten(1, 2), [w["head.weight"], w["head.bias"]], "relu", True).unflatten(1, (turns, rows))
        advantage, value = out[..., :-1], out[..., -1:]
        return value + advantage - (advantage * moves).sum(-1, keepdim=True) / moves.sum(-1, keepdim=True), states


def best(q: Tensor, moves: Tensor) -> Tensor:
    """The best possible move `[...]` by values `[..., n]`; the first of equals."""
    return q.masked_fill(~moves, -torch.inf).argmax(-1)
