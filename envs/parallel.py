"""One world as a PettingZoo `ParallelEnv`: everybody moves at once, dictionaries keyed by agent."""

import operator
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv
from torch import Tensor

from interplay.envs import registry
from interplay.envs.core import Step, UsageError, World, did_you_mean
from interplay.envs.engine import Batch

Infos = dict[str, dict[str, Any]]
MODES = ["ansi", "human"]
Turn = tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], Infos]


def parallel_env(name: str, first: int = 0, render_mode: str | None = None, **params: Any) -> "ParallelWorld":
    """One world as a PettingZoo `ParallelEnv`.

    Args:
        name: one of `interplay.envs.names()`.
        first: which world of a seed it is: `reset(seed=s)` plays what world `first` of a batch of seed s plays.
        render_mode: `render()` gives text ("ansi"), or prints it ("human").
        params: the world's own parameters, such as `rounds` or `payoff`.
    """
    return ParallelWorld(registry.world(name, **params), first, render_mode)


def observation_space(world: World) -> Box:
    """What one agent sees: uint8 of shape `world.observation`."""
    return Box(0, world.high, world.observation, np.uint8)


def action_space(world: World) -> Discrete:
    """What one agent may do, before the mask."""
    return Discrete(world.actions)


def fresh_seed() -> int:
    """A seed from the system's entropy, for those who name none."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def closing_legal(world: World, shape: tuple[int, ...]) -> np.ndarray:
    """The int8 masks shown with a game's last view, when nobody moves any more: 1 where moves are always legal, else 0.

    The engine has begun the next game by then, and the legal moves of the old one are gone.
    """
    return np.full(shape, "legal" not in world.optional, np.int8)


def move_number(agent: str, action: Any) -> int:
    """An action as an int, or a `UsageError`: an int, a NumPy integer, or an array of one without axes."""
    try:
        return int(np.int64(operator.index(action)))
    except (TypeError, OverflowError):
        raise UsageError(f"{agent}: action {action!r} is not legal; allowed are whole numbers") from None


class ParallelWorld(ParallelEnv[str, np.ndarray, int]):
    """One world of agents `player_0`, `player_1`, ...; make it by `parallel_env`, or from a `World` of your own.

    Every info holds `action_mask`, int8 `[actions]`: the world's legal moves, for agents whose move it is not too; with a game's last
    view see `closing_legal`. Where turns are taken (the world has an `acting` rule) it holds `acting`, too: whether the agent is to
    move. Those who are not to move may be left out of a step, and what they do is ignored.

    Agents leave the game one by one (terminated, where the world has an `alive` rule) or together. A step's last observation is the
    last view of the game that ended, not the first of the next one. Who leaves in the very turn in which a time limit cuts the game is
    truncated with the others: the engine does not say who was still there.
    """

    def __init__(self, world: World, first: int = 0, render_mode: str | None = None) -> None:
        if render_mode not in (None, *MODES):
            raise UsageError(f"render_mode {render_mode!r} is unknown{did_you_mean(str(render_mode), MODES)}")
        self.world, self.first, self.render_mode = world, first, render_mode
        self.metadata = {"name": world.name, "render_modes": list(MODES)}
        self.possible_agents = [f"player_{p}" for p in range(world.agents)]
        self.agents: list[str] = []
        self.observation_spaces = {agent: observation_space(world) for agent in self.possible_agents}
        self.action_spaces = {agent: action_space(world) for agent in self.possible_agents}
        self._seat = {agent: p for p, agent in enumerate(self.possible_agents)}
        self._batch: Batch | None = None
        self._show: Any = None  # the batch's tensors, as arrays without the axis of worlds
        self._fresh = False  # the batch has begun the next game by itself, and nobody has seen it
        self._last: dict[str, tuple[int | None, float]] | None = None  # what everybody did last (None: waited), and the reward

    def observation_space(self, agent: str) -> Box:
        """What `agent` sees; always the same object."""
        return self.observation_spaces[agent]  # type: ignore[return-value]

    def action_space(self, agent: str) -> Discrete:
        """What `agent` may do; always the same object."""
        return self.action_spaces[agent]  # type: ignore[return-value]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, np.ndarray], Infos]:
        """Begin a game: the first one of `seed`, or the next of the present seed (without any so far, of a random one).

        Returns `(observations, infos)`; there are no `options`. `UsageError` for a seed below 0 or above 2**32 - 1.
        """
        if seed is not None or self._batch is None:
            self._batch = Batch(self.world, 1, seed=fresh_seed() if seed is None else seed, first=self.first)
            self._show = Step._make(x[0].numpy() for x in self._batch.out)
        elif not self._fresh:
            self._batch.reset()
        self._fresh, self._last = False, None
        self.agents = self._living()
        return self._views(self.agents, self._batch.out.obs), self._infos(self.agents, self._show.legal.astype(np.int8))

    def step(self, actions: Mapping[Any, Any]) -> Turn:
        """Play one turn: `(observations, rewards, terminations, truncations, infos)` of all who were in the game.

        A `UsageError` leaves the world as it was: an action that is not legal, or is missing, or nobody there to play.
        """
        missing = [agent for agent in self.movers() if agent not in actions]
        if missing:
            raise UsageError(f"no action for {', '.join(missing)}; a step needs one for everybody whose move it is")
        out, joint, movers = self._show, self.joint(actions), self.movers()
        assert self._batch is not None
        after = self._batch.step(joint)
        terminated, truncated = bool(out.terminated), bool(out.truncated)
        over = self._fresh = terminated or truncated
        was, self.agents = self.agents, [] if over else self._living()
        rewards = {agent: float(out.reward[self._seat[agent]]) for agent in was}
        terminations = {agent: terminated or (not over and agent not in self.agents) for agent in was}
        self._last = {agent: (int(joint[0, self._seat[agent]]) if agent in movers else None, rewards[agent]) for agent in was}
        legal = closing_legal(self.world, out.legal.shape) if over else out.legal.astype(np.int8)
        views = self._views(was, after.final_obs if over else after.obs)
        return views, rewards, terminations, dict.fromkeys(was, truncated), self._infos(was, legal)

    def render(self) -> str | None:
        """The last turn, a line for each agent: what it did, and its reward; then the world's picture, while a game is on.

        Printed in mode "human".
        """
        if self.render_mode is None:
            raise UsageError(f"render_mode is None; allowed are {', '.join(MODES)}, given when the env is made")
        said = "\n".join(f"{agent}: {self._said(move)}, reward {reward:g}" for agent, (move, reward) in (self._last or {}).items())
        said = said or f"{self.world.name}: a new game"
        if self.world.picture and self._batch and self.agents:  # a game that is over has made room for the next one
            said += "\n" + self.world.picture(self._batch.memory[0].numpy().view(self.world.record)[0])
        return said if self.render_mode == "ansi" else print(said)

    def close(self) -> None:
        """Nothing is held that needs closing."""

    def movers(self) -> list[str]:
        """Those in the game whose move it is, in the order of agents."""
        return [agent for agent in self.agents if self._show.acting[self._seat[agent]]]

    def joint(self, actions: Mapping[Any, Any]) -> Tensor:
        """The joint action `[1, A]` int64: what the movers among `actions` do, and some legal move of everybody else.

        `UsageError` where an action is not legal, an agent is unknown, or no game is on.
        """
        if self._batch is None or not self.agents:
            raise UsageError(f"{self.world.name}: no game is on; call reset() to begin one")
        joint, movers = self._batch.out.legal.to(torch.uint8).argmax(-1), self.movers()
        for agent, action in actions.items():
            if agent not in self._seat:
                raise UsageError(f"agent {agent!r} is unknown{did_you_mean(str(agent), self._seat)}")
            if agent in movers:
                joint[0, self._seat[agent]] = move_number(agent, action)
        self._batch.check(joint)
        return joint

    def _said(self, move: int | None) -> str:
        if move is None:
            return "waits"
        return self.world.action_names[move] if self.world.action_names else f"move {move}"

    def _living(self) -> list[str]:
        return [agent for agent, lives in zip(self.possible_agents, self._show.alive, strict=True) if lives]

    def _views(self, agents: list[str], obs: Tensor) -> dict[str, np.ndarray]:
        """Copies, since the batch writes over its tensors."""
        assert self._batch is not None
        seen = self._batch.views(obs)[0].numpy()
        return {agent: seen[self._seat[agent]].copy() for agent in agents}

    def _infos(self, agents: list[str], legal: np.ndarray) -> Infos:
        infos: Infos = {agent: {"action_mask": legal[self._seat[agent]]} for agent in agents}
        if "acting" in self.world.optional:
            movers = self.movers()
            for agent in agents:
                infos[agent]["acting"] = agent in movers
        return infos
