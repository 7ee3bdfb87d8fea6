"""`interplay report RUN...`: one page about coordination, with tables, pictures and the published figures beside them."""

import base64
import html
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from interplay.cluster import crossplay, heatmap, plot
from interplay.cluster.crossplay import Contest, CrossplayArguments
from interplay.cluster.entrants import Entrant, entrant
from interplay.envs import hanabi, registry
from interplay.envs.core import UsageError
from interplay.envs.engine import Batch
from interplay.policies.study import study

# Two players, the full game, 25 points at most: with itself, with other seeds, by whom. Hu & Foerster 2020 and Hu et al. 2020 by their
# published raw matrices; Off-Belief Learning by its paper, levels 2 and 3 by a later re-evaluation of the released policies.
PUBLISHED = [
    ("SAD", 23.98, 2.53, "12 seeds, 132 pairs"),
    ("SAD + Other-Play", 23.93, 15.28, "12 seeds"),
    ("SAD + auxiliary task", 24.10, 17.63, "12 seeds"),
    ("SAD + auxiliary task + Other-Play", 24.06, 22.12, "12 seeds"),
    ("OBL, level 1", 20.92, 20.85, "5 seeds"),
    ("OBL, level 2", 23.41, None, "5 seeds"),
    ("OBL, level 3", 23.93, None, "5 seeds"),
    ("OBL, level 4", 24.10, 23.76, "5 seeds"),
]
MEANS = ("self_play", "cross_play")
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}img{max-width:100%}figure{display:inline-block;margin:.5rem}p{max-width:46rem}"""


@dataclass(frozen=True)
class ReportArguments:
    """Write one HTML page about how well trained policies, and rule bots, play with themselves and with strangers.

    Attributes:
        entrants: RUN, RUN@STEP, and names of rule bots.
        games: of each ordered pair.
        seed: of the games.
        greedy: trained policies play their likeliest move.
        out: the file to write, new.
    """

    entrants: Annotated[tuple[str, ...], tyro.conf.Positional]
    games: int = 1000
    seed: int = 1_000_003
    greedy: bool = False
    out: Path = Path("report.html")


def main(arguments: Sequence[str]) -> None:
    """Play all pairs, study everybody alone, and write the page; prints its path."""
    options = tyro.cli(ReportArguments, prog="interplay report", args=list(arguments))
    if options.out.exists():
        raise UsageError(f"{options.out} is there already; nothing was written. Allowed is a new file: --out FILE")
    contest = crossplay.make_contest(CrossplayArguments(options.entrants, options.games, options.seed, greedy=options.greedy))
    if registry.world(contest.world, **contest.params).rules is not hanabi:
        raise UsageError(f"report is about Hanabi; the runs play {contest.world}. For other worlds there is interplay crossplay")
    pairs = [(i, j) for i in range(len(contest.entrants)) for j in range(len(contest.entrants))]
    found = dict(zip(pairs, crossplay.play(contest, pairs), strict=True))
    who = [entrant(name) for name in contest.entrants]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(contest, who, found))
    print(options.out)


def page(contest: Contest, who: list[Entrant], found: dict[crossplay.Pair, crossplay.Meeting]) -> str:
    """The page as text."""
    rows = [row for row, _ in found.values()]
    metrics = crossplay.summary(contest, rows)["metrics"]
    parts = [
        f"<h1>{html.escape(contest.world)}: coordination</h1>",
        f"<p>{len(who)} policies, {contest.games} games of each ordered pair on the same decks (seed {contest.seed}). A game whose last "
        "life is lost scores 0. ± is the standard error over games; over policies or pairs where means of them are meant.</p>",
        listing(["", "score", "± s.e."], [[k, metrics[k], metrics.get(f"{k}_stderr", "")] for k in MEANS if k in metrics]),
        "<h2>Kinds</h2><p>Policies trained by one recipe (to one step) are of one kind. On the diagonal: apart from each other, pairs of "
        "different policies of the kind; in brackets each with itself.</p>",
        kinds(who, found),
        "<h2>All pairs</h2>",
        *pictures(contest, who, found),
        "<h2>What they knew of the cards that they played</h2><p>Doubt is the probability that a card does not fit, to who reads hints "
        "literally; the convention gap is doubt less the share that did not fit. It is about 0 for who relies on hints alone.</p>",
        studies(contest, who),
        *curves(who),
        "<h2>Published, full game, two players</h2>",
        listing(["", "with itself", "with other seeds", ""], [[a, b, "" if c is None else c, d] for a, b, c, d in PUBLISHED]),
    ]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>interplay report</title><style>{STYLE}</style>{''.join(parts)}</html>\n"
    )


def listing(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers with three decimals."""
    text = lambda x: f"{x:.3f}" if isinstance(x, float) else html.escape(str(x))
    line = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{text(x)}</{tag}>" for x in cells) + "</tr>"
    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def kinds(who: list[Entrant], found: dict[crossplay.Pair, crossplay.Meeting]) -> str:
    """Mean scores between kinds: who trained together is not counted on the diagonal, but in brackets."""
    names = list(dict.fromkeys(e.kind for e in who))
    score = np.array([[found[i, j][0]["score"] for j in range(len(who))] for i in range(len(who))])
    members = [np.array([e.kind == name for e in who]) for name in names]
    same_run = np.array([[a.path is not None and a.path == b.path for b in who] for a in who]) | np.eye(len(who), dtype=bool)
    rows = []
    for name, mine in zip(names, members, strict=True):
        row: list[Any] = [f"{name} x {mine.sum()}"]
        for other, theirs in zip(names, members, strict=True):
            apart = score[np.outer(mine, theirs) & ~same_run]
            mean = f"{apart.mean():.3f}" if apart.size else "-"
            row.append(f"{mean} ({np.diag(score)[mine].mean():.3f})" if name == other else mean)
        rows.append(row)
    return listing(["", *names], rows)


