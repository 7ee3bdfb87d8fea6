"""One world as an RLlib `MultiAgentEnv`, so that RLlib's stock algorithms train on it (new API stack, Ray 2.60)."""

from typing import Any

import numpy as np
from gymnasium.spaces import Box
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.utils.typing import MultiAgentDict

from interplay.envs import registry
from interplay.envs.core import World
from interplay.envs.parallel import ParallelWorld

Turn = tuple[MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict, MultiAgentDict]


def multi_agent_env(name: str, first: int = 0, **params: Any) -> "MultiAgentWorld":
    """One world as an RLlib `MultiAgentEnv`; arguments as for `interplay.envs.parallel_env`.

    Register it with `tune.register_env("ipd", lambda config: multi_agent_env("ipd", **config))`. What RLlib wants besides:

    - `config.debugging(seed=...)`: without it, RLlib's env check leaves every env at seed 42, and all of them roll the same dice;
    - views with more than one axis: `FlattenObservations(multi_agent=True)` as env-to-module connector, or a network of your own;
    - worlds with illegal moves: an `RLModule` that masks, and `config.environment(disable_env_checking=True)`, since the check moves
      at random, and an illegal move is a `UsageError`.
    """
    return MultiAgentWorld(registry.world(name, **params), first)


class MultiAgentWorld(MultiAgentEnv):
    """One world of agents `player_0`, `player_1`, ...; make it by `multi_agent_env`, or from a `World` of your own.

    Views are float32 (RLlib's networks do not take whole numbers), given to those whose move it is next and to those who are leaving.
    Infos are those of `ParallelWorld`: `action_mask`, and `acting` where turns are taken. RLlib resets in the step after the last one
    (NEXT_STEP), by a call of `reset()`, which begins the next game.
    """

    def __init__(self, world: World, first: int = 0) -> None:
        super().__init__()
        self.table = ParallelWorld(world, first)
        self.possible_agents = list(self.table.possible_agents)
        self.agents = list(self.possible_agents)  # for good: RLlib's env check looks for those who have left here, too
        self.observation_spaces = {agent: Box(0, world.high, world.observation, np.float32) for agent in self.agents}
        self.action_spaces = {**self.table.action_spaces}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[MultiAgentDict, MultiAgentDict]:
        """Begin a game: the first one of `seed`, or the next of the present seed. Returns `(observations, infos)` of those to move."""
        super().reset(seed=seed, options=options)
        views, infos = self.table.reset(seed, options)
        movers = self.table.movers()
        return self._floats(views, movers), {agent: infos[agent] for agent in movers}

    def step(self, action_dict: MultiAgentDict) -> Turn:
        """Play one turn: `(observations, rewards, terminateds, truncateds, infos)`.

        Rewards go to all in the game. `terminateds` has everybody and `__all__`. `truncateds` has `__all__` alone: once each agent is
        marked as done one by one, RLlib takes the episode for terminated, and does not bootstrap where a time limit cut it. `__all__`
        is true in one of the two as soon as nobody is left, also when some were terminated and the rest are truncated.
        """
        views, rewards, terminations, truncations, infos = self.table.step(action_dict)
        over = not self.table.agents
        shown = [agent for agent in views if over or terminations[agent]] + self.table.movers()
        terminateds: MultiAgentDict = {**terminations, "__all__": over and all(terminations.values())}
        truncateds: MultiAgentDict = {"__all__": over and any(truncations.values())}
        return self._floats(views, shown), {**rewards}, terminateds, truncateds, {agent: infos[agent] for agent in shown}

    def _floats(self, views: dict[str, np.ndarray], agents: list[str]) -> MultiAgentDict:
        return {agent: views[agent].astype(np.float32) for agent in agents}
