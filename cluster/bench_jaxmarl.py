"""JaxMARL's speed, for comparison: a program of its own, run by the interpreter of an environment that has jaxmarl (see `side_by_side`).

It prints one JSON object a line, with the keys of `interplay.cluster.bench` (jaxmarl itself prints a line or two when it is imported).
A step is one turn of one world: uniform random (where it tells them, legal) actions for all agents, `MultiAgentEnv.step` with its own
autoreset, all in one jitted `lax.scan` over `vmap`ped worlds.

    .venv-jaxmarl/bin/python cluster/bench_jaxmarl.py --worlds coin_game --num-envs 64 1024 8192
    .venv-jaxmarl/bin/python cluster/bench_jaxmarl.py --ippo --num-envs 1024
"""
# pyright: reportMissingImports=false

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

REPEATS = 3
INNER = 64  # turns in one jitted call

# IPPO as in JaxMARL's baselines, at the sizes of this comparison
ROLLOUT, EPOCHS, MINIBATCHES, WIDTH = 128, 4, 4, 64
RATE, GAMMA, LAMBDA, CLIP, VALUE, ENTROPY, NORM = 2.5e-4, 0.99, 0.95, 0.2, 0.5, 0.01, 0.5


def median_rate(call: Callable[[], Any], seconds: float) -> float:
    """Calls a second: the median of timed repeats, after two calls that compile and warm up."""

    def rate() -> float:
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            jax.block_until_ready(call())
            calls += 1
        return calls / (time.perf_counter() - start)

    for _ in range(2):
        jax.block_until_ready(call())
    return statistics.median(rate() for _ in range(REPEATS))


def row(world: str, num_envs: int, env_steps_per_s: float, **more: Any) -> dict[str, Any]:
    """One measurement."""
    where = {"device": jax.devices()[0].platform, "threads": len(os.sched_getaffinity(0)), "jax": jax.__version__}
    return {"system": "jaxmarl", "world": world, "num_envs": num_envs, "env_steps_per_s": env_steps_per_s, **where, **more}


def play(name: str, num_envs: int, seconds: float) -> dict[str, Any]:
    """Random play of one of JaxMARL's worlds."""
    from jaxmarl import make

    env = make(name)
    sizes = {agent: env.action_space(agent).n for agent in env.agents}

    def turn(state: Any, key: jax.Array) -> tuple[Any, tuple[Any, Any, Any]]:
        key_act, key_step = jax.random.split(key)
        keys = dict(zip(sizes, jax.random.split(key_act, len(sizes)), strict=True))
        if hasattr(env, "get_legal_moves"):
            legal = jax.vmap(env.get_legal_moves)(state)
            actions = {a: jax.random.categorical(keys[a], jnp.where(legal[a] > 0, 0.0, -1e9)) for a in sizes}
        else:
            actions = {a: jax.random.randint(keys[a], (num_envs,), 0, n) for a, n in sizes.items()}
        obs, state, reward, done, _ = jax.vmap(env.step)(jax.random.split(key_step, num_envs), state, actions)
        return state, (obs, reward, done)

    @jax.jit
    def run(state: Any, key: jax.Array) -> tuple[Any, jax.Array, Any]:
        key, draw = jax.random.split(key)

        def body(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
            # The last turn's observations are carried, so that none of them is optimised away.
            return turn(carry[0], key), None

        first = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(turn, state, draw)[1])
        (state, shown), _ = jax.lax.scan(body, (state, first), jax.random.split(draw, INNER))
        return state, key, shown

    key = jax.random.key(0)
    carried = [jax.vmap(env.reset)(jax.random.split(key, num_envs))[1], key]

    def call() -> Any:
        carried[0], carried[1], shown = run(carried[0], carried[1])
        return carried[0], shown

    return row(name, num_envs, num_envs * INNER * median_rate(call, seconds))


class IPD(NamedTuple):
    """The iterated prisoner's dilemma in JaxMARL's manner: a state of one world, `vmap`ped; actions and rewards `[2]`."""

    last: jax.Array  # 0 before the first round, then 1 + 2 * (first player's move) + (second's)
    turn: jax.Array


PAYOFF = jnp.array([[-1.0, -1.0], [-3.0, 0.0], [0.0, -3.0], [-2.0, -2.0]])
ROUNDS = 100


def ipd_observe(state: IPD) -> jax.Array:
    """One-hot of the last joint move, own move first, `[2, 5]`."""
    mirrored = jnp.array([0, 1, 3, 2, 4])[state.last]
    return jax.nn.one_hot(jnp.stack([state.last, mirrored]), 5)


def ipd_step(state: IPD, action: jax.Array) -> tuple[IPD, jax.Array, jax.Array]:
    """State (started anew after the last round), rewards and whether the game ended."""
    joint = 2 * action[0] + action[1]
    done = state.turn + 1 >= ROUNDS
    after = IPD(jnp.where(done, 0, 1 + joint), jnp.where(done, 0, state.turn + 1))
    return after, PAYOFF[joint], done


def dense(key: jax.Array, inputs: int, outputs: int, scale: float) -> dict[str, jax.Array]:
    """A layer with orthogonal weights."""
    return {"w": jax.nn.initializers.orthogonal(scale)(key, (inputs, outputs)), "b": jnp.zeros(outputs)}


def network(key: jax.Array, inputs: int, outputs: int, last: float) -> list[dict[str, jax.Array]]:
    """Two hidden layers and a head."""
    a, b, c = jax.random.split(key, 3)
    return [dense(a, inputs, WIDTH, 2**0.5), dense(b, WIDTH, WIDTH, 2**0.5), dense(c, WIDTH, outputs, last)]


