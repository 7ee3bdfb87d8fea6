"""`python -m interplay.cluster.bench_obl`: what imagining costs Off-Belief Learning's env actors, beside acting alone, in turn.

One thread. Level 1 draws hands by the worlds' own rules, level 2 from a learned belief (untrained here: that costs the same).
"""

import dataclasses
import statistics
import time

from interplay.cluster.experiment import threads
from interplay.cluster.experiment_obl import OBLExperiment
from interplay.cluster.recipes import recipe
from interplay.policies.obl_player import OBLPlayer
from interplay.policies.rollout import rollout

REPEATS = 7


class Plain:
    """The same player, who does not imagine."""

    def __init__(self, player: OBLPlayer) -> None:
        self.act = player.act


def measure(made: OBLExperiment, stage: int, turns: int) -> dict[str, float]:
    """Env steps/s of acting alone and with imagined targets (medians), and the cost of imagining as a multiple of acting."""
    threads(1)
    env, player = made.env(0), made.player()
    assert isinstance(player, OBLPlayer)
    player.stage = stage
    carry, draw = player.start(env), 0
    seconds: dict[str, list[float]] = {"plain": [], "imagining": []}
    for repeat in range(REPEATS + 1):
        for name, who in (("plain", Plain(player)), ("imagining", player)):
            began = time.perf_counter()
            _, carry = rollout(env, who, turns, draw, carry)  # type: ignore[arg-type]
            draw += turns
            if repeat:
                seconds[name].append((time.perf_counter() - began) / turns)
    plain, imagining = (statistics.median(x) for x in seconds.values())
    return {"plain": env.n / plain, "imagining": env.n / imagining, "cost": (imagining - plain) / plain}


def main() -> None:
    """The small recipes, and the full game with the published networks."""
    for name, tile, turns in (("hanabi-very-small-obl", 128, 30), ("hanabi-small-obl", 128, 20), ("hanabi-obl", 800, 2)):
        experiment = recipe(name).experiment
        for form in ("step", "round"):
            for stage in (0, 2):
                run = dataclasses.replace(experiment.run, tile=tile)
                found = measure(dataclasses.replace(experiment, run=run, form=form), stage, turns)  # type: ignore[call-arg]
                speeds = f"{found['plain']:10,.0f} {found['imagining']:10,.0f} env steps/s, imagining costs {found['cost']:.2f} x acting"
                print(f"{name:22} {tile:4} worlds, {form:5}, level {1 + stage // 2}: {speeds}", flush=True)


if __name__ == "__main__":
    main()
