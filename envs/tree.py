"""Finite cooperative games as trees, laid out in arrays: every history once, depth by depth. Exact methods run on these.

A game says in plain Python what happens, and what each player newly sees; what a player knows (its information state) is all that it
has seen and done, so nobody forgets. As in a Dec-POMDP time is known to all: an information state lies at one depth. Moves made at
once become moves made in turn, the later ones not seeing the earlier.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Outcome = tuple[float, float, Any]  # probability, reward of the team, next state (None: the game is over)
Key = tuple[int, int, int, Hashable]  # player, information state before, own move since (-1: none), newly seen


class Game(Protocol):
    """The rules of one game. States are values that nobody changes.

    Attributes:
        players: how many there are.
        actions: moves are numbered below this.
    """

    players: int
    actions: int

    def deal(self) -> list[tuple[float, Any]]:
        """The starts, with their probabilities."""
        ...

    def mover(self, state: Any) -> int:
        """Whose move it is."""
        ...

    def legal(self, state: Any) -> Sequence[int]:
        """The mover's moves, at least one."""
        ...

    def seen(self, state: Any, player: int) -> Hashable:
        """What a player newly sees where the state is reached; None where that is nothing."""
        ...

    def step(self, state: Any, move: int) -> list[Outcome]:
        """What may come of a move."""
        ...


@dataclass(frozen=True)
class Tree:
    """A game's N histories, I information states and E arcs (a move and what chance makes of it).

    Attributes:
        players, actions: as in the game; A is the number of actions.
        node_at: `[D + 1]`; the histories of depth d are `node_at[d] ... node_at[d + 1] - 1`.
        info_at: `[D + 1]`, the same for information states.
        deal: probabilities of the histories of depth 0.
        mover: `[N]` whose move it is.
        info: `[N, players]` what each player knows there, the waiting ones too.
        owner: `[I]` the player whose information state it is.
        legal: `[I, A]` the owner's moves; none where the owner waits.
        arc_of: `[N + 1]`; the arcs of history n are `arc_of[n] ... arc_of[n + 1] - 1`, sorted by move.
        parent, move, chance, reward, child: `[E]`; `child` is -1 where the game ends.
        keys: `[I]` how each information state came about.
    """

    players: int
    actions: int
    node_at: Ints
    info_at: Ints
    deal: Floats
    mover: Ints
    info: Ints
    owner: Ints
    legal: Bools
    arc_of: Ints
    parent: Ints
    move: Ints
    chance: Floats
    reward: Floats
    child: Ints
    keys: list[Key] = field(repr=False)

    @property
    def depth(self) -> int:
        """The longest game, in moves."""
        return len(self.node_at) - 1

    @property
    def nodes(self) -> int:
        """Histories at which somebody moves."""
        return len(self.mover)

    @property
    def infos(self) -> int:
        """Information states, of movers and of those who wait."""
        return len(self.owner)

    @cached_property
    def acts(self) -> Bools:
        """`[I]` whether the owner is to move."""
        return np.asarray(self.legal.any(-1))

    @cached_property
    def row(self) -> Ints:
        """`[N]` the information state of who is to move."""
        return self.info[np.arange(self.nodes), self.mover]

    @cached_property
    def slot(self) -> Ints:
        """`[E]` the place of an arc's move in a flattened table `[I * A]`."""
        return self.row[self.parent] * self.actions + self.move

    def layer(self, depth: int) -> tuple[slice, slice]:
        """The histories of a depth, and their arcs."""
        first, last = self.node_at[depth], self.node_at[depth + 1]
        return slice(first, last), slice(self.arc_of[first], self.arc_of[last])