def apply(layers: list[dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    """The network's output; tanh between layers."""
    for layer in layers[:-1]:
        x = jnp.tanh(x @ layer["w"] + layer["b"])
    return x @ layers[-1]["w"] + layers[-1]["b"]


class Sample(NamedTuple):
    """What PPO learns from: every field `[T, B, ...]`, then flat."""

    obs: jax.Array
    action: jax.Array
    log_prob: jax.Array
    value: jax.Array
    reward: jax.Array
    done: jax.Array


def rollout(params: Any, worlds: IPD, key: jax.Array) -> tuple[IPD, Sample]:
    """`ROLLOUT` turns of every world by the current policy, both players alike: `B` = worlds x 2."""

    def turn(worlds: IPD, key: jax.Array) -> tuple[IPD, Sample]:
        obs = jax.vmap(ipd_observe)(worlds)
        logits, value = apply(params["actor"], obs), apply(params["critic"], obs)[..., 0]
        action = jax.random.categorical(key, logits)
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]
        worlds, reward, done = jax.vmap(ipd_step)(worlds, action)
        return worlds, Sample(obs, action, log_prob, value, reward, jnp.broadcast_to(done[:, None], reward.shape))

    return jax.lax.scan(turn, worlds, jax.random.split(key, ROLLOUT))


def advantages(sample: Sample, last_value: jax.Array) -> jax.Array:
    """Generalised advantage estimates (Schulman et al. 2016), `[T, ...]`."""

    def backwards(carry: tuple[jax.Array, jax.Array], now: Sample) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        ahead, next_value = carry
        on = 1.0 - now.done
        ahead = now.reward + GAMMA * next_value * on - now.value + GAMMA * LAMBDA * on * ahead
        return (ahead, now.value), ahead

    return jax.lax.scan(backwards, (jnp.zeros_like(last_value), last_value), sample, reverse=True)[1]


def loss(params: Any, batch: tuple[Sample, jax.Array]) -> jax.Array:
    """PPO's clipped loss with a clipped value loss and an entropy bonus (Schulman et al. 2017)."""
    sample, gain = batch
    logits, value = apply(params["actor"], sample.obs), apply(params["critic"], sample.obs)[..., 0]
    log_probs = jax.nn.log_softmax(logits)
    ratio = jnp.exp(jnp.take_along_axis(log_probs, sample.action[..., None], -1)[..., 0] - sample.log_prob)
    target = gain + sample.value
    near = sample.value + jnp.clip(value - sample.value, -CLIP, CLIP)
    value_loss = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    policy_loss = -jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * gain).mean()
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
    return policy_loss + VALUE * value_loss - ENTROPY * entropy


def update(optimiser: Any, carry: tuple[Any, Any, IPD, jax.Array]) -> tuple[tuple[Any, Any, IPD, jax.Array], jax.Array]:
    """One rollout and its epochs of minibatches; the mean reward of an agent's turn is told."""
    params, memory, worlds, key = carry
    key, key_play, key_shuffle = jax.random.split(key, 3)
    worlds, sample = rollout(params, worlds, key_play)
    gain = advantages(sample, apply(params["critic"], jax.vmap(ipd_observe)(worlds))[..., 0])
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (sample, gain))

    def minibatch(carry: tuple[Any, Any], part: Any) -> tuple[tuple[Any, Any], None]:
        params, memory = carry
        change, memory = optimiser.update(jax.grad(loss)(params, part), memory, params)
        return (optax.apply_updates(params, change), memory), None

    def epoch(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
        order = jax.random.permutation(key, flat[1].shape[0])
        parts = jax.tree.map(lambda x: x[order].reshape(MINIBATCHES, -1, *x.shape[1:]), flat)
        return jax.lax.scan(minibatch, carry, parts)[0], None

    (params, memory), _ = jax.lax.scan(epoch, (params, memory), jax.random.split(key_shuffle, EPOCHS))
    return (params, memory, worlds, key), sample.reward.mean()


def ippo(num_envs: int, seconds: float) -> dict[str, Any]:
    """Training of independent PPO with shared weights on the IPD, everything in one jitted update."""
    a, b, key = jax.random.split(jax.random.key(0), 3)
    params = {"actor": network(a, 5, 2, 0.01), "critic": network(b, 5, 1, 1.0)}
    optimiser = optax.chain(optax.clip_by_global_norm(NORM), optax.adam(RATE, eps=1e-5))
    start = IPD(jnp.zeros(num_envs, jnp.int32), jnp.zeros(num_envs, jnp.int32))
    carried = [(params, optimiser.init(params), start, key)]
    jitted = jax.jit(lambda carry: update(optimiser, carry))
    rewards = []

    def call() -> Any:
        carried[0], reward = jitted(carried[0])
        rewards.append(reward)
        return reward

    speed = num_envs * ROLLOUT * median_rate(call, seconds)
    told = {"updates": len(rewards), "first_reward": float(rewards[0]), "last_reward": float(rewards[-1])}
    return row("ipd", num_envs, speed, training="ippo", **told)


def rows(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Everything that was asked for."""
    for num_envs in arguments.num_envs:
        if arguments.ippo:
            yield ippo(num_envs, arguments.seconds)
        for world in arguments.worlds:
            yield play(world, num_envs, arguments.seconds)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="*", default=[], help="JaxMARL's names, such as coin_game")
    parser.add_argument("--num-envs", nargs="+", type=int, default=[64, 1024, 8192])
    parser.add_argument("--seconds", type=float, default=0.5, help="length of one timed repeat; the median of three is kept")
    parser.add_argument("--ippo", action="store_true", help="also training of IPPO on the iterated prisoner's dilemma")
    for found in rows(parser.parse_args()):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
