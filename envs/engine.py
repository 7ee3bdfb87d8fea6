"""One engine for every world: it plays N of them at once, on the CPU or on the GPU, from the same scalar rules."""

from copy import copy
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs import streams
from interplay.envs.bits import unpack
from interplay.envs.core import Spec, Step, UsageError, World, on_device, whole
from interplay.envs.rule import edition, rule
from interplay.envs.threads import share_threads

# Worlds from which a second thread pays. Below, waking OpenMP's threads (50 us, milliseconds beside a busy core) costs more.
MANY = 2048
BLOCK = 128  # threads of a CUDA block


@rule
def look(rules, w, obs):
    """Write what every agent of a world sees, `[A, *observation]`."""
    for p in range(obs.shape[0]):
        rules.observe(w, p, obs[p])


@rule
def permit(legal, acting, alive, w, i, may, moves, lives):
    """Write who may do what. Rules that are constantly true are None: numba drops the branch, and nothing is paid for them."""
    if legal is not None:
        for p in range(may.shape[1]):
            legal.legal(w, p, may[i, p])
    if acting is not None:
        for p in range(may.shape[1]):
            moves[i, p] = acting.acting(w, p)
    if alive is not None:
        for p in range(may.shape[1]):
            lives[i, p] = alive.alive(w, p)


def asked(rules: ModuleType, optional: tuple[str, ...]) -> tuple[ModuleType | None, ...]:
    """For each optional rule the module if it is to be asked, else None (numba drops the branch, so nothing is paid for it)."""
    return tuple(rules if name in optional else None for name in ("legal", "acting", "alive"))


