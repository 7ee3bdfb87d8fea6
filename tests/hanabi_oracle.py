"""Hanabi beside OpenSpiel's, on the same decks and moves: every mask, every bit of every view, every reward and end.

    python tests/hanabi_oracle.py --games 2000        all player counts and variants, as many games each, half of them played well

Half of the games are played at random, half by a cheat who sees the own hand and so reaches the late game.
"""

import argparse
import time
from typing import Any

import numpy as np
import pyspiel
import torch

from interplay.envs.bits import unpack
from interplay.envs.engine import Batch
from interplay.envs.registry import world

SMALL = {"colors": 2, "ranks": 5, "hand_size": 2, "max_information_tokens": 3, "max_life_tokens": 1}
VARIANTS: dict[str, dict[str, Any]] = {
    **{f"hanabi, {p} players": {"players": p} for p in (2, 3, 4, 5)},
    "hanabi-small": {"players": 2, **SMALL},
    "hanabi-very-small": {"players": 2, **SMALL, "colors": 1},
    "2/2/2/3/1": {"players": 2, **SMALL, "ranks": 2},
    "1/2/1/1/1": {"players": 2, "colors": 1, "ranks": 2, "hand_size": 1, "max_information_tokens": 1, "max_life_tokens": 1},
    "4/3/3/5/2, 3 players": {"players": 3, "colors": 4, "ranks": 3, "hand_size": 3, "max_information_tokens": 5, "max_life_tokens": 2},
}


def cheat(row: Any, legal: np.ndarray, dice: np.random.Generator) -> int:
    """A move for a player who sees the own cards: play what fits, else discard what is dead, else hint, else anything."""
    q, ranks, size = int(row["mover"]), len(row["copies"]), row["hand"].shape[1]
    hand, high = row["hand"][q].astype(int), row["fireworks"].astype(int)
    held = [k for k in range(size) if hand[k] >= 0]
    fits = [k for k in held if high[hand[k] // ranks] == hand[k] % ranks]
    dead = [k for k in held if high[hand[k] // ranks] > hand[k] % ranks and legal[k]]
    hints = np.flatnonzero(legal[2 * size :]) + 2 * size
    if fits and dice.random() < 0.97:
        return size + fits[0]
    if dead and (row["info"] < 3 or not len(hints)):
        return dead[0]
    if len(hints):
        return int(dice.choice(hints))
    discards = np.flatnonzero(legal[:size])
    return int(dice.choice(discards if len(discards) else np.flatnonzero(legal)))


def deal(state: Any, deck: list[int]) -> None:
    """Answer OpenSpiel's chance nodes from the deck."""
    while state.is_chance_node():
        state.apply_action(deck.pop(0))


def compare(params: dict[str, Any], games: int, seed: int) -> tuple[int, int]:
    """Play so many games of a variant in both systems; AssertionError at the first difference. Returns games and steps compared."""
    dice = np.random.default_rng(seed)
    game = pyspiel.load_game("hanabi", params)
    batch = Batch(world("hanabi", **params), games, seed=seed)
    decks = np.stack([dice.permutation(batch.world.default["deck"]) for _ in range(games)])
    batch.set_level(torch.ones(games, dtype=torch.bool), batch.pack_levels(deck=decks, given=1))
    states, rest = [game.new_initial_state() for _ in range(games)], [deck.tolist() for deck in decks]
    going, steps, size = set(range(games)), 0, batch.spec.observation[0]
    for state, deck in zip(states, rest, strict=True):
        deal(state, deck)
    while going:
        rows = batch.memory.numpy().view(batch.world.record).reshape(games)
        views, legal = unpack(batch.out.obs, size).numpy(), batch.out.legal.numpy()
        action = batch.out.legal.to(torch.uint8).argmax(-1)
        for i in going:
            state, q = states[i], int(rows[i]["mover"])
            assert state.current_player() == q, (i, steps)
            assert np.flatnonzero(legal[i, q]).tolist() == state.legal_actions(), (i, steps)
            assert not np.delete(legal[i], q, 0).any(), (i, steps)
            assert batch.out.acting[i].tolist() == [p == q for p in range(batch.agents)]
            for p in range(batch.agents):
                assert np.array_equal(views[i, p], np.asarray(state.observation_tensor(p), np.uint8)), (i, steps, p)
            move = int(dice.choice(state.legal_actions())) if i % 2 else cheat(rows[i], legal[i, q], dice)
            action[i, q] = move
            state.apply_action(move)
            deal(state, rest[i])
        out = batch.step(action)
        final = unpack(out.final_obs, size).numpy()
        steps += len(going)
        for i in sorted(going):
            state = states[i]
            assert out.reward[i].tolist() == state.rewards(), (i, steps)
            assert (bool(out.terminated[i]), bool(out.truncated[i])) == (state.is_terminal(), False), (i, steps)
            if state.is_terminal():
                for p in range(batch.agents):
                    assert np.array_equal(final[i, p], np.asarray(state.observation_tensor(p), np.uint8)), (i, steps, p)
                going.discard(i)
    return games, steps


def main() -> None:
    """Compare all variants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, params in VARIANTS.items():
        start, steps, left = time.perf_counter(), 0, arguments.games
        while left:
            games, more = compare(params, min(left, 250), arguments.seed + left)
            steps, left = steps + more, left - games
        print(f"{name}: {arguments.games} games, {steps} steps, 0 differences, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
