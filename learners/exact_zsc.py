"""Joint policies on game trees, exactly: their value, who is met how often, cross-play, and all deterministic ones where they are few.

A joint policy is `[..., I, A]`: in every information state the probabilities of its owner's moves, rows of zeros where the owner waits.
Seats own rows, so that a pair in which strangers meet is a policy made of some rows of each. Any axes before are a batch.
"""

import math
from itertools import product

import numpy as np

from interplay.envs.tree import Floats, Ints, Tree

JOINT = 1 << 20  # joint policies that brute force takes on


def arcs_taken(tree: Tree, policy: Floats) -> Floats:
    """P(move, what comes of it | history) of every arc, `[..., E]`."""
    return policy.reshape(*policy.shape[:-2], -1)[..., tree.slot] * tree.chance


def values(tree: Tree, policy: Floats, reward: Floats | None = None) -> Floats:
    """V^π(h) = E[rewards from h on], `[..., N]`; `reward` `[E]` in place of the game's own."""
    taken, paid = arcs_taken(tree, policy), tree.reward if reward is None else reward
    value = np.zeros((*policy.shape[:-2], tree.nodes))
    for depth in reversed(range(tree.depth)):
        nodes, arcs = tree.layer(depth)
        child = tree.child[arcs]
        after = np.where(child >= 0, value[..., child], 0.0)
        value[..., nodes] = np.add.reduceat(taken[..., arcs] * (paid[arcs] + after), tree.arc_of[nodes] - arcs.start, axis=-1)
    return value


def value(tree: Tree, policy: Floats, reward: Floats | None = None) -> Floats:
    """J(π), the expected return from the start, `[...]`."""
    starts = len(tree.deal)
    return values(tree, policy, reward)[..., :starts] @ tree.deal


def log_reach(tree: Tree, log_policy: Floats | None) -> Floats:
    """How each player and chance lead to a history: the logs of their shares of its probability, `[..., N, players + 1]`, chance last.

    Shares are kept apart, since beliefs leave out the believer's own. None: players' shares are 1.
    """
    batch = () if log_policy is None else log_policy.shape[:-2]
    share = np.zeros((*batch, tree.nodes, tree.players + 1))
    share[..., : len(tree.deal), -1] = np.log(tree.deal)
    flat = None if log_policy is None else log_policy.reshape(*batch, -1)
    for depth in range(tree.depth - 1):
        _, arcs = tree.layer(depth)
        going = np.flatnonzero(tree.child[arcs] >= 0) + arcs.start
        parent, child = tree.parent[going], tree.child[going]
        share[..., child, :] = share[..., parent, :]
        share[..., child, -1] += np.log(tree.chance[going])
        if flat is not None:
            share[..., child, tree.mover[parent]] += flat[..., tree.slot[going]]
    return share


def reach(tree: Tree, policy: Floats) -> Floats:
    """P(h | π), `[..., N]`."""
    with np.errstate(divide="ignore"):
        return np.exp(log_reach(tree, np.log(policy)).sum(-1))


def gather(tree: Tree, weight: Floats, index: Ints) -> Floats:
    """Sums of `weight` `[..., K]` over equal entries of `index` `[K]` (places in a table `[I, A]`): `[..., I, A]`."""
    size, batch = tree.infos * tree.actions, weight.shape[:-1]
    flat = weight.reshape(-1, weight.shape[-1])
    at = np.arange(len(flat))[:, None] * size + index
    return np.bincount(at.ravel(), flat.ravel(), len(flat) * size).astype(float).reshape(*batch, tree.infos, tree.actions)


def gradient(tree: Tree, policy: Floats) -> Floats:
    """∂J/∂π(a | I) = Σ_{h ∈ I} P(h | π) E[r + V^π(h')], `[..., I, A]`."""
    value = values(tree, policy)
    after = np.where(tree.child >= 0, value[..., tree.child], 0.0)
    return gather(tree, reach(tree, policy)[..., tree.parent] * tree.chance * (tree.reward + after), tree.slot)


