"""Other-Play (Hu et al. 2020) on game trees, exactly, and its tie-breaking (Treutlein et al. 2021).

Φ is a group of renamings of a game (`envs/symmetry.py`). Other-Play looks for the joint policy that does best where every player calls
things by names of its own,

    J_OP(π) = E_{φ₁, ..., φ_n ~ U(Φ)} J(φ₁(π)₁, ..., φ_n(π)_n) = J(π̄),

π̄ being the policy that plays like the mixture of all φ(π). Such policies are those that renamings leave as they are, and these are
searched directly: in each information state a policy chooses a class of moves that renamings exchange, and within the class evenly.
"""

from dataclasses import dataclass

import numpy as np

from interplay.envs.symmetry import classes, orbits, renamed
from interplay.envs.tree import Floats, Ints, Tree
from interplay.learners.exact_zsc import cross_play, gradient, log_reach, reach, seated, value


def other_play_value(tree: Tree, policy: Floats, places: Ints) -> float:
    """J_OP of a joint policy `[I, A]` of two players under a group `[G, I * A]`, by its definition: all pairs of renamings."""
    versions = np.stack([renamed(policy, place) for place in places])
    return float(cross_play(tree, versions).mean())


def symmetrised(tree: Tree, policy: Floats, places: Ints) -> Floats:
    """π̄ `[I, A]`: the mixture, drawn anew for each game and player, of all φ(π), as a policy that plays alike (Kuhn 1953).

    π̄(a | I) = Σ_φ x_φ(I) φ(π)(a | I) / Σ_φ x_φ(I), where x_φ(I) is the product of φ(π)'s probabilities of the owner's own moves up
    to I. Where none of them comes to I, the plain mean.
    """
    versions = np.stack([renamed(policy, place) for place in places])
    with np.errstate(divide="ignore"):
        share = np.exp(log_reach(tree, np.log(versions)))
    own = np.ones((len(versions), tree.infos))
    for p in range(tree.players):
        own[:, tree.info[:, p]] = share[..., p]
    own = np.where(own.sum(0) > 0, own, 1.0)
    return (own[..., None] * versions).sum(0) / own.sum(0)[:, None]


def best_symmetrised(tree: Tree, forms: tuple[Floats, Floats, Floats], places: Ints) -> tuple[float, Floats]:
    """The optimum of Other-Play by brute force, and a deterministic π `[I, A]` that reaches it, from `exact_zsc.normal_form`.

    J_OP is linear in each player's part if renamings keep the seats, so that some deterministic policy is optimal. `ValueError` where
    they exchange them: the optimum may be a mixture.
    """
    one, two, payoff = forms
    if any((tree.owner[place // tree.actions] != np.repeat(tree.owner, tree.actions)).any() for place in places):
        raise ValueError("renamings exchange the seats: some mixture may be better than all deterministic policies")
    rows = {policy.tobytes(): k for k, policy in enumerate(two)}
    mixed = np.zeros_like(payoff)
    for place in places:
        mixed += payoff[:, [rows[policy.tobytes()] for policy in renamed(two, place)]] / len(places)
    first, second = np.unravel_index(mixed.argmax(), mixed.shape)
    return float(mixed.max()), one[first] + two[second]


class Equivariant:
    """Policies that a group leaves as they are, by the logits of classes of moves, and how they climb J.

    Args:
        tree: the game.
        places: the group `[G, I * A]`; the identity alone makes this plain self-play.

    With m_c(I) the probability of class c and Q_c(I) its mean value given I, all logits take the natural gradient's step
    θ_c += η (Q_c(I) - Σ_c' m_c'(I) Q_c'(I)) / s, s being the largest reward: orbits of (I, a) share a logit, and have equal Q.
    """

    def __init__(self, tree: Tree, places: Ints) -> None:
        self.tree, self.orbit = tree, orbits(tree, places)
        self.together, self.size = classes(tree, self.orbit)
        self.count = int(self.orbit.max()) + 1
        self.scale = float(np.abs(tree.reward).max())
        self.members = np.maximum(np.bincount(self.orbit[tree.legal], minlength=self.count), 1)

    def policy(self, logits: Floats) -> Floats:
        """`[P, I, A]` from logits `[P, orbits]`."""
        score = np.where(self.tree.legal, logits[:, self.orbit] - np.log(self.size), -np.inf)
        score = np.where(self.tree.acts[:, None], score, 0.0)
        weight = np.exp(score - score.max(-1, keepdims=True))
        return np.where(self.tree.legal, weight / weight.sum(-1, keepdims=True), 0.0)

    def climb(self, logits: Floats, rate: float) -> Floats:
        """One step for each of P policies."""
        tree, policy = self.tree, self.policy(logits)
        slope, met = gradient(tree, policy), reach(tree, policy)
        flat = np.stack([np.bincount(tree.row, one, tree.infos) for one in met])[..., None]  # P(I)
        q = np.divide(slope, flat, out=np.zeros_like(slope), where=flat > 1e-300)
        better = np.where(tree.legal, q - (policy * q).sum(-1, keepdims=True), 0.0) / self.scale
        legal = tree.legal
        step = np.stack([np.bincount(self.orbit[legal], one[legal], self.count) for one in better]) / self.members
        return logits + rate * step


def conventions(tree: Tree, policies: Floats, places: Ints, key: int = 0) -> Floats:
    """A number for each policy `[P, I, A]` that is the same for those which differ in names alone, and hardly ever for others: `[P]`.

    The return in a game with other rewards: random, but equal for moves that renamings exchange. `key` is agreed upon beforehand.
    """
    orbit = orbits(tree, places)
    rewards = np.random.default_rng(key).random(int(orbit.max()) + 1)
    return value(tree, policies, rewards[orbit.reshape(-1)[tree.slot]])


@dataclass(frozen=True)
class TieBreak:
    """What came of choosing one out of each K: the mean return of the chosen with itself, and with other teams' choices, for each K."""

    k: tuple[int, ...]
    self_play: tuple[float, ...]
    cross_play: tuple[float, ...]


def choose(worth: Floats, mark: Floats, tolerance: float = 1e-3) -> int:
    """Other-Play with tie-breaking: of the best by J_OP (to the tolerance) the one with the greatest mark."""
    return int(np.where(worth >= worth.max() - tolerance, mark, -np.inf).argmax())


def tie_breaking(tree: Tree, policies: Floats, places: Ints, sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32), key: int = 0) -> TieBreak:
    """Teams train K policies each and `choose` one; strangers from different teams then meet.

    `policies` `[P, I, A]`, already symmetrised, are dealt out in order to P // K teams, for each K of `sizes`.
    """
    worth, mark = value(tree, policies), conventions(tree, policies, places, key)
    alone, met = [], []
    for k in sizes:
        teams = len(policies) // k
        if teams < 2:
            raise ValueError(f"{len(policies)} policies make {teams} teams of {k}; two at least must meet")
        chosen = [t * k + choose(worth[t * k : (t + 1) * k], mark[t * k : (t + 1) * k]) for t in range(teams)]
        kinds, index = np.unique(np.round(mark[chosen], 6), return_inverse=True)  # those of one convention play alike
        count = np.bincount(index).astype(float)
        member = [chosen[int(np.flatnonzero(index == c)[0])] for c in range(len(kinds))]
        payoff = np.array([[value(tree, seated(tree, policies[a], policies[b])) for b in member] for a in member])
        own = float(count @ np.diag(payoff))
        alone.append(own / teams)
        met.append(float((count @ payoff @ count - own) / (teams * (teams - 1))))
    return TieBreak(tuple(sizes), tuple(alone), tuple(met))
