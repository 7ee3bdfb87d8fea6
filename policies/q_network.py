"""Recurrent duelling Q-networks: what each move is worth to an agent that remembers all it has seen of the game."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import Spec, UsageError
from interplay.policies import gru
from interplay.policies.dense import perceptron
from interplay.policies.distributions import masked
from interplay.policies.flat import FlatWeights
from interplay.policies.networks import Encoder, check_encoding, numbers


@dataclass(frozen=True)
class QNetworkConfig:
    """A perceptron (ReLU), a GRU, and heads.

    Attributes:
        hidden: widths of the perceptron's layers.
        recurrent: width of the GRU.
        public: the GRU remembers only what all players see, and what the heads read is its state times a perceptron's view of everything:
            so its memory stays true when a hand is exchanged (Hu et al. 2021, OBL).
        encoding: what it reads: the view's zeros and ones as they are, or, of Hanabi, with beliefs in place of what hints leave possible
            ("v0"), and with what they make of each card ("odds", see `policies.hanabi_encoding`).
    """

    hidden: tuple[int, ...] = (128,)
    recurrent: int = 128
    public: bool = False
    encoding: Literal["bits", "v0", "odds"] = "bits"


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


class QNetwork(FlatWeights):
    """P recurrent duelling Q-networks (Wang et al. 2016, Hausknecht & Stone 2015) over flat observations.

        q(o_1..o_t, u) = v + a_u - mean of a over the moves that are possible

    so that q of waiting, when nothing else can be done, is v itself.

    Args:
        config: its shape.
        spec: what is seen and done; waiting is move number `spec.actions`.
        members: P.
        seed: member m is initialised from (seed, m) alone: orthogonal weights (gain sqrt 2, GRU 1, heads 0.1), zero biases.
        encode: makes numbers of views; None for the views themselves.
        guesses: outputs of a further head, for an auxiliary task.
    """

    def __init__(
        self,
        config: QNetworkConfig,
        spec: Spec,
        members: int = 1,
        seed: int = 0,
        device: torch.device | str = "cpu",
        encode: Encoder | None = None,
        guesses: int = 0,
    ) -> None:
        if config.recurrent < 1 or spec.continuous:
            raise UsageError(f"recurrent is {config.recurrent}; allowed are whole numbers from 1, and worlds whose actions are discrete")
        check_encoding(config.encoding, encode)
        if config.public and "hands" not in [s.name for s in spec.sections]:
            raise UsageError("a public stream needs views with a section 'hands', such as Hanabi's")
        if config.public and config.encoding == "odds":
            raise UsageError("network.encoding is 'odds', part of which is private; with a public stream allowed are 'bits' and 'v0'")
        self.config, self.spec, self.encode, self.guesses = config, spec, encode, guesses
        self.public = spec.section("hands").stop if config.public else 0  # from there on all players see the same
        super().__init__(self._layout(), members, device)
        gains = {"gru.input": 1.0, "gru.hidden": 1.0, "head.weight": 0.1, "guess.weight": 0.1}
        self.draw(seed, lambda name: gains.get(name, math.sqrt(2)))

    def _layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of one member's weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        seen, h = numbers(self.spec, self.encode), self.config.recurrent
        towers = {"": (seen - self.public, self.config.hidden)}
        if self.public:
            towers["private."] = (seen, (*self.config.hidden, h))
        for prefix, (width, widths) in towers.items():
            for k, (m, n) in enumerate(pairwise((width, *widths))):
                shapes[f"{prefix}{k}.weight"], shapes[f"{prefix}{k}.bias"] = (m, n), (1, n)
        width = self.config.hidden[-1] if self.config.hidden else seen - self.public
        shapes["gru.input"], shapes["gru.hidden"] = (3 * h, width), (3 * h, h)
        shapes["gru.input_bias"], shapes["gru.hidden_bias"] = (3 * h,), (3 * h,)
        shapes["head.weight"], shapes["head.bias"] = (h, self.spec.actions + 2), (1, self.spec.actions + 2)
        if self.guesses:
            shapes["guess.weight"], shapes["guess.bias"] = (h, self.guesses), (1, self.guesses)
        return shapes

    def twin(self) -> "QNetwork":
        """A network of its own with the same weights."""
        twin = QNetwork(self.config, self.spec, self.members, device=self.flat.device, encode=self.encode, guesses=self.guesses)
        twin.load(self.flat)
        return twin

    def remember(self, obs: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What the heads read, and recurrent states, both `[P, T, R, H]`.

        Args:
            obs: `[P, T, R, *observation]`, packed where the spec says so.
            carry: `[P, R, H]` before the first turn; None for zeros.
            keep: `[P, T, R]` bool, False where a game starts with that turn; None for all True.
        """
        w, (members, turns, rows) = self.weights, obs.shape[:3]
        if self.spec.packed:
            obs = unpack(obs, self.spec.observation[0])
        if self.encode:
            obs = self.encode(obs)
        x = obs.reshape(members, turns * rows, -1).to(torch.float32)
        known = self._perceptron("", x[..., self.public :].contiguous() if self.public else x, self.config.hidden)
        if carry is None:
            carry = torch.zeros(members, rows, self.config.recurrent, device=x.device)
        layers = [w[f"gru.{part}"] for part in ("input", "hidden", "input_bias", "hidden_bias")]
        states = gru.scan(known.unflatten(1, (turns, rows)), carry, keep, layers)
        if self.public:
            return self._perceptron("private.", x, (*self.config.hidden, self.config.recurrent)).view_as(states) * states, states
        return states, states

    def _perceptron(self, prefix: str, x: Tensor, widths: tuple[int, ...]) -> Tensor:
        """Layers `[P, R, m]` to `[P, R, widths[-1]]`."""
        weights = [self.weights[f"{prefix}{k}.{part}"] for k in range(len(widths)) for part in ("weight", "bias")]
        return perceptron(x, weights, "relu", False) if weights else x

    def values(self, features: Tensor, moves: Tensor) -> Tensor:
        """Values `[P, T, R, actions + 1]` of all moves (of impossible ones: meaningless) from what the heads read.

        Args:
            features: `[P, T, R, H]` (see `remember`).
            moves: `[P, T, R, actions + 1]` bool, what is possible (`possible`).
        """
        weights = [self.weights["head.weight"], self.weights["head.bias"]]
        out = perceptron(features.flatten(1, 2), weights, "relu", True).unflatten(1, features.shape[1:3])
        advantage, value = out[..., :-1], out[..., -1:]
        return value + advantage - (advantage * moves).sum(-1, keepdim=True) / moves.sum(-1, keepdim=True)

    def q(self, obs: Tensor, moves: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Values of all moves and recurrent states (see `values` and `remember`)."""
        features, states = self.remember(obs, carry, keep)
        return self.values(features, moves), states

    def guess(self, features: Tensor) -> Tensor:
        """The auxiliary head: `[P, T, R, guesses]` from what the heads read."""
        weights = [self.weights["guess.weight"], self.weights["guess.bias"]]
        return perceptron(features.flatten(1, 2), weights, "relu", True).unflatten(1, features.shape[1:3])


def soft(q: Tensor, moves: Tensor, temperature: float) -> Tensor:
    """Probabilities `[..., n]` ~ exp(q / temperature) of the moves that are possible; of the best one alone at temperature 0."""
    if not temperature:
        return torch.nn.functional.one_hot(best(q, moves), q.shape[-1]).to(q.dtype)
    return masked(q / temperature, moves).softmax(-1)


def best(q: Tensor, moves: Tensor) -> Tensor:
    """The best possible move `[...]` by values `[..., n]`; the first of equals."""
    return q.masked_fill(~moves, -torch.inf).argmax(-1)