def uniform(tree: Tree) -> Floats:
    """Uniform over legal moves, `[I, A]`."""
    return tree.legal / np.maximum(tree.legal.sum(-1, keepdims=True), 1)


def seated(tree: Tree, *policies: Floats) -> Floats:
    """The joint policy in which seat p plays as `policies[p]` `[..., I, A]` does."""
    if len(policies) != tree.players:
        raise ValueError(f"{len(policies)} policies for {tree.players} seats; allowed is one a seat")
    table = policies[0]
    for p in range(1, tree.players):
        table = np.where((tree.owner == p)[:, None], policies[p], table)
    return table


def cross_play(tree: Tree, policies: Floats) -> Floats:
    """J of each first player with each second, `[P, P]`, of policies `[P, I, A]` for two; self-play is the diagonal."""
    return np.stack([value(tree, seated(tree, policy[None], policies)) for policy in policies])


def mean_pair(matrix: Floats) -> tuple[float, float]:
    """Means of self-play and of cross-play: over the diagonal, and over all ordered pairs of different ones, of `[P, P]`, P > 1."""
    n = len(matrix)
    return float(np.trace(matrix) / n), float((matrix.sum() - np.trace(matrix)) / (n * (n - 1)))


def deterministic(tree: Tree, player: int) -> Floats:
    """All deterministic policies of one player, `[K, I, A]`, zero in the rows of others."""
    rows = np.flatnonzero(tree.acts & (tree.owner == player))
    count = math.prod(int(tree.legal[row].sum()) for row in rows)
    if count > JOINT:
        raise ValueError(f"player {player} has {count} deterministic policies; brute force takes {JOINT} joint ones at most")
    choices = list(product(*(np.flatnonzero(tree.legal[row]) for row in rows)))
    table = np.zeros((len(choices), tree.infos, tree.actions))
    table[np.arange(len(choices))[:, None], rows, np.array(choices)] = 1
    return table


def normal_form(tree: Tree) -> tuple[Floats, Floats, Floats]:
    """A two-player game as a matrix: deterministic policies of the first `[K, I, A]` and second `[L, I, A]`, and J `[K, L]`.

    Raises:
        ValueError: where there are more than `JOINT` pairs.
    """
    one, two = (deterministic(tree, p) for p in range(2))
    if len(one) * len(two) > JOINT:
        raise ValueError(f"{len(one)} x {len(two)} joint policies; brute force takes {JOINT} at most")
    return one, two, np.stack([value(tree, mine + two) for mine in one])


def optima(payoff: Floats) -> Ints:
    """The best pairs `[K, 2]` of a matrix."""
    return np.argwhere(payoff >= payoff.max() - 1e-9)


def stranger_value(payoff: Floats) -> float:
    """What two players get who have drawn one of the best pairs each, independently, and play their own parts of it."""
    best = optima(payoff)
    return float(payoff[best[:, 0][:, None], best[:, 1]].mean())


def best_response(tree: Tree, policy: Floats, player: int) -> Floats:
    """The policy `[I, A]` with one player's rows replaced by a deterministic best response to the others' (the first of equals)."""
    with np.errstate(divide="ignore"):
        share = log_reach(tree, np.log(policy))
    others = np.exp(np.delete(share, player, -1).sum(-1))
    answer, ahead = policy.copy(), np.zeros(tree.nodes)
    for depth in reversed(range(tree.depth)):
        nodes, arcs = tree.layer(depth)
        parent, child, slot = tree.parent[arcs], tree.child[arcs], tree.slot[arcs]
        after = tree.chance[arcs] * (tree.reward[arcs] + np.where(child >= 0, ahead[child], 0.0))
        rows = np.unique(tree.row[nodes][tree.mover[nodes] == player])
        if len(rows):
            worth = np.where(tree.legal[rows], gather(tree, others[parent] * after, slot)[rows], -np.inf)
            answer[rows] = np.eye(tree.actions)[worth.argmax(-1)]
        ahead[nodes] = np.add.reduceat(answer.ravel()[slot] * after, tree.arc_of[nodes] - arcs.start)
    return answer