def on_cpu(rules: ModuleType, optional: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """The three loops over worlds, for `njit`: `out` is a `Step` of arrays."""
    legal, acting, alive = asked(rules, optional)

    def step(worlds, action, out):
        obs, reward, terminated, truncated, final, may, moves, lives = out
        for i in prange(worlds.shape[0]):
            w = worlds[i]
            terminated[i], truncated[i] = rules.step(w, action[i], reward[i])
            if terminated[i] or truncated[i]:
                look(rules, w, final[i])
                rules.reset(w)
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    def reset(worlds, mask, out):
        obs, may, moves, lives = out.obs, out.legal, out.acting, out.alive
        for i in prange(worlds.shape[0]):
            w = worlds[i]
            if mask[i]:
                rules.reset(w)
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    def edit(worlds, mask, change, done, out):
        obs, may, moves, lives = out.obs, out.legal, out.acting, out.alive
        for i in prange(worlds.shape[0]):
            w = worlds[i]
            done[i] = mask[i] and rules.edit(w, change[i])
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    return step, reset, edit


def on_gpu(rules: ModuleType, optional: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """The same three as CUDA kernels, a thread a world."""
    from numba import cuda

    legal, acting, alive = asked(rules, optional)

    def step(worlds, action, out):
        obs, reward, terminated, truncated, final, may, moves, lives = out
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < worlds.shape[0]:
            w = worlds[i]
            terminated[i], truncated[i] = rules.step(w, action[i], reward[i])
            if terminated[i] or truncated[i]:
                look(rules, w, final[i])
                rules.reset(w)
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    def reset(worlds, mask, out):
        obs, may, moves, lives = out.obs, out.legal, out.acting, out.alive
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < worlds.shape[0]:
            w = worlds[i]
            if mask[i]:
                rules.reset(w)
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    def edit(worlds, mask, change, done, out):
        obs, may, moves, lives = out.obs, out.legal, out.acting, out.alive
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < worlds.shape[0]:
            w = worlds[i]
            done[i] = mask[i] and rules.edit(w, change[i])
            look(rules, w, obs[i])
            permit(legal, acting, alive, w, i, may, moves, lives)

    return step, reset, edit


@lru_cache
def drivers(rules: ModuleType, optional: tuple[str, ...], device: str, parallel: bool) -> list[Any]:
    """The compiled step, reset and edit of one world.

    Numba looks for compiled code on disk by a function's name, byte code and pickled closure. Here the closure is one module,
    which pickles by name, so every process and every Ray actor finds it (a closure over functions never would).
    """
    made = (on_gpu if device == "cuda" else on_cpu)(rules, optional)
    for f in made:
        f.__qualname__ = f"{rules.__name__}.{f.__name__}.{'many' if parallel else 'few'}.{'-'.join(optional)}.{edition(rules)}"
    if device == "cuda":
        from numba import cuda

        return [cuda.jit(f, cache=True) for f in made]
    return [njit(f, parallel=parallel, nogil=True, cache=True) for f in made]


def view(tensor: Tensor) -> Any:
    """The same memory as an array that kernels take."""
    if tensor.device.type == "cuda":
        from numba import cuda

        return cuda.as_cuda_array(tensor, sync=False)
    return tensor.numpy()


def shown(world: World, out: Step) -> Any:
    """A step's tensors as the arrays that rules write: packed views are 32-bit words to them."""
    words = lambda name, x: x.view(torch.uint32) if world.packed and name in ("obs", "final_obs") else x
    return Step._make(view(words(name, x)) for name, x in zip(Step._fields, out, strict=True))


def launch(driver: Any, n: int, device: torch.device, *arguments: Any) -> None:
    """Run a driver over n worlds: on the CPU with torch's number of threads, on the GPU on torch's current stream."""
    if device.type == "cuda":
        from numba import cuda

        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        driver[-(-n // BLOCK), BLOCK, stream](*arguments)
        return
    if many(n):
        share_threads()
    driver(*arguments)


def many(n: int) -> bool:
    """Does a second thread pay for n worlds?"""
    return n >= MANY and torch.get_num_threads() > 1


def check_levels(world: World, rows: Any) -> None:
    """A `UsageError` where one of the records `[N]` holds a level that cannot be played."""
    for name, *_ in world.level:
        low, high = world.limits.get(name, (-np.inf, np.inf))
        values = rows[name].reshape(len(rows), -1)
        wrong = np.argwhere(~((values >= low) & (values <= high) & np.isfinite(values)))
        if len(wrong):
            i, k = wrong[0]
            raise UsageError(f"level {i}: {name} holds {values[i, k]}; allowed are finite numbers from {low} to {high}")
    if world.check_levels:
        world.check_levels(world, rows)


class Batch:
    """N worlds. `memory` `[N, bytes]` is their whole state: clone it, write it back, keep some of its rows.

    Args:
        world: the game.
        n: how many of it.
        seed, first: world i of the batch is world `first + i` of the seed, and plays the same in every batch that holds it.
        device: where the worlds live; the tensors of `out` live there too.
    """

    def __init__(self, world: World, n: int, seed: int = 0, first: int = 0, device: str | torch.device = "cpu") -> None:
        self.world = world
        self.n = whole("num_envs", n, 1, 2**31 - 1)
        self.seed, self.first = whole("seed", seed, 0, 2**32 - 1), whole("first", first, 0, 2**32 - 1 - n)
        self.agents, self.device = world.agents, on_device(device)
        masks, turns, leaves = (name in world.optional for name in ("legal", "acting", "alive"))
        self.spec = Spec(world.observation, world.actions, False, masks, turns, leaves, world.packed, world.sections)
        record, agents, shape = world.record, world.agents, world.stored
        new = lambda dtype, *dims: torch.zeros(n, *dims, dtype=dtype, device=self.device)
        fresh = np.zeros(n, record)
        for name, value in {**world.default, "seed": seed, "id": np.arange(first, first + n)}.items():
            fresh[name] = value
        self.memory = torch.from_numpy(fresh.view(np.uint8).reshape(n, record.itemsize)).to(self.device)
        seen = lambda: new(torch.uint8, agents, *shape)
        true = lambda *dims: new(torch.bool, *dims).fill_(True)
        self.out = Step(
            obs=seen(),
            reward=new(torch.float32, agents),
            terminated=new(torch.bool),
            truncated=new(torch.bool),
            final_obs=seen(),
            legal=true(agents, world.actions),
            acting=true(agents),
            alive=true(agents),
        )
        self.ids = torch.arange(first, first + n, device=self.device)
        self._bind()
        self.reset()

    def _bind(self) -> None:
        """What kernels see of the worlds' tensors."""
        self._worlds = view(self.memory).view(self.world.record).reshape(self.n)
        self._out = shown(self.world, self.out)
        self._choice = torch.zeros(self.n, self.agents, dtype=torch.int64, device=self.device)

    def part(self, rows: Tensor) -> "Batch":
        """Copies of the worlds in `rows` `[K]`, as they stand and as often as they are named: a batch of its own.

        They keep their `ids` `[K]`, which need not follow each other: a part has no `first`, by which dice could be thrown.
        """
        made = copy(self)
        made.n, made.ids, made.memory = len(rows), self.ids[rows], self.memory[rows]
        made.out = Step._make(x[rows] for x in self.out)
        made._bind()
        made.__dict__.pop("first", None)
        return made

    def _run(self, which: int, *arguments: Tensor) -> Step:
        driver = drivers(self.world.rules, self.world.optional, self.device.type, self.device.type == "cpu" and many(self.n))[which]
        launch(driver, self.n, self.device, self._worlds, *map(view, arguments), self._out)
        return self.out

    def step(self, action: Tensor) -> Step:
        """Play one turn: `action` `[N, A]` int64, unchecked (see `check`)."""
        return self._run(0, action)

    def reset(self, mask: Tensor | None = None) -> Step:
        """Start the worlds under `mask` `[N]` bool anew, all by default."""
        return self._run(1, torch.ones(self.n, dtype=torch.bool, device=self.device) if mask is None else mask)

    def edit(self, mask: Tensor, change: Tensor) -> Tensor:
        """Change worlds under `mask` `[N]` bool as the rules' `edit` reads `change` `[N, k]` int64; returns `[N]` bool: it was done."""
        if not hasattr(self.world.rules, "edit"):
            raise UsageError(f"{self.world.name}: its state cannot be changed from outside")
        done = torch.zeros(self.n, dtype=torch.bool, device=self.device)
        self._run(2, mask, change, done)
        return done

    def views(self, obs: Tensor) -> Tensor:
        """Views of this batch (`out.obs`, `out.final_obs`) as `[..., *observation]`: unpacked, where the world packs them."""
        return unpack(obs, self.spec.observation[0]) if self.spec.packed else obs

    def check(self, action: Tensor) -> None:
        """Raise a `UsageError` at the first action that is not legal for an agent whose turn it is. Waits for the device."""
        if tuple(action.shape) != (self.n, self.agents):
            raise UsageError(f"actions have shape {list(action.shape)}; allowed is [{self.n}, {self.agents}]")
        inside = (action >= 0) & (action < self.world.actions)
        fine = inside & self.out.legal.gather(2, action.clamp(0, self.world.actions - 1).unsqueeze(-1)).squeeze(-1)
        wrong = (~fine & self.out.acting & self.out.alive).nonzero()
        if len(wrong):
            i, p = wrong[0].tolist()
            allowed = self.out.legal[i, p].nonzero().flatten().tolist()
            raise UsageError(f"world {int(self.ids[i])}, agent {p}: action {int(action[i, p])} is not legal; allowed are {allowed}")

    def random_action(self, draw: int) -> Tensor:
        """Uniform over each agent's legal moves `[N, A]`; `draw` numbers the throws, equal ones give equal actions. Reuses its tensor."""
        legal = self.out.legal if "legal" in self.world.optional else None
        return streams.choices(self.seed, self.first, draw, self.world.actions, legal, self._choice)

    def snapshot(self) -> dict[str, Tensor]:
        """The worlds' whole state, copied: `{"worlds": [N, bytes]}`."""
        return {"worlds": self.memory.clone()}

    def restore(self, state: dict[str, Tensor]) -> Step:
        """Go back to a snapshot of a batch of the same shape; shows it."""
        self.memory.copy_(state["worlds"])
        self._choice.zero_()
        return self.reset(torch.zeros(self.n, dtype=torch.bool, device=self.device))

    def stand(self, memory: Tensor, seed: Tensor) -> None:
        """Go to where worlds of this kind stand, `memory` `[N, bytes]`, with dice of other seeds `[N]` int64; the next edit shows it."""
        self.memory.copy_(memory)
        fields = self.world.record.fields
        assert fields is not None
        at = fields["seed"][1]
        self.memory[:, at : at + 4] = seed.contiguous().view(torch.uint8).view(-1, 8)[:, :4]  # little-endian, as are all GPUs

    def levels(self) -> Tensor:
        """The worlds' levels, packed: `[N, level bytes]` uint8, copied."""
        return self.memory[:, : self.world.level_bytes].clone()

    def pack_levels(self, **fields: Any) -> Tensor:
        """Levels `[N, level bytes]` from values of the level's fields, each one value or `[N, ...]`; others keep the worlds' own."""
        known = [name for name, *_ in self.world.level]
        for name in fields:
            if name not in known:
                raise UsageError(f"level field {name!r} is unknown; allowed are {', '.join(known)}")
        rows = self.memory.cpu().numpy().copy().view(self.world.record).reshape(self.n)
        for name, value in fields.items():
            try:
                rows[name] = value
            except (ValueError, TypeError, OverflowError) as error:
                shape = [self.n, *rows[name].shape[1:]]
                raise UsageError(f"level field {name!r}: {error}; allowed is one value, or {shape} of {rows[name].dtype}") from None
        check_levels(self.world, rows)
        packed = rows.view(np.uint8).reshape(self.n, -1)[:, : self.world.level_bytes]
        return torch.from_numpy(packed.copy()).to(self.device)

    def configure(self, options: dict[str, Any]) -> None:
        """What a task asks for: `level` = (field, before, after, share) gives the first share of the worlds one value of a field, the rest
        the other. Games go on; rules see the new value from now on.
        """
        if "level" in options:
            name, before, after, share = options["level"]
            new = (np.arange(self.n) + 0.5) / self.n < share
            self.set_level_field(name, np.where(new, after, before))

    def set_level_field(self, name: str, values: Any) -> None:
        """Change one field of all levels in place, `[N]` or one value, without starting the worlds anew."""
        packed, fields = self.pack_levels(**{name: values}), self.world.record.fields
        assert fields is not None
        kind, at = {**fields}[name][:2]
        self.memory[:, at : at + kind.itemsize] = packed[:, at : at + kind.itemsize]

    def set_level(self, mask: Tensor, levels: Tensor) -> Step:
        """Give the worlds under `mask` `[N]` the levels `[N, level bytes]` and start them; the others play on."""
        width = self.world.level_bytes
        if tuple(levels.shape) != (self.n, width):
            raise UsageError(f"levels have shape {list(levels.shape)}; allowed is [{self.n}, {width}]")
        self.memory[:, :width] = torch.where(mask[:, None], levels, self.memory[:, :width])
        return self.reset(mask)
