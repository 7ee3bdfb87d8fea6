"""Actor-critics with a population axis: P members' weights stacked, so that one pass runs, and one backward pass trains, all of them."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from interplay.envs.bits import unpack
from interplay.envs.core import Spec, UsageError
from interplay.policies import gru
from interplay.policies.dense import BLOCK, perceptron
from interplay.policies.flat import FlatWeights
from interplay.policies.seating import together


class Encoder(Protocol):
    """Makes numbers `[..., features]` of views `[..., bits]`."""

    @property
    def features(self) -> int:
        """Numbers of a view."""
        ...

    def __call__(self, bits: Tensor) -> Tensor:
        """The numbers."""
        ...


def numbers(spec: Spec, encode: Encoder | None) -> int:
    """How many numbers a network reads of a view."""
    return encode.features if encode else math.prod(spec.observation)


def check_encoding(encoding: str, encode: Encoder | None) -> None:
    """`UsageError` where an encoding is asked for that the world does not have."""
    if (encoding == "bits") != (encode is None):
        raise UsageError(f"network.encoding is {encoding!r}; allowed here is 'bits'")


@dataclass(frozen=True)
class NetworkConfig:
    """An actor-critic: two towers of equal shape, without shared weights.

    Attributes:
        hidden: widths of the hidden layers of each tower.
        activation: between layers.
        recurrent: width of a GRU between the last hidden layer and the heads; 0 for none.
        log_std: initial log standard deviation of continuous actions.
        encoding: what is read: views as they are, or, of Hanabi, with beliefs ("v0") and what they make of each card ("odds", see
            `policies.hanabi_encoding`).
    """

    hidden: tuple[int, ...] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    recurrent: int = 0
    log_std: float = 0.0
    encoding: Literal["bits", "v0", "odds"] = "bits"


class ActorCritic(FlatWeights):
    """P actor-critics over flat observations.

    Args:
        config: shape of the towers.
        spec: what is seen and done.
        members: P.
        seed: member m is initialised from (seed, m) alone: orthogonal weights (gain sqrt 2, actor head 0.01, critic head 1), zero biases.
        views: how many agents' views the critic reads: one, or all of them (`seating.together`; MAPPO, Yu et al. 2022).
        encode: makes numbers of views; None for the views themselves.
    """

    def __init__(
        self,
        config: NetworkConfig,
        spec: Spec,
        members: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        views: int = 1,
        encode: Encoder | None = None,
    ) -> None:
        check_encoding(config.encoding, encode)
        self.config, self.spec, self.views, self.encode = config, spec, views, encode
        super().__init__(self._layout(), members, device)
        gains = {"actor.head.weight": 0.01, "critic.head.weight": 1.0, "log_std": 0.0}
        self.draw(seed, lambda name: gains.get(name, 1.0 if ".gru." in name else math.sqrt(2)))
        if spec.continuous:
            with torch.no_grad():
                self.weights["log_std"].fill_(config.log_std)

    def _layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of one member's weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        outputs = {"actor": self.spec.actions, "critic": 1}
        for tower, out in outputs.items():
            width = numbers(self.spec, self.encode) * (self.views if tower == "critic" else 1)
            for k, h in enumerate(self.config.hidden):
                shapes[f"{tower}.{k}.weight"], shapes[f"{tower}.{k}.bias"] = (width, h), (1, h)
                width = h
            if self.config.recurrent:
                h = self.config.recurrent
                shapes[f"{tower}.gru.input"], shapes[f"{tower}.gru.hidden"] = (3 * h, width), (3 * h, h)
                shapes[f"{tower}.gru.input_bias"], shapes[f"{tower}.gru.hidden_bias"] = (3 * h,), (3 * h,)
                width = h
            shapes[f"{tower}.head.weight"], shapes[f"{tower}.head.bias"] = (width, out), (1, out)
        if self.spec.continuous:
            shapes["log_std"] = (1, self.spec.actions)
        return shapes

    def seen(self, obs: Tensor) -> Tensor:
        """What the critic reads `[T, B, A, ...]` of views `[T, B, A, *observation]`: each agent's own, or all of them."""
        return together(obs) if self.views > 1 else obs

    @property
    def carry_width(self) -> int:
        """Numbers of recurrent state a row: the GRUs of both towers; 0 without memory."""
        return 2 * self.config.recurrent

    def share(self, carry: Tensor, tower: int) -> Tensor:
        """What the actor (0) or the critic (1) remembers, `[..., H]`, of a carry `[..., 2 H]`."""
        return carry.chunk(2, -1)[tower]

    def both(self, obs: Tensor, seen: Tensor, carry: Tensor | None, keep: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logits (or means) `[P, T, R, n]` and values `[P, T, R]`; `carry` `[P, R, 2 H]`."""
        mine, yours = (None, None) if carry is None else carry.chunk(2, -1)
        x = self.read(obs)
        out, _ = self._layers("actor", x, mine, keep)
        value, _ = self._layers("critic", x if seen is obs else self.read(seen), yours, keep)
        return out, value.squeeze(-1)

    def play(self, obs: Tensor, seen: Tensor, carry: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """One turn: logits (or means) `[P, 1, R, n]`; with memory also values `[P, 1, R]` and the next carry `[P, 1, R, 2 H]`."""
        if carry is None:
            return self.actor(obs)[0], None, None
        out, mine = self.actor(obs, self.share(carry, 0))
        value, yours = self.critic(seen, self.share(carry, 1))
        assert mine is not None and yours is not None
        return out, value, torch.cat([mine, yours], -1)

    def read(self, obs: Tensor) -> Tensor:
        """Numbers `[P, T, R, features]` of views `[P, T, R, *observation]`, or of several views a row."""
        if self.spec.packed:
            obs = unpack(obs, self.spec.observation[0])
        if self.encode:
            obs = self.encode(obs)
        return obs.flatten(3).to(torch.float32)

    def _tower(self, tower: str, obs: Tensor, carry: Tensor | None, keep: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One tower on `[P, T, R, *observation]`: outputs `[P, T, R, out]` and recurrent states `[P, T, R, H]`.

        On a CPU, without memory and where nothing is to be differentiated, in blocks: views fill eight bits a byte, numbers 32 a bit.
        """
        if torch.is_grad_enabled() or self.config.recurrent or obs.device.type != "cpu":
            return self._layers(tower, self.read(obs), carry, keep)
        blocks = obs.flatten(1, 2).unsqueeze(1).split(BLOCK, 2)
        outs = [self._layers(tower, self.read(block), None, None)[0] for block in blocks]
        return torch.cat(outs, 2).squeeze(1).unflatten(1, obs.shape[1:3]), None

    def _layers(self, tower: str, x: Tensor, carry: Tensor | None, keep: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """One tower on numbers `[P, T, R, features]`."""
        w, (turns, rows) = self.weights, x.shape[1:3]
        x = x.flatten(1, 2)
        names = [f"{tower}.{k}" for k in range(len(self.config.hidden))]
        head = [w[f"{tower}.head.weight"], w[f"{tower}.head.bias"]]
        hidden = [w[f"{name}.{part}"] for name in names for part in ("weight", "bias")]
        if not self.config.recurrent:
            return perceptron(x, hidden + head, self.config.activation, True).unflatten(1, (turns, rows)), None
        assert carry is not None
        if hidden:
            x = perceptron(x, hidden, self.config.activation, False)
        layers = [w[f"{tower}.gru.{part}"] for part in ("input", "hidden", "input_bias", "hidden_bias")]
        states = gru.scan(x.unflatten(1, (turns, rows)), carry, keep, layers)
        return perceptron(states.flatten(1, 2), head, self.config.activation, True).unflatten(1, (turns, rows)), states

    def actor(self, obs: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Logits (or means) `[P, T, R, n]`, and the actor's recurrent states `[P, T, R, H]`.

        Args:
            obs: `[P, T, R, *observation]`, packed where the spec says so.
            carry: `[P, R, H]`, the actor's recurrent state before the first turn, or None.
            keep: `[P, T, R]` bool, False where a game starts with that turn, so that nothing is remembered; None for all True.
        """
        return self._tower("actor", obs, carry, keep)

    def critic(self, obs: Tensor, carry: Tensor | None = None, keep: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Values `[P, T, R]` and the critic's recurrent states; arguments as in `actor`, with `obs` as in `seen` by the critic."""
        value, states = self._tower("critic", obs, carry, keep)
        return value.squeeze(-1), states