class _Growth:
    """The lists that become a tree's arrays."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.ids: dict[Key, int] = {}
        self.options: list[tuple[int, ...] | None] = []  # moves at an information state; None: not known yet
        self.node_at, self.info_at = [0], [0]
        self.mover: list[int] = []
        self.info: list[tuple[int, ...]] = []
        self.arc_of = [0]
        self.arcs: list[tuple[int, int, float, float, int]] = []

    def know(self, player: int, before: int, move: int, seen: Hashable) -> int:
        """The number of an information state."""
        key = (player, before, move, seen)
        found = self.ids.get(key)
        if found is None:
            found = self.ids[key] = len(self.options)
            self.options.append(None)
        return found

    def allow(self, info: int, moves: tuple[int, ...]) -> None:
        """Who knows the same has the same moves."""
        if self.options[info] is None:
            self.options[info] = moves
        elif self.options[info] != moves:
            raise ValueError(f"a player who cannot tell histories apart has moves {self.options[info]} in one and {moves} in another")

    def spread(self, layer: list[tuple[Any, tuple[int, ...]]]) -> list[tuple[Any, tuple[int, ...]]]:
        """One depth: its histories and arcs are noted, the next depth is returned, as (state, information states)."""
        game, after, following = self.game, self.node_at[-1] + len(layer), []
        for n, (state, infos) in enumerate(layer, self.node_at[-1]):
            p, moves = game.mover(state), tuple(sorted(game.legal(state)))
            if not moves:
                raise ValueError(f"player {p} has no move in {state!r}")
            for q in range(game.players):
                self.allow(infos[q], moves if q == p else ())
            for a in moves:
                for chance, reward, to in game.step(state, a):
                    child = -1 if to is None else after + len(following)
                    self.arcs.append((n, a, chance, reward, child))
                    if to is not None:
                        know = tuple(self.know(q, infos[q], a if q == p else -1, game.seen(to, q)) for q in range(game.players))
                        following.append((to, know))
            self.mover.append(p)
            self.info.append(infos)
            self.arc_of.append(len(self.arcs))
        self.node_at.append(after)
        return following


def grow(game: Game, limit: int = 4_000_000) -> Tree:
    """All of a game; some 10,000 histories a second and more.

    Raises:
        ValueError: where there are more than `limit` histories, probabilities do not add up to 1, somebody has no move, or a player's
            moves differ between histories that it cannot tell apart.
    """
    growth, starts = _Growth(game), game.deal()
    layer = [(state, tuple(growth.know(q, -1, -1, game.seen(state, q)) for q in range(game.players))) for _, state in starts]
    while layer:
        growth.info_at.append(len(growth.options))
        if growth.node_at[-1] + len(layer) > limit:
            raise ValueError(f"more than {limit} histories at depth {len(growth.node_at) - 1}; choose a smaller game or a greater limit")
        layer = growth.spread(layer)
    parent, move, chance, reward, child = zip(*growth.arcs, strict=True)
    legal = np.zeros((len(growth.options), game.actions), bool)
    for info, moves in enumerate(growth.options):
        legal[info, list(moves or ())] = True
    tree = Tree(
        players=game.players,
        actions=game.actions,
        node_at=np.array(growth.node_at),
        info_at=np.array(growth.info_at),
        deal=np.array([p for p, _ in starts]),
        mover=np.array(growth.mover),
        info=np.array(growth.info),
        owner=np.array([key[0] for key in growth.ids]),
        legal=legal,
        arc_of=np.array(growth.arc_of),
        parent=np.array(parent),
        move=np.array(move),
        chance=np.array(chance, float),
        reward=np.array(reward, float),
        child=np.array(child),
        keys=list(growth.ids),
    )
    check_chance(tree)
    return tree


def check_chance(tree: Tree) -> None:
    """`ValueError` where the deal, or what may come of some move, does not have probability 1 in all."""
    of_move = np.bincount(tree.parent * tree.actions + tree.move, tree.chance)
    wrong = np.abs(of_move[of_move > 0] - 1).max(initial=abs(tree.deal.sum() - 1))
    if wrong > 1e-9 or (tree.chance <= 0).any() or (tree.deal <= 0).any():
        raise ValueError(f"probabilities must be above 0 and add up to 1; they are off by {wrong:.3g}")
