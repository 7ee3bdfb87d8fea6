"""Symmetries of a game: other names for its moves, its sights and its seats under which it stays the same game (Hu et al. 2020)."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from interplay.envs.tree import Bools, Floats, Ints, Tree

Story = tuple[int, tuple[tuple[bool, Hashable], ...]]  # player; then (own move?, move or sight), nothing for what was no news


@dataclass(frozen=True)
class Relabelling:
    """What everything is called after the renaming.

    Attributes:
        name: of the renaming.
        move: (player, move) to move.
        seen: (player, sight) to sight; never asked for None.
        seats: player p's place becomes `seats[p]`; None: everybody stays.
    """

    name: str
    move: Callable[[int, int], int]
    seen: Callable[[int, Hashable], Hashable]
    seats: tuple[int, ...] | None = None


def stories(tree: Tree) -> list[Story]:
    """What has happened to the owner of each information state, in order, without the turns in which nothing did."""
    found: list[Story] = []
    for player, before, move, seen in tree.keys:
        events = found[before][1] if before >= 0 else ()
        events += ((True, move),) if move >= 0 else ()
        found.append((player, events + (((False, seen),) if seen is not None else ())))
    return found


def places(tree: Tree, relabelling: Relabelling) -> Ints:
    """Where the entries of a policy go, `[I * A]`: entry (information state, move) becomes entry `places[...]`.

    Rows of players who wait, which hold nothing, stay. `ValueError` where the renaming leads out of the game, or an information state
    to one with other moves.
    """
    told, actions = stories(tree), tree.actions
    rows = np.flatnonzero(tree.acts)
    where = {told[row]: row for row in rows}
    if len(where) < len(rows):
        raise ValueError("two of a player's information states differ in nothing but time: renamings need all turns to show something")
    table = np.arange(tree.infos * actions).reshape(tree.infos, actions)
    for row in rows:
        p, events = told[row]
        renamed = tuple((own, relabelling.move(p, what) if own else relabelling.seen(p, what)) for own, what in events)  # type: ignore[arg-type]
        to = where.get((relabelling.seats[p] if relabelling.seats else p, renamed))
        moves = [relabelling.move(p, a) for a in range(actions)]
        if to is None or sorted(moves) != list(range(actions)) or not np.array_equal(tree.legal[to][moves], tree.legal[row]):
            raise ValueError(f"{relabelling.name} leads from {events} to {renamed}, which is not in the game or has other moves")
        table[row] = to * actions + np.array(moves)
    return table.reshape(-1)


def group(tree: Tree, generators: Sequence[Relabelling], limit: int = 10_000) -> Ints:
    """All renamings that these ones make together, `[G, I * A]` as in `places`, the identity first."""
    steps = [places(tree, g) for g in generators]
    found = [np.arange(tree.infos * tree.actions)]
    known = {found[0].tobytes()}
    for one in found:  # grows while it is walked
        for step in steps:
            product = step[one]
            if product.tobytes() not in known:
                known.add(product.tobytes())
                found.append(product)
        if len(found) > limit:
            raise ValueError(f"more than {limit} renamings: choose a smaller group with the same orbits, such as a cyclic one")
    return np.stack(found)


def renamed(policy: Floats, place: Ints) -> Floats:
    """The same policy `[..., I, A]` under other names: φ(π)(φ(a) | φ(I)) = π(a | I)."""
    flat = policy.reshape(*policy.shape[:-2], -1)
    out = np.empty_like(flat)
    out[..., place] = flat
    return out.reshape(policy.shape)


def orbits(tree: Tree, places: Ints) -> Ints:
    """`[I, A]` numbers that entries share where a renaming of the group `[G, I * A]` leads from one to the other."""
    return np.unique(places.min(0), return_inverse=True)[1].reshape(tree.infos, tree.actions)


def classes(tree: Tree, orbit: Ints) -> tuple[Bools, Floats]:
    """Moves that renamings exchange without changing what the owner knows: `[I, A, A]` together?, and how many `[I, A]`."""
    together = (orbit[:, :, None] == orbit[:, None, :]) & tree.legal[:, :, None] & tree.legal[:, None, :]
    return together, np.maximum(together.sum(-1), 1).astype(float)
