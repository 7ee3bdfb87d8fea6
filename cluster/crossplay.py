"""`interplay crossplay RUN|BOT...`: who plays well with whom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from rich.console import Console
from rich.table import Table

from interplay.cluster import checkpoint
from interplay.cluster.experiment_worlds import WorldExperiment
from interplay.cluster.record import RunFolder, write
from interplay.envs import hanabi, registry
from interplay.envs.core import UsageError, World, did_you_mean
from interplay.envs.engine import Batch
from interplay.policies.hanabi_bots import BOTS, bot
from interplay.policies.meeting import Games, meet
from interplay.policies.player import Player


@dataclass(frozen=True)
class CrossplayArguments:
    """Let every two of several trained policies and rule bots play together, in both seatings, on the same decks.

    Attributes:
        entrants: run folders, and names of rule bots.
        games: of each ordered pair.
        seed: of the games.
        world: where bots meet when no run is among the entrants.
        players: how many sit at the table, the first of a pair in seat 0, the second in all others; 0 for the runs' (or the world's) own.
        greedy: trained policies play their likeliest move, not one drawn.
        env_actors: processes that share the pairs, over Ray; 0 for this one.
        address: host:port of a running Ray head, with `env_actors`.
        out: the folder to write, new or empty.
    """

    entrants: Annotated[tuple[str, ...], tyro.conf.Positional]
    games: int = 1000
    seed: int = 1_000_003
    world: str = "hanabi"
    players: int = 0
    greedy: bool = False
    env_actors: int = 0
    address: str | None = None
    out: Path = Path("crossplay")


@dataclass(frozen=True)
class Contest:
    """What is played: names of the entrants, a world, how many games, from which seed."""

    entrants: tuple[str, ...]
    world: str
    params: dict[str, Any]
    games: int
    seed: int
    greedy: bool


def main(arguments: Sequence[str]) -> None:
    """Play all pairs; prints the matrix, writes tables and pictures."""
    options = tyro.cli(CrossplayArguments, prog="interplay crossplay", args=list(arguments))
    if options.games < 2 or options.env_actors < 0 or not 0 <= options.seed < 2**32:
        raise UsageError("--games are whole numbers from 2, --env-actors from 0, --seed from 0 to 2**32 - 1")
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise UsageError(f"{options.out} is there already and not empty; nothing was written. Allowed is a new folder: --out DIR")
    contest = make_contest(options)
    pairs = [(i, j) for i in range(len(contest.entrants)) for j in range(len(contest.entrants))]
    found = spread(contest, pairs, options) if options.env_actors else {pair: play(contest, *pair) for pair in pairs}
    rows = [found[pair][0] for pair in pairs]
    report(contest, rows, {pair: found[pair][1] for pair in pairs}, options.out)


def make_contest(options: CrossplayArguments) -> Contest:
    """The contest that was asked for; `UsageError` where entrants are unknown or cannot meet."""
    if not options.entrants:
        raise UsageError(f"crossplay needs run folders or bots: interplay crossplay RUN|BOT...; bots are {', '.join(BOTS)}")
    worlds: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in options.entrants:
        if name in BOTS:
            continue
        if not Path(name).exists():
            raise UsageError(f"{name!r} is neither a run folder nor a rule bot{did_you_mean(name, BOTS)}")
        trained = RunFolder.open(Path(name)).experiment
        if not isinstance(trained, WorldExperiment):
            raise UsageError(f"{name} is a run of a {type(trained).__name__}; allowed are runs in a registered world")
        # scored by the game's own rules, whatever was changed for training
        worlds[name] = trained.world.name, {k: v for k, v in trained.world.params().items() if k not in ("permute", "bomb")}
    kinds = list(worlds.values()) or [(options.world, {})]
    if any(kind != kinds[0] for kind in kinds):
        raise UsageError("the runs play different games: " + "; ".join(f"{name}: {kind}" for name, kind in worlds.items()))
    world, params = kinds[0]
    if options.players:
        params = params | {"players": options.players}
    registry.world(world, **params)
    return Contest(options.entrants, world, params, options.games, options.seed, options.greedy)


def player(name: str, greedy: bool) -> Player:
    """A rule bot, or a run's policy at its last checkpoint."""
    if name in BOTS:
        return bot(name)
    folder = RunFolder.open(Path(name))
    learner, found = folder.experiment.learner(), folder.experiment.judge()
    learner.load_state_dict(checkpoint.load(folder.checkpoints).learner)
    found.load(learner.policy())
    if greedy:
        found.greedy = True  # type: ignore[attr-defined]
    return found


