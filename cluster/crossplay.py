"""`interplay crossplay RUN|BOT...`: who plays well with whom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from interplay.cluster.entrants import entrant
from interplay.cluster.record import write
from interplay.envs import hanabi, registry
from interplay.envs.core import UsageError, World
from interplay.envs.engine import Batch
from interplay.policies.hanabi_bots import BOTS
from interplay.policies.meeting import meet

WORLDS = 65_536  # played at once, at most (but all of a pair): a process with 64,000 of the full game held 0.8 GB

Pair = tuple[int, int]  # numbers of entrants: who sits in seat 0, who in all others
Meeting = tuple[dict[str, Any], np.ndarray]  # a row of the table, and how often which move followed which


@dataclass(frozen=True)
class CrossplayArguments:
    """Let every two of several trained policies and rule bots play together, in both seatings, on the same decks.

    Attributes:
        entrants: RUN (its last checkpoint), RUN@STEP (an earlier one), and names of rule bots.
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
    found = spread(contest, pairs, options) if options.env_actors else play(contest, pairs)
    report(contest, [row for row, _ in found], {pair: replies for pair, (_, replies) in zip(pairs, found, strict=True)}, options.out)


def make_contest(options: CrossplayArguments) -> Contest:
    """The contest that was asked for; `UsageError` where entrants are unknown or cannot meet."""
    if not options.entrants:
        raise UsageError(f"crossplay needs run folders or bots: interplay crossplay RUN|BOT...; bots are {', '.join(BOTS)}")
    trained = [e for e in map(entrant, options.entrants) if e.path is not None]
    kinds = [e.world for e in trained] or [(options.world, {})]
    if any(kind != kinds[0] for kind in kinds):
        raise UsageError("the runs play different games: " + "; ".join(f"{e.name}: {e.world}" for e in trained))
    world, params = kinds[0]
    if options.players:
        params = params | {"players": options.players}
    if any(e.sad for e in trained):
        params = params | {"sad": True}  # what is seen besides lies behind all else, where the others do not look
    registry.world(world, **params)
    return Contest(options.entrants, world, params, options.games, options.seed, options.greedy)


def play(contest: Contest, pairs: Sequence[Pair]) -> list[Meeting]:
    """Pairs (i, j) of entrants, i in seat 0 and j in all others, as many at once as `WORLDS` allows."""
    world = registry.world(contest.world, **contest.params)
    players = {k: entrant(contest.entrants[k]).player(contest.greedy) for k in sorted({k for pair in pairs for k in pair})}
    decks, some = Batch(world, contest.games, contest.seed), max(1, WORLDS // contest.games)
    found = []
    for part in (pairs[k : k + some] for k in range(0, len(pairs), some)):
        batch = decks.part(torch.arange(contest.games).repeat(len(part)))
        games = meet(batch, [[players[i], *[players[j]] * (world.agents - 1)] for i, j in part])
        each = zip(part, games.score.split(contest.games), games.final.split(contest.games), games.replies, strict=True)
        found += [(tell(contest, batch, pair, score, final), replies.numpy()) for pair, score, final, replies in each]
    return found


def tell(contest: Contest, batch: Batch, pair: Pair, score: Tensor, final: Tensor) -> dict[str, Any]:
    """A pair's row of the table from its games' scores `[N, A]` and last views `[N, A, *stored]`."""
    mean = score.mean(1)
    row = {
        "first": contest.entrants[pair[0]],
        "second": contest.entrants[pair[1]],
        "games": contest.games,
        "score": float(mean.mean()),
        "stderr": float(mean.std()) / math.sqrt(contest.games),
    }
    return row | (ends(batch, score, final) if batch.world.rules is hanabi else {})


def ends(batch: Batch, score: Tensor, final: Tensor) -> dict[str, float]:
    """Hanabi: shares of games that lost the last life, and that were perfect."""
    fields = batch.world.record.fields
    assert fields is not None
    (cards,) = fields["discarded"][0].shape
    lives = batch.views(final)[:, 0, batch.spec.section("lives")]
    return {
        "bombed": float((lives.sum(1) == 0).double().mean()),
        "perfect": float((score[:, 0] == cards).double().mean()),
    }


def spread(contest: Contest, pairs: list[Pair], options: CrossplayArguments) -> list[Meeting]:
    """All pairs over so many Ray workers, to each an equal share of them."""
    import ray

    from interplay.cluster.connect import connect

    connect(options.address, options.env_actors)
    absolute = tuple(name if name in BOTS else str(Path(name).resolve()) for name in contest.entrants)
    remote: Any = ray.remote(num_cpus=1)(_play_quietly)
    there = ray.put(replace(contest, entrants=absolute))
    cuts = [len(pairs) * k // options.env_actors for k in range(options.env_actors + 1)]
    shares = ray.get([remote.remote(there, pairs[a:b]) for a, b in pairwise(cuts) if a < b])
    found = [meeting for share in shares for meeting in share]
    for (i, j), (row, _) in zip(pairs, found, strict=True):
        row |= {"first": contest.entrants[i], "second": contest.entrants[j]}
    return found


def _play_quietly(contest: Contest, pairs: list[Pair]) -> list[Meeting]:
    torch.set_num_threads(1)
    return play(contest, pairs)


def summary(contest: Contest, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the diagonal and over all else, with the standard errors over entrants and over pairs."""
    table = {(row["first"], row["second"]): row["score"] for row in rows}
    alone = [table[a, a] for a in contest.entrants]
    names = contest.entrants
    apart = [(table[a, b] + table[b, a]) / 2 for k, a in enumerate(names) for b in names[k + 1 :]]
    found = dict[str, float]()
    for name, values in (("self_play", alone), ("cross_play", apart)):
        if values:
            found[name] = float(np.mean(values))
        if len(values) > 1:
            found[f"{name}_stderr"] = float(np.std(values, ddof=1)) / math.sqrt(len(values))
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
