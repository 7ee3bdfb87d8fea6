"""The replay actor: games in a process of their own, so that their memory is neither the learner's nor a GPU's."""

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from interplay.cluster.experiment import Experiment
from interplay.cluster.tiles import pack
from interplay.learners.replay import Drawn, Games, Store
from interplay.policies.trajectory import Trajectory

Arrays = dict[str, Any]


class ReplayActor:
    """A mailbox around a learner's replay. It speaks NumPy arrays, never torch tensors."""

    def __init__(self, experiment: Experiment) -> None:
        store = experiment.store()
        assert store is not None
        self.store: Store = store

    def __repr__(self) -> str:
        return "Replay"

    def add(self, packed: Arrays) -> tuple[int, int]:
        """Keep the games that end in a trajectory."""
        return self.store.add(Trajectory.unpack(packed))

    def draw(self, count: int, draws: list[int]) -> list[tuple[Any, Arrays, Any]]:
        """Slots, games and weights of each draw."""
        found = self.store.draw(count, draws)
        return [(d.slot.numpy(), pack({f.name: getattr(d.games, f.name) for f in fields(Games)}), d.weight.numpy()) for d in found]

    def clear(self) -> None:
        """Forget all games."""
        self.store.clear()

    def reprioritise(self, slot: Any, priority: Any) -> None:
        """Set priorities."""
        self.store.reprioritise(torch.from_numpy(slot.copy()), torch.from_numpy(priority.copy()))

    def state(self) -> Arrays:
        """Everything."""
        return pack(self.store.state_dict())

    def restore(self, state: Arrays) -> None:
        """Go on from `state()`."""
        self.store.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in state.items()})


class RemoteReplay:
    """What the learner holds of it: a `Store`. Calls reach the actor in the order in which they are made."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def add(self, trajectory: Trajectory) -> tuple[int, int]:
        """Send a trajectory there."""
        return self._get(self.actor.add.remote(trajectory.pack()))

    def draw(self, count: int, draws: list[int]) -> list[Drawn]:
        """Fetch games."""
        tensor = lambda x: torch.from_numpy(x.copy())
        found = self._get(self.actor.draw.remote(count, draws))
        return [Drawn(tensor(s), Games(**{name: tensor(x) for name, x in games.items()}), tensor(w)) for s, games, w in found]

    def clear(self) -> None:
        """Forget all games, and do not wait for it."""
        self.actor.clear.remote()

    def reprioritise(self, slot: Tensor, priority: Tensor) -> None:
        """Send priorities there, and do not wait."""
        self.actor.reprioritise.remote(slot.cpu().numpy(), priority.cpu().numpy())

    def state_dict(self) -> dict[str, Tensor]:
        """Fetch everything."""
        return {name: torch.from_numpy(x.copy()) for name, x in self._get(self.actor.state.remote()).items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Send everything."""
        self._get(self.actor.restore.remote(pack(state)))

    def _get(self, ref: Any) -> Any:
        import ray

        return ray.get(ref)