def play(contest: Contest, i: int, j: int) -> tuple[dict[str, Any], np.ndarray]:
    """Entrant i in seat 0, entrant j in all others: a row of the table, and how often which move followed which."""
    world = registry.world(contest.world, **contest.params)
    first, second = (player(contest.entrants[k], contest.greedy) for k in (i, j))
    batch = Batch(world, contest.games, contest.seed)
    games = meet(batch, [first, *[first if i == j else second] * (world.agents - 1)])
    score = games.score.mean(1)
    row = {
        "first": contest.entrants[i],
        "second": contest.entrants[j],
        "games": contest.games,
        "score": float(score.mean()),
        "stderr": float(score.std()) / math.sqrt(contest.games),
    }
    return row | (ends(batch, games) if world.rules is hanabi else {}), games.replies.cpu().numpy()


def ends(batch: Batch, games: Games) -> dict[str, float]:
    """Hanabi: shares of games that lost the last life, and that were perfect."""
    world = batch.world
    fields = world.record.fields
    assert fields is not None
    (players, size), (deck,), (cards,) = (fields[name][0].shape for name in ("hand", "deck", "discarded"))
    at = (players - 1) * size * cards + players + deck - players * size + cards + world.default["most_info"]
    lives = batch.views(games.final)[:, 0, at : at + world.default["most_lives"]]
    return {
        "bombed": float((lives.sum(1) == 0).double().mean()),
        "perfect": float((games.score[:, 0] == cards).double().mean()),
    }


def spread(contest: Contest, pairs: list[tuple[int, int]], options: CrossplayArguments) -> dict[tuple[int, int], Any]:
    """All pairs over so many Ray workers."""
    import ray

    from interplay.cluster.streaming import connect

    connect(options.address, options.env_actors)
    absolute = tuple(name if name in BOTS else str(Path(name).resolve()) for name in contest.entrants)
    remote: Any = ray.remote(num_cpus=1)(_play_quietly)
    there = ray.put(Contest(absolute, contest.world, contest.params, contest.games, contest.seed, contest.greedy))
    found = dict(zip(pairs, ray.get([remote.remote(there, *pair) for pair in pairs]), strict=True))
    for (i, j), (row, _) in found.items():
        row |= {"first": contest.entrants[i], "second": contest.entrants[j]}
    return found


def _play_quietly(contest: Contest, i: int, j: int) -> tuple[dict[str, Any], np.ndarray]:
    torch.set_num_threads(1)
    return play(contest, i, j)


def summary(contest: Contest, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the diagonal and over all else, with the standard errors over entrants and over pairs."""
    table = {(row["first"], row["second"]): row["score"] for row in rows}
    alone = [table[a, a] for a in contest.entrants]
    names = contest.entrants
    apart = [(table[a, b] + table[b, a]) / 2 for k, a in enumerate(names) for b in names[k + 1 :]]
    spread_of = lambda values: float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    found = {"self_play": float(np.mean(alone)), "self_play_stderr": spread_of(alone)}
    if apart:
        found |= {"cross_play": float(np.mean(apart)), "cross_play_stderr": spread_of(apart)}
    return {"world": contest.world, "params": contest.params, "games": contest.games, "seed": contest.seed, "metrics": found}


def report(contest: Contest, rows: list[dict[str, Any]], replies: dict[tuple[int, int], np.ndarray], out: Path) -> None:
    """Print the matrix; write `crossplay.parquet`, `summary.json`, `scores.png/svg`, and `replies-K.png` for every entrant with itself."""
    from interplay.cluster import heatmap

    names = contest.entrants
    labels = [Path(name).name for name in names]
    table = Table(title=f"{contest.world}: score, rows have seat 0, mean ± standard error of {contest.games} games")
    for column in ("", *labels):
        table.add_column(column)
    scores = np.array([row["score"] for row in rows]).reshape(len(names), len(names))
    errors = np.array([row["stderr"] for row in rows]).reshape(len(names), len(names))
    for k, label in enumerate(labels):
        table.add_row(label, *(f"{s:.2f} ± {e:.2f}" for s, e in zip(scores[k], errors[k], strict=True)))
    found = summary(contest, rows)
    Console().print(table)
    print("  ".join(f"{name}: {value:.3f}" for name, value in found["metrics"].items()))
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), out / "crossplay.parquet")
    write(out / "summary.json", found)
    heatmap.scores(scores, labels, contest.world, out / "scores")
    world: World = registry.world(contest.world, **contest.params)
    if "acting" in world.optional:
        for k, label in enumerate(labels):
            heatmap.replies(replies[k, k], world.action_names, label, out / f"replies-{k}")
    print(out)
