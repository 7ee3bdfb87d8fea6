"""Off-Belief Learning by samples, in a table: Q-learning on imagined transitions, as the released program does it, without the network.

Real games only decide which information states come up. At every step each player, also who waits, imagines a history that fits
what it knows, drawn from B_π₀; on it one step is played (one's own move as it was made, the partner's chosen anew by the current policy
in the imagined history), and that one transition is learned from:

    y = r + W_i(I'),     W_i(I') = Σ_a π(a | I') Q(a | I') on one's own turn, Q(wait | I') otherwise,     π ∝ exp(Q / T).

The fixed point is the exact "step" form of `exact_obl` at the same temperature. Members learn side by side and know nothing of each other.
"""

from dataclasses import dataclass

import numpy as np

from interplay.envs.tree import Bools, Floats, Ints, Tree
from interplay.learners.exact_obl import belief, log_softmax, log_uniform

WAIT = 0  # the entry of a row whose owner waits


@dataclass(frozen=True)
class TabularConfig:
    """How it learns.

    Attributes:
        temperature: T of the policy that is learned.
        games: real games that each member plays for an update.
        explore: how often a real move is uniform over the legal ones instead.
        power: entry Q(I, a) moves by n^-power of its error at its n-th visit; above .5 and at most 1.
        sync: updates after which the table that targets are taken from is renewed.
        hints_only: whether level 1 believes that past moves tell nothing, instead of uniform play over legal moves.
    """

    temperature: float = 0.05
    games: int = 64
    explore: float = 0.5
    power: float = 0.8
    sync: int = 1
    hints_only: bool = False


class Chances:
    """Draws of what comes of a move, and of histories from beliefs, by places in cumulated probabilities.

    Args:
        tree: the game.
        beliefs: `[P, N, players]`, one for each member.
    """

    def __init__(self, tree: Tree, beliefs: Floats) -> None:
        self.tree = tree
        start = np.flatnonzero(np.diff(tree.parent * tree.actions + tree.move, prepend=-1))
        self.first_arc = np.append(start, len(tree.parent))
        self.choice = np.zeros((tree.nodes, tree.actions), int)  # the number of (history, move)
        self.choice[tree.parent[start], tree.move[start]] = np.arange(len(start))
        self.chance = np.cumsum(tree.chance)
        order = np.argsort(tree.info.ravel(), kind="stable")
        self.holder = order // tree.players
        self.first_holder = np.searchsorted(tree.info.ravel()[order], np.arange(tree.infos + 1))
        apart = np.arange(len(beliefs))[:, None] * tree.infos
        self.believed = (np.cumsum(beliefs.reshape(len(beliefs), -1)[:, order], -1) + apart).ravel()

    def arc(self, node: Ints, move: Ints, unit: Floats) -> Ints:
        """What comes of moves, `[B]` arcs; `unit` in [0, 1)."""
        k = self.choice[node, move]
        return np.clip(np.searchsorted(self.chance, k + unit, side="right"), self.first_arc[k], self.first_arc[k + 1] - 1)

    def history(self, member: Ints, info: Ints, unit: Floats) -> Ints:
        """Histories that members imagine in information states, `[B]`."""
        at = np.searchsorted(self.believed, member * self.tree.infos + info + unit, side="right") - member * len(self.holder)
        return self.holder[np.clip(at, self.first_holder[info], self.first_holder[info + 1] - 1)]


def pick(weights: Floats, unit: Floats) -> Ints:
    """One column of each row `[B, A]` by its probability, `[B]`; never one of weight 0."""
    total = np.cumsum(weights, -1)
    return (total <= unit[:, None] * total[:, -1:]).sum(-1)


