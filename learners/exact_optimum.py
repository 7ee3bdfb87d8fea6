"""The best that a team can do in a game tree, by exact search over what is commonly known (Nayyar et al. 2013; Dibangoye et al. 2016).

Histories that no player can tell apart, or that somebody takes another to be unable to tell apart, and so on, make a public state: both
agree on it. There a coordinator without private knowledge hands each mover a prescription, a move for every information state that it
may be in. With deterministic policies all that a prescription can do is to keep histories or to drop them, so that a public state and
the set of histories that the prescriptions before have kept are the coordinator's whole state:

    F(S) = max over prescriptions of Σ_{h ∈ S} P(h) E[r] + Σ over public states S' of what is kept of F(S'),

P(h) being chance's share. Bounded above by what players would get who see everything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from interplay.envs.tree import Bools, Floats, Ints, Tree
from interplay.learners.exact_zsc import log_reach, uniform

Known = tuple[int, ...]  # the histories of a public state that are left


class TooLarge(RuntimeError):
    """The search was given up."""


def public_states(tree: Tree) -> Ints:
    """`[N]` the public state of each history: the finest split in which nobody takes another split for possible."""
    nodes = np.repeat(np.arange(tree.nodes), tree.players)
    joined = coo_array((np.ones(len(nodes)), (nodes, tree.nodes + tree.info.ravel())), shape=(tree.nodes + tree.infos,) * 2)
    return connected_components(joined, directed=False)[1][: tree.nodes]


def clairvoyant(tree: Tree) -> Floats:
    """What is left to win from each history on for players who see all but chance's future, `[N]`."""
    best = np.zeros(tree.nodes)
    starts = np.flatnonzero(np.diff(tree.parent * tree.actions + tree.move, prepend=-1))
    for depth in reversed(range(tree.depth)):
        nodes, arcs = tree.layer(depth)
        child = tree.child[arcs]
        after = tree.chance[arcs] * (tree.reward[arcs] + np.where(child >= 0, best[child], 0.0))
        here = starts[(starts >= arcs.start) & (starts < arcs.stop)]
        of_move = np.add.reduceat(after, here - arcs.start)
        parent = tree.parent[here]
        best[nodes] = np.maximum.reduceat(of_move, np.flatnonzero(np.diff(parent, prepend=-1)))
    return best


@dataclass(frozen=True)
class Option:
    """A move in an information state: what it pays at once, at most, and what it leads to (by public state)."""

    move: int
    paid: float
    bound: float
    leads: dict[int, Known]


def prescriptions(options: list[list[Option]]) -> Iterator[tuple[float, tuple[Option, ...]]]:
    """One option of each row, in all ways, by falling sum of bounds; with the sum. Made one by one: there may be very many."""
    ranked = [sorted(row, key=lambda o: -o.bound) for row in options]
    first: tuple[int, ...] = (0,) * len(ranked)
    heap: list[tuple[float, tuple[int, ...]]] = [(-sum(row[0].bound for row in ranked), first)]
    seen: set[tuple[int, ...]] = {first}
    while heap:
        bound, at = heappop(heap)
        yield -bound, tuple(row[k] for row, k in zip(ranked, at, strict=True))
        for r, row in enumerate(ranked):
            following = (*at[:r], at[r] + 1, *at[r + 1 :])
            if at[r] + 1 < len(row) and following not in seen:
                seen.add(following)
                heappush(heap, (bound + row[at[r]].bound - row[at[r] + 1].bound, following))


class Search:
    """The recursion F, remembered. `looked` counts the prescriptions that were looked at."""

    def __init__(self, tree: Tree, limit: int) -> None:
        self.tree, self.limit, self.looked, self.public = tree, limit, 0, public_states(tree)
        self.weight = np.exp(log_reach(tree, None)[:, -1])
        self.ahead = clairvoyant(tree)
        self.found: dict[Known, tuple[float, dict[int, int]]] = {}

    def option(self, nodes: list[int], move: int) -> Option:
        """A move in all of these histories, which the mover cannot tell apart."""
        tree, paid, bound, leads = self.tree, 0.0, 0.0, {}
        for n in nodes:
            for e in range(tree.arc_of[n], tree.arc_of[n + 1]):
                if tree.move[e] != move:
                    continue
                weight, child = self.weight[n] * tree.chance[e], int(tree.child[e])
                paid += weight * tree.reward[e]
                if child >= 0:
                    bound += weight * self.ahead[child]
                    leads.setdefault(int(self.public[child]), []).append(child)
        return Option(move, paid, paid + bound, {state: tuple(kept) for state, kept in leads.items()})

    def best(self, known: Known) -> tuple[float, dict[int, int]]:
        """F and the best prescription, by information state."""
        if known in self.found:
            return self.found[known]
        tree, rows = self.tree, {}
        for n in known:
            rows.setdefault(int(tree.row[n]), []).append(n)
        options = [[self.option(nodes, int(a)) for a in np.flatnonzero(tree.legal[row])] for row, nodes in rows.items()]
        most, chosen = -np.inf, ()
        for bound, choice in prescriptions(options):
            if bound <= most + 1e-12:
                break
            self.looked += 1
            if self.looked > self.limit:
                raise TooLarge(f"more than {self.limit} prescriptions: choose a smaller game or a greater limit")
            total = self.total(choice, most)
            if total > most:
                most, chosen = total, choice
        answer = most, {row: o.move for row, o in zip(rows, chosen, strict=True)}
        self.found[known] = answer
        return answer

    def total(self, choice: tuple[Option, ...], enough: float) -> float:
        """What a prescription is worth; -inf as soon as it cannot be more than `enough`."""
        total, parts = sum(o.bound for o in choice), {}
        for option in choice:
            for state, kept in option.leads.items():
                parts[state] = parts.get(state, ()) + kept
        for kept in parts.values():
            known = tuple(sorted(kept))
            total += self.best(known)[0] - float(self.weight[list(known)] @ self.ahead[list(known)])
            if total <= enough + 1e-12:
                return -np.inf
        return total

    def fill(self, policy: Floats, done: Bools, known: Known) -> None:
        """Write the best prescriptions from here on into a policy."""
        moves = self.best(known)[1]
        following: dict[int, list[int]] = {}
        for n in known:
            row = int(self.tree.row[n])
            policy[row], done[row] = 0, True
            policy[row, moves[row]] = 1
            for e in range(self.tree.arc_of[n], self.tree.arc_of[n + 1]):
                child = int(self.tree.child[e])
                if self.tree.move[e] == moves[row] and child >= 0:
                    following.setdefault(int(self.public[child]), []).append(child)
        for kept in following.values():
            self.fill(policy, done, tuple(sorted(kept)))


def optimum(tree: Tree, limit: int = 1_000_000) -> tuple[float, Floats, int]:
    """The optimum of self-play, a deterministic joint policy that reaches it (uniform where it never comes), prescriptions looked at.

    Raises:
        TooLarge: where more than `limit` prescriptions would have to be looked at.
    """
    search, starts = Search(tree, limit), {}
    for n in range(len(tree.deal)):
        starts.setdefault(int(search.public[n]), []).append(n)
    roots = [tuple(nodes) for nodes in starts.values()]
    total = sum(search.best(known)[0] for known in roots)
    policy, done = uniform(tree), np.zeros(tree.infos, bool)
    for known in roots:
        search.fill(policy, done, known)
    return total, policy, search.looked