def pictures(contest: Contest, who: list[Entrant], found: dict[crossplay.Pair, crossplay.Meeting]) -> list[str]:
    """The matrix of scores, and everybody's answers to itself."""
    labels, count = [e.label for e in who], len(who)
    moves = registry.world(contest.world, **contest.params).action_names
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "x"
        score = np.array([[found[i, j][0]["score"] for j in range(count)] for i in range(count)])
        heatmap.scores(score, labels, contest.world, out)
        shown = [image(out, "mean scores, rows in seat 0")]
        for k, label in enumerate(labels):
            heatmap.replies(found[k, k][1], moves, label, out)
            shown.append(image(out, f"{label}: how moves are answered"))
    return shown


def image(path: Path, caption: str) -> str:
    """A PNG within the page."""
    data = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
    return f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}"></figure>'


def studies(contest: Contest, who: list[Entrant]) -> str:
    """What everybody knew, playing with itself."""
    world = registry.world(contest.world, **contest.params)
    rows, head = [], list[str]()
    for e in who:
        found = study(Batch(world, contest.games, contest.seed), e.player(contest.greedy)).row()
        head = list(found)
        rows.append([e.label, *found.values()])
    return listing(["", *(name.replace("_", " ") for name in head)], rows)


def curves(who: list[Entrant]) -> list[str]:
    """How the runs learned."""
    folders = list({e.path: e.folder for e in who if e.path is not None}.values())
    rows = {folder.path: folder.rows() for folder in folders}
    name = "reward_per_game/player_0"
    if not any(name in row for some in rows.values() for row in some):
        return []
    with tempfile.TemporaryDirectory() as out:
        plot.draw(folders, rows, [name], "env_steps", Path(out) / "x")
        return ["<h2>Learning curves</h2><p>In training, exploration included.</p>", image(Path(out) / "x", "learning curves")]
