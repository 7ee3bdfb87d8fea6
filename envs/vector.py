"""N worlds as a Gymnasium `VectorEnv`, agents folded into the batch: row i * A + p is agent p of world i."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from interplay.envs import registry
from interplay.envs.core import UsageError, World, whole
from interplay.envs.engine import Batch
from interplay.envs.parallel import action_space, closing_legal, fresh_seed, observation_space

Arrays = dict[str, Any]


def vector_env(name: str, num_envs: int = 1, first: int = 0, **params: Any) -> "VectorWorld":
    """N worlds as a Gymnasium `VectorEnv`.

    Args:
        name: one of `interplay.envs.names()`.
        num_envs: how many worlds. The `VectorEnv` has a row for each agent of each: its own `num_envs` is `num_envs * agents`.
        first: row block i plays what world `first + i` of a batch of the same seed plays.
        params: the world's own parameters, such as `rounds` or `payoff`.
    """
    return VectorWorld(registry.world(name, **params), num_envs, first)


class VectorWorld(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """N worlds of A agents as N * A rows, env-major; make it by `vector_env`, or from a `World` of your own.

    Games that end are begun anew in the same step (`AutoresetMode.SAME_STEP`), with the infos of Gymnasium's `SyncVectorEnv`:
    `final_obs` (an object array of last views, None in other rows) and `final_info`, each with a mask `_final_obs`, `_final_info`.
    `action_mask` int8 `[rows, actions]` is always there (with a game's last view see `parallel.closing_legal`), `acting` and `alive`
    bool `[rows]` where the world has such rules. Terminations and truncations are the world's, repeated for each of its agents: a row
    whose agent has left the game stays, with `alive` False, until the game ends.
    """

    def __init__(self, world: World, num_envs: int = 1, first: int = 0) -> None:
        self.world, self.worlds, self.first = world, whole("num_envs", num_envs, 1, 2**31 - 1), first
        self.num_envs = self.worlds * world.agents
        self.metadata = {"name": world.name, "render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space, self.single_action_space = observation_space(world), action_space(world)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._batch: Batch | None = None

    def reset(  # type: ignore[override]
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, Arrays]:
        """Begin all games.

        Args:
            seed: of all worlds (world i is number `first + i` of it), or a list with one for each world; None goes on with the next
                games of the present seed (without any so far, of a random one).
            options: none. `UsageError` for Gymnasium's `reset_mask`: the worlds reset by themselves.

        Returns:
            Observations uint8 `[rows, *observation]`, and infos.
        """
        if options and "reset_mask" in options:
            raise UsageError("option 'reset_mask' is not there: the worlds begin anew by themselves (SAME_STEP)")
        if seed is None and self._batch is not None:
            self._batch.reset()
        else:
            self._batch = self._seeded(fresh_seed() if seed is None else seed)
        return fold(self._batch.views(self._batch.out.obs)), self._infos(self._batch)

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Arrays]:
        """Play one turn of all worlds.

        Args:
            actions: `[rows]` whole numbers. A `UsageError`, where one is not legal for an agent whose move it is, leaves all worlds as
                they were.

        Returns:
            Observations uint8 `[rows, *observation]`, rewards float64, terminations and truncations bool `[rows]`, and infos.
        """
        if self._batch is None:
            raise UsageError(f"{self.world.name}: no game is on; call reset() first")
        joint = self._joint(actions)
        self._batch.check(joint)
        out = self._batch.step(joint)
        infos, over = self._infos(self._batch), self._each(out.terminated | out.truncated)
        if over.any():
            infos |= self._closing(over, self._batch.views(out.final_obs))
        ends = self._each(out.terminated), self._each(out.truncated)
        return fold(self._batch.views(out.obs)), fold(out.reward).astype(np.float64), *ends, infos

    def _seeded(self, seed: int | Sequence[int]) -> Batch:
        """New worlds; those of a list keep their numbers, each in the stream of its own seed."""
        if isinstance(seed, (int, np.integer)):
            self._np_random_seed, self._np_random = int(seed), None
            return Batch(self.world, self.worlds, seed=seed, first=self.first)
        if len(seed) != self.worlds:
            raise UsageError(f"seed has {len(seed)} entries; allowed are one for all, or {self.worlds}, one for each world")
        batch = Batch(self.world, self.worlds, first=self.first)
        state = batch.snapshot()
        rows = state["worlds"].numpy().view(self.world.record).reshape(self.worlds)
        rows["seed"], rows["draws"] = [whole("seed", s, 0, 2**32 - 1) for s in seed], 0
        batch.restore(state)
        batch.reset()
        return batch

    def _joint(self, actions: Any) -> Tensor:
        chosen = np.asarray(actions)
        if chosen.shape != (self.num_envs,) or chosen.dtype.kind not in "iu":
            raise UsageError(f"actions are {chosen.dtype} {list(chosen.shape)}; allowed are whole numbers [{self.num_envs}]")
        return torch.from_numpy(chosen.astype(np.int64)).view(self.worlds, self.world.agents)

    def _each(self, of_worlds: Tensor) -> np.ndarray:
        """`[worlds]` repeated for their agents: `[rows]`."""
        return of_worlds.numpy().repeat(self.world.agents)

    def _infos(self, batch: Batch) -> Arrays:
        infos = {"action_mask": fold(batch.out.legal).astype(np.int8)}
        infos |= {name: fold(getattr(batch.out, name)) for name in ("acting", "alive") if name in self.world.optional}
        return infos | {f"_{name}": np.ones(self.num_envs, bool) for name in infos}

    def _closing(self, over: np.ndarray, final_obs: Tensor) -> Arrays:
        """The infos of games that have ended: those of the rows in `over`."""
        last, views = final_obs.flatten(0, 1).numpy(), np.full(self.num_envs, None, object)
        for row in over.nonzero()[0]:
            views[row] = last[row].copy()
        mask = closing_legal(self.world, (self.num_envs, self.world.actions)) * over[:, None]
        final_info = {"action_mask": mask, "_action_mask": over.copy()}
        return {"final_obs": views, "_final_obs": over, "final_info": final_info, "_final_info": over.copy()}


def fold(of_agents: Tensor) -> np.ndarray:
    """`[worlds, A, ...]` as `[rows, ...]`, copied, since the batch writes over its tensors."""
    return of_agents.flatten(0, 1).numpy().copy()
