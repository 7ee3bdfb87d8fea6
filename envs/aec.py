"""One world as a PettingZoo `AECEnv`: agents are asked one after the other."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv

from interplay.envs import registry
from interplay.envs.core import UsageError, World
from interplay.envs.parallel import ParallelWorld


def aec_env(name: str, first: int = 0, render_mode: str | None = None, **params: Any) -> "TurnWorld":
    """One world as a PettingZoo `AECEnv`; arguments as for `parallel_env`."""
    return TurnWorld(registry.world(name, **params), first, render_mode)


class TurnWorld(AECEnv[str, np.ndarray, Any]):
    """One world that asks agents one after the other; make it by `aec_env`, or from a `World` of your own.

    Each turn, those whose move it is are asked in the order of agents, and the world is played when the last of them has answered. So
    where all move at once nobody sees the others' moves of the same turn, and where turns are taken only the agent to move is asked.
    Infos are those of `ParallelWorld`. An action that is not legal is a `UsageError` at once, and changes nothing.
    """

    def __init__(self, world: World, first: int = 0, render_mode: str | None = None) -> None:
        super().__init__()
        self.table = ParallelWorld(world, first, render_mode)
        self.metadata = {**self.table.metadata, "is_parallelizable": "acting" not in world.optional}
        self.render_mode = render_mode
        self.possible_agents = list(self.table.possible_agents)
        self.agents: list[str] = []
        self.observation_spaces, self.action_spaces = self.table.observation_spaces, dict(self.table.action_spaces)

    def observation_space(self, agent: str) -> Box:
        """What `agent` sees; always the same object."""
        return self.table.observation_space(agent)

    def action_space(self, agent: str) -> Discrete:
        """What `agent` may do; always the same object."""
        return self.table.action_space(agent)

    def observe(self, agent: str) -> np.ndarray:
        """What `agent` saw after the last full turn."""
        return self._views[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin a game: the first one of `seed`, or the next of the present seed. There are no `options`."""
        self._views, self.infos = self.table.reset(seed, options)
        self.agents = list(self.table.agents)
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self._skip_agent_selection = None
        self._ask()

    def step(self, action: Any) -> None:
        """The selected agent does `action` (None if it is out of the game), and the next one is selected."""
        if not self.agents:
            raise UsageError(f"{self.table.world.name}: no game is on; call reset() to begin one")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self.table.joint({agent: action})
        self._chosen[agent] = action
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        if self._waiting:
            self.agent_selection = self._waiting.pop(0)
        else:
            self._play()

    def render(self) -> str | None:
        """The last full turn, a line for each agent: what it did, and its reward. Printed in mode "human"."""
        return self.table.render()

    def close(self) -> None:
        """Nothing is held that needs closing."""

    def _ask(self) -> None:
        """Begin a turn. Should a world ask nobody, everybody is asked, and ignored: somebody has to be selected."""
        self._chosen: dict[str, Any] = {}
        self.agent_selection, *self._waiting = self.table.movers() or self.table.agents

    def _play(self) -> None:
        """All have answered: the world moves on; those who are out now are selected first, to take their leave."""
        self._views, self.rewards, self.terminations, self.truncations, self.infos = self.table.step(self._chosen)
        self._accumulate_rewards()
        if self.table.agents:
            self._ask()
        self._deads_step_first()
