"""OpenSpiel's speed, for comparison: its Hanabi for two from Python, one game at a time, random legal moves, both players' full views.

python -m interplay.cluster.bench_openspiel
"""

import json
import random
import statistics
import time
from typing import Any

REPEATS = 3


def turns(game: Any, seconds: float) -> float:
    """Turns a second; dealing is no turn."""
    done, start, state = 0, time.perf_counter(), game.new_initial_state()
    while time.perf_counter() - start < seconds:
        if state.is_terminal():
            state = game.new_initial_state()
        elif state.is_chance_node():
            cards, odds = zip(*state.chance_outcomes(), strict=True)
            state.apply_action(random.choices(cards, odds)[0])
        else:
            for player in range(2):
                state.observation_tensor(player)
            state.apply_action(random.choice(state.legal_actions()))
            done += 1
    return done / (time.perf_counter() - start)


def main() -> None:
    """Print one JSON object, with the keys of `interplay bench --json`."""
    import pyspiel

    game = pyspiel.load_game("hanabi", {"players": 2})
    speed = statistics.median(turns(game, 1.0) for _ in range(REPEATS))
    print(json.dumps({"system": "openspiel", "world": "hanabi", "num_envs": 1, "device": "cpu", "threads": 1, "env_steps_per_s": speed}))


if __name__ == "__main__":
    main()
