"""Off-Belief Learning (Hu et al. 2021) on game trees, exactly: play on as π₁ after a past that was played by π₀.

    B_π₀(h | I)       = P(h | I, all have played π₀)
    Q^{π₀→π₁}(a | I) = Σ_{h ∈ I} B_π₀(h | I) E[r + V(h')]        π₁(a | I) ∝ exp(Q^{π₀→π₁}(a | I) / T)

by backward induction, so that π₁ is the only solution for any T > 0. Equal values (to well below T) share the probability equally:
that is how ties are broken. π₀ is uniform over legal moves at level 1, and the π₁ of the level below afterwards.

Three readings of V are about, which differ in where the belief is drawn anew. W_i(I) is the value that player i expects in the information
state I, whoever moves there.

- "once", the definition: V = V^π₁, the value of playing π₁ on from h', whatever is seen on the way. Both the past under π₀ and
  the present are imagined once, at the move that is judged.
- "turn", the two-step Bellman backup: V(h') = E[r' + W_i(I'')] where I'' is i's next turn (two steps on, for two players), and
  W_i(I'') = Σ_a π₁(a | I'') Q(a | I''). At I'' the past is imagined anew, so that the partner's move between, made by π₁ in the backup,
  counts as made by π₀ afterwards: i expects no more from it than it will make of it.
- "step", the released program: the past is imagined anew at every step, also where i waits: V(h') = W_i(I') with I' what i knows
  right after its move, W_i(I') = Σ_h B_π₀(h | I') E_{a ~ π₁ of who moves}[r + W_i(next)]. (There with a maximum for the expectation over
  i's own π₁, and the partner's exploration in its move.)

"turn" and "step" are the same where nobody else moves twice between two turns of a player (two players who alternate): one's own move
and chance tell nothing about π₀, so that B_π₀ after one's own move is B_π₀ before it, carried along. With a third player, "step" takes
the first partner's move for one of π₀'s when the second one moves. "once" differs from both wherever the partner's π₁ tells something in
its move that π₀ does not, and the reader acts on it. Only of "once" it holds that J(π₁) >= J(π₀) - t_max T / e (theorem 2): levels of the
others may be worse than those below, in a Hanabi of one colour and three ranks for one.
"""

from dataclasses import dataclass

import numpy as np

from interplay.envs.tree import Floats, Tree
from interplay.learners.exact_zsc import gather, log_reach, uniform

RESAMPLE = ("once", "turn", "step")


@dataclass(frozen=True)
class Level:
    """One level of the hierarchy.

    Attributes:
        q: `[I, A]`, zero where a move is not legal.
        log_policy: `[I, A]`, -inf there.
    """

    q: Floats
    log_policy: Floats

    @property
    def policy(self) -> Floats:
        """`[I, A]`, as `exact_zsc` takes it."""
        return np.exp(self.log_policy)


def log_uniform(tree: Tree) -> Floats:
    """Uniform over legal moves, `[I, A]`, as logs."""
    with np.errstate(divide="ignore"):
        return np.log(uniform(tree))


def belief(tree: Tree, log_policy: Floats | None) -> Floats:
    """B(h | I) for each history and what each player knows there, `[N, players]`: sums to 1 over the histories of an information state.

    None: the posterior that asks only which deals and draws agree with what was seen (in Hanabi, with the hints), as if no past
    move told anything. It differs from the one under uniform play over *legal* moves, P(h) Π_t 1 / |legal_t(h)|, where the number
    of legal moves depends on what the believer does not see.

    A believer's own moves tell it nothing and are left out. Logs all the way: moves of probability exp(-5000) still tell which
    history is the least unlikely one.

    Raises:
        ValueError: where an information state has probability 0, since others would never have moved so.
    """
    share = log_reach(tree, log_policy)
    others = np.stack([share.sum(-1) - share[:, p] if log_policy is None else left_out(share, p) for p in range(tree.players)], -1)
    top = np.full(tree.infos, -np.inf)
    np.maximum.at(top, tree.info, others)
    if not np.isfinite(top).all():
        raise ValueError(f"{(~np.isfinite(top)).sum()} information states are never reached: give every legal move some probability")
    weight = np.exp(others - top[tree.info])
    return weight / np.bincount(tree.info.ravel(), weight.ravel(), tree.infos)[tree.info]


def left_out(share: Floats, player: int) -> Floats:
    """The log-probability of each history without one player's share, `[N]`."""
    return np.delete(share, player, -1).sum(-1)


def log_softmax(tree: Tree, q: Floats, temperature: float) -> Floats:
    """Logs of ∝ exp(q / T) over legal moves, `[..., I, A]`; -inf elsewhere."""
    score = np.where(tree.legal, q / temperature, -np.inf)
    score = score - np.where(tree.acts[:, None], score.max(-1, keepdims=True), 0.0)
    total = np.where(tree.acts, np.exp(score).sum(-1), 1.0)
    return score - np.log(total)[..., None]


def off_belief(tree: Tree, believed: Floats, temperature: float = 1e-3, resample: str = "once") -> Level:
    """π₁ for the beliefs `[N, players]` of a π₀.

    Args:
        tree: the game.
        believed: as `belief` gives it.
        temperature: T > 0.
        resample: where the past is imagined anew: "once", "turn" or "step", see above.
    """
    if resample not in RESAMPLE or not temperature > 0:
        raise ValueError(
            f"resample is {resample!r} and temperature {temperature!r}; allowed are {', '.join(RESAMPLE)}, and numbers above 0"
        )
    q = np.zeros((tree.infos, tree.actions))
    log_policy = np.full_like(q, -np.inf)
    expects = np.zeros((tree.nodes, tree.players))  # what each player expects from a history on
    mine = believed[np.arange(tree.nodes), tree.mover]
    for depth in reversed(range(tree.depth)):
        nodes, arcs = tree.layer(depth)
        rows = slice(tree.info_at[depth], tree.info_at[depth + 1] if depth + 1 < tree.depth else tree.infos)
        parent, child, slot = tree.parent[arcs], tree.child[arcs], tree.slot[arcs]
        after = tree.reward[arcs, None] + np.where(child[:, None] >= 0, expects[child], 0.0)
        own = after[np.arange(len(parent)), tree.mover[parent]]
        q[rows] = gather(tree, mine[parent] * tree.chance[arcs] * own, slot)[rows]
        log_policy[rows] = log_softmax(tree, q, temperature)[rows]
        taken = np.exp(log_policy.ravel()[slot]) * tree.chance[arcs]
        expects[nodes] = np.add.reduceat(taken[:, None] * after, tree.arc_of[nodes] - arcs.start)
        if resample != "once":
            info, now = tree.info[nodes], expects[nodes]
            mean = np.bincount(info.ravel(), (believed[nodes] * now).ravel(), tree.infos)[info]
            expects[nodes] = mean if resample == "step" else np.where(tree.acts[info], mean, now)
    return Level(q, log_policy)


def hierarchy(tree: Tree, levels: int, temperature: float = 1e-3, resample: str = "once", hints_only: bool = False) -> list[Level]:
    """Levels 1 ... `levels`, each imagining the past as played by the one below.

    Level 1 believes in uniform play over legal moves, or with `hints_only` that past moves tell nothing (see `belief`).
    """
    found, past = [], None if hints_only else log_uniform(tree)
    for _ in range(levels):
        found.append(off_belief(tree, belief(tree, past), temperature, resample))
        past = found[-1].log_policy
    return found