class TabularOBL:
    """P independent learners of the same game.

    Args:
        tree: the game.
        config: how they learn.
        seed: member m's first table and draws depend on (seed, m) alone.
        members: P.
    """

    def __init__(self, tree: Tree, config: TabularConfig, seed: int = 0, members: int = 1) -> None:
        self.tree, self.config, self.seed, self.members = tree, config, seed, members
        self.kept = tree.legal.copy()  # entries that are learned
        self.kept[~tree.acts, WAIT] = True
        normal = [np.random.default_rng((seed, m)).normal(size=tree.legal.shape) for m in range(members)]
        self.q = np.where(self.kept, np.stack(normal), 0.0)
        self.target, self.visits, self.updates, self.level = self.q.copy(), np.zeros_like(self.q), 0, 0
        self.past = np.broadcast_to(log_uniform(tree), self.q.shape).copy()
        self.ascend(self.past)

    def ascend(self, past: Floats) -> None:
        """Begin the next level: the past was played by `past` `[P, I, A]` (logs), one for each member. Tables go on from where they are."""
        hints = self.config.hints_only and self.level == 0
        self.past, self.level = past, self.level + 1
        self.chances = Chances(self.tree, np.stack([belief(self.tree, None if hints else one) for one in past]))
        self.visits[:] = 0

    def log_policy(self) -> Floats:
        """π ∝ exp(Q / T), `[P, I, A]` as logs."""
        return log_softmax(self.tree, self.q, self.config.temperature)

    def worth(self, table: Floats) -> Floats:
        """W of every information state under a table, `[P, I]`."""
        policy = np.exp(log_softmax(self.tree, table, self.config.temperature))
        return np.where(self.tree.acts, (policy * table).sum(-1), table[..., WAIT])

    def update(self) -> float:
        """Every member plays its games and learns from what it imagines; returns the mean error |y - Q|."""
        tree, c, size = self.tree, self.config, self.tree.players
        policy, worth = np.exp(self.log_policy()), self.worth(self.target)
        each = 3 + 3 * size  # numbers for a step: whether to explore, the move, what comes of it, and three for each player's fancy
        drawn = [np.random.default_rng((self.seed, m, self.updates)).random((1 + tree.depth * each, c.games)) for m in range(self.members)]
        units = np.concatenate(drawn, -1)
        member = np.repeat(np.arange(self.members), c.games)
        node = pick(np.broadcast_to(tree.deal, (len(member), len(tree.deal))), units[0])
        places, wanted = [], []
        for unit in units[1:].reshape(tree.depth, each, -1):
            going = np.flatnonzero(node >= 0)
            if not len(going):
                break
            n, m, u = node[going], member[going], unit[:, going]
            row = tree.row[n]
            odds = np.where(u[:1].T < c.explore, tree.legal[row], policy[m, row])
            move = pick(odds, u[1])
            for p in range(size):
                place, y = self.imagine(p, n, m, move, u[3 + 3 * p : 6 + 3 * p], policy, worth)
                places.append(place)
                wanted.append(y)
            node[going] = tree.child[self.chances.arc(n, move, u[2])]
        return self.learn(np.concatenate(places), np.concatenate(wanted))

    def imagine(self, p: int, node: Ints, member: Ints, move: Ints, unit: Floats, policy: Floats, worth: Floats) -> tuple[Ints, Floats]:
        """Player p's imagined transitions: the entries that they belong to, and y, each `[B]`."""
        tree = self.tree
        info = tree.info[node, p]
        own: Bools = tree.mover[node] == p
        fancied = self.chances.history(member, info, unit[0])
        made = np.where(own, move, pick(policy[member, tree.row[fancied]], unit[1]))
        arc = self.chances.arc(fancied, made, unit[2])
        child = tree.child[arc]
        y = tree.reward[arc] + np.where(child >= 0, worth[member, tree.info[child, p]], 0.0)
        return (member * tree.infos + info) * tree.actions + np.where(own, move, WAIT), y

    def learn(self, place: Ints, y: Floats) -> float:
        """Move the entries towards the means of their targets."""
        flat = self.q.reshape(-1)
        error = float(np.abs(y - flat[place]).mean())
        count = np.bincount(place, minlength=flat.size)
        hit = np.flatnonzero(count)
        mean = np.bincount(place, y, flat.size)[hit] / count[hit]
        visits = self.visits.reshape(-1)
        visits[hit] += count[hit]
        flat[hit] += (1 - (1 - visits[hit] ** -self.config.power) ** count[hit]) * (mean - flat[hit])
        self.updates += 1
        if self.updates % self.config.sync == 0:
            self.target = self.q.copy()
        return error
