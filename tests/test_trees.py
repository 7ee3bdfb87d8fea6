"""Games as trees: against their rules played forward, OpenSpiel, and the kernel worlds; and their symmetries."""

import math

import numpy as np
import pyspiel
import pytest
import torch

from interplay.envs import registry
from interplay.envs.engine import Batch
from interplay.envs.hanabi_tree import HanabiTree
from interplay.envs.levers import Levers, two_stage
from interplay.envs.petgame import PetGame
from interplay.envs.symmetry import Relabelling, classes, group, orbits, places, renamed
from interplay.envs.tiny_hanabi import PAYOFF, TinyHanabi
from interplay.envs.tree import grow
from interplay.learners.exact_zsc import reach, uniform, value

SIZES = ("colors", "ranks", "hand_size", "max_information_tokens", "max_life_tokens", "players")
HANABI = [(1, 2, 1, 1, 1, 2), (1, 2, 2, 1, 1, 2), (2, 2, 2, 3, 1, 2), (2, 3, 2, 2, 2, 3)]
SMALL = {
    "pet": PetGame(),
    "tiny": TinyHanabi(),
    "lever": Levers(),
    "two-stage": two_stage(),
    "hanabi": HanabiTree(1, 2, 1, 1, 1),
    "three players": HanabiTree(1, 2, 1, 1, 1, 3),
    "two colours": HanabiTree(2, 1, 2, 1, 1),
}


def random_policy(tree, seed, batch=()):
    """A policy of no symmetry, with all moves possible."""
    weight = np.random.default_rng(seed).exponential(size=(*batch, tree.infos, tree.actions)) * tree.legal
    return weight / np.maximum(weight.sum(-1, keepdims=True), 1e-300)


def walk(game, state, chance, knows, policy, see):
    """Play all continuations forward from the rules alone; returns the expected return. `see` gets every history with its probability."""
    p = game.mover(state)
    odds = policy(p, knows[p], game.legal(state))
    see(knows, p, chance)
    total = 0.0
    for a, share in odds.items():
        for prob, reward, to in game.step(state, a):
            total += share * prob * reward
            if to is not None:
                grown = tuple((*k, (a if q == p else -1, game.seen(to, q))) for q, k in enumerate(knows))
                total += share * prob * walk(game, to, chance * share * prob, grown, policy, see)
    return total


def play_forward(game, policy, see=lambda *_: None):
    start = lambda s: tuple(((-1, game.seen(s, q)),) for q in range(game.players))
    return sum(p * walk(game, s, p, start(s), policy, see) for p, s in game.deal())


def chains(tree):
    """Each information state as (player, all that was done and seen), as `walk` has it."""
    found = []
    for player, before, move, seen in tree.keys:
        found.append((player, (*(found[before][1] if before >= 0 else ()), (move, seen))))
    return found


@pytest.mark.parametrize("name", SMALL)
def test_a_tree_is_its_game(name):
    """The same return and the same probability of every information state as the rules played forward, for a lopsided policy."""
    game = SMALL[name]
    tree = grow(game)
    policy, where = random_policy(tree, 1), {chain: i for i, chain in enumerate(chains(tree))}
    met = np.zeros(tree.infos)
    count = [0]

    def see(knows, p, chance):
        count[0] += 1
        for q, k in enumerate(knows):
            met[where[q, k]] += chance

    odds = lambda p, knows, legal: {a: policy[where[p, knows], a] for a in legal}
    assert play_forward(game, odds, see) == pytest.approx(value(tree, policy), abs=1e-12)
    assert count[0] == tree.nodes and len(where) == tree.infos
    probability = reach(tree, policy)
    for q in range(tree.players):
        mine = np.bincount(tree.info[:, q], probability, tree.infos)
        assert mine[tree.owner == q] == pytest.approx(met[tree.owner == q], abs=1e-12)
    assert value(tree, uniform(tree)) == pytest.approx(play_forward(game, lambda p, k, legal: dict.fromkeys(legal, 1 / len(legal))))


def test_layout():
    tree = grow(HanabiTree(1, 2, 1, 1, 1))
    assert tree.depth == 6 and tree.node_at[-1] == tree.nodes == 186 and tree.arc_of[-1] == len(tree.parent) == 401
    for depth in range(tree.depth):
        nodes, arcs = tree.layer(depth)
        assert set(tree.parent[arcs]) == set(range(nodes.start, nodes.stop)), "arcs lie with their histories"
        rows = np.unique(tree.info[nodes])
        last = tree.info_at[depth + 1] if depth + 1 < tree.depth else tree.infos
        assert (rows.min(), rows.max() + 1) == (tree.info_at[depth], last), "an information state lies at one depth"
    children = tree.child[tree.child >= 0]
    assert sorted(children) == list(range(len(tree.deal), tree.nodes)), "every history has one parent"
    assert (np.diff(tree.parent * tree.actions + tree.move) >= 0).all()
    assert (tree.legal.sum(-1) > 0).tolist() == tree.acts.tolist()


class Crooked(PetGame):
    """A game with one mistake."""

    def __init__(self, wrong):
        self.wrong = wrong

    def legal(self, state):
        if self.wrong == "hidden" and state[1] == 0:
            return range(2 + state[0])
        return () if self.wrong == "stuck" and state[1] is not None else super().legal(state)

    def step(self, state, move):
        return [(0.9 if self.wrong == "chance" else 1.0, *rest) for _, *rest in super().step(state, move)]


@pytest.mark.parametrize("wrong, told", [("hidden", "cannot tell histories apart"), ("stuck", "no move"), ("chance", "off by 0.1")])
def test_mistakes_in_a_game(wrong, told):
    with pytest.raises(ValueError, match=told):
        grow(Crooked(wrong))
    with pytest.raises(ValueError, match="more than 100 histories"):
        grow(HanabiTree(1, 2, 1, 1, 1), limit=100)


# Oracles.


def test_tiny_hanabi_is_openspiels():
    game = pyspiel.load_game("tiny_hanabi")
    assert game.num_distinct_actions() == TinyHanabi.actions == 3
    for place in np.ndindex(2, 2, 3, 3):
        state = game.new_initial_state()
        for card in place[:2]:
            assert state.chance_outcomes() == [(0, 0.5), (1, 0.5)]
            state.apply_action(card)
        assert state.current_player() == 0
        state.apply_action(place[2])
        assert state.current_player() == 1
        state.apply_action(place[3])
        one, two, first, second = place
        assert state.returns() == [PAYOFF[one][two][first][second]] * 2, place
        ours = TinyHanabi()
        assert ours.step((one, two, first), second) == [(1.0, state.returns()[0], None)]


def drawn(game, outcomes, deck):
    """The outcome in which the deck's next card was drawn, and what is left of the deck."""
    fits = [o for o in outcomes if o[2] is None or len(outcomes) == 1 or game.hand_of_drawer(o[2]) == deck[0]]
    assert len(fits) == 1
    _, reward, state = fits[0]
    return reward, state, deck[len(deck) - len(state.deck) :] if state is not None else deck


class Dealt(HanabiTree):
    """The tree's rules, with who drew last."""

    def hand_of_drawer(self, state):
        hand = state.hands[(state.mover - 1) % self.players]
        return hand[-1]


@pytest.mark.parametrize("sizes", HANABI, ids=str)
def test_hanabi_trees_rules_are_the_kernels(sizes):
    """Random games from injected decks: masks, rewards, ends."""
    game, params, n = Dealt(*sizes), dict(zip(SIZES, sizes, strict=True)), 120
    batch = Batch(registry.world("hanabi", **params), n, seed=3)
    dice = np.random.default_rng(sizes)
    decks = np.stack([dice.permutation(batch.world.default["deck"]) for _ in range(n)])
    batch.set_level(torch.ones(n, dtype=torch.bool), batch.pack_levels(deck=decks, given=1))
    assert batch.spec.actions == game.actions
    cards = [[(int(x) // game.ranks, int(x) % game.ranks) for x in deck] for deck in decks]
    starts = {state.hands: state for _, state in game.deal()}
    size, p, h, ended, steps = len(decks[0]), game.players, game.hand, 0, 0
    assert sum(q for q, _ in game.deal()) == pytest.approx(1)
    games = {i: (starts[tuple(tuple(deck[q * h : q * h + h]) for q in range(p))], deck[p * h :]) for i, deck in enumerate(cards)}
    assert all(len(state.deck) == size - p * h for state, _ in games.values())
    while games:
        legal, action = batch.out.legal.clone(), batch.out.legal.to(torch.uint8).argmax(-1)
        for i, (state, _) in games.items():
            me = game.mover(state)
            assert np.flatnonzero(legal[i, me]).tolist() == sorted(game.legal(state)), (i, steps)
            assert batch.out.acting[i].tolist() == [q == me for q in range(p)]
            action[i, me] = int(dice.choice(game.legal(state)))
        out = batch.step(action)
        for i, (state, deck) in list(games.items()):
            reward, state, deck = drawn(game, game.step(state, int(action[i, game.mover(state)])), deck)
            assert out.reward[i].tolist() == [reward] * p and bool(out.terminated[i]) == (state is None), (i, steps)
            games[i] = (state, deck)
            if state is None:
                ended += 1
                del games[i]
        steps += 1
    assert ended == n and steps > 1


@pytest.mark.parametrize("sizes, mean", [((1, 2, 1, 1, 1, 2), 0.523148), ((1, 2, 2, 1, 1, 2), 0.4625)], ids=str)
def test_random_play_earns_the_same_in_the_kernel(sizes, mean):
    """The whole chance of the tree at once: its exact value of random legal play, and the mean of 20,000 kernel games."""
    tree, n = grow(HanabiTree(*sizes)), 20_000
    assert value(tree, uniform(tree)) == pytest.approx(mean, abs=1e-6)
    batch = registry.make("hanabi", n, seed=5, **dict(zip(SIZES, sizes, strict=True)))
    going, total = torch.ones(n, dtype=torch.bool), torch.zeros(n)
    for draw in range(tree.depth):
        out = batch.step(batch.random_action(draw=draw))
        total += out.reward[:, 0] * going
        going &= ~out.terminated
    assert not going.any()
    assert total.mean().item() == pytest.approx(mean, abs=4 * total.std().item() / math.sqrt(n))


# Symmetries.

GROUPS = [
    (PetGame(), "lights", 2),
    (PetGame(), "pets", 2),
    (PetGame(), "all", 4),
    (TinyHanabi(), "none", 1),
    (Levers(), "levers", 9),
    (Levers(), "all", 18),
    (two_stage(), "all", 4),
    (HanabiTree(2, 1, 2, 1, 1), "all", 2),
    (HanabiTree(3, 1, 2, 0, 1), "all", 6),
]


@pytest.mark.parametrize("game, names, size", GROUPS, ids=lambda x: x if isinstance(x, str) else "")
def test_renamed_policies_are_worth_the_same(game, names, size):
    """J is a polynomial in the policy's entries: where it agrees at random ones, it is the same polynomial, and the renaming a symmetry."""
    tree = grow(game)
    found = group(tree, game.symmetries()[names])
    assert len(found) == size and (found[0] == np.arange(tree.infos * tree.actions)).all()
    policies = random_policy(tree, 2, (3,))
    for place in found:
        assert sorted(place) == list(range(tree.infos * tree.actions))
        assert value(tree, renamed(policies, place)) == pytest.approx(value(tree, policies), abs=1e-12)
        assert (renamed(policies, place).sum(-1)[:, tree.acts] == pytest.approx(1)) and (
            renamed(policies, place)[:, ~tree.legal] == 0
        ).all()
    if size > 1:
        assert not np.allclose(renamed(policies, found[1]), policies)


def test_a_renaming_that_is_no_symmetry():
    tree = grow(PetGame())
    guesses = Relabelling("guesses", lambda p, a: 1 - a if p == 1 and a < 2 else a, lambda p, s: s)
    policy = random_policy(tree, 2)
    assert value(tree, renamed(policy, places(tree, guesses))) != pytest.approx(value(tree, policy), abs=0.01)
    lost = Relabelling("lost", lambda p, a: a, lambda p, s: ("pet", 7))
    with pytest.raises(ValueError, match="lost leads from"):
        places(tree, lost)
    twice = Relabelling("twice", lambda p, a: 0, lambda p, s: s)
    with pytest.raises(ValueError, match="twice leads from"):
        places(tree, twice)
    with pytest.raises(ValueError, match="more than 5 renamings"):
        group(grow(Levers()), Levers().symmetries()["levers"], limit=5)


def test_orbits():
    tree, game = grow(PetGame()), PetGame()
    alice = [i for i in np.flatnonzero(tree.acts) if tree.owner[i] == 0]
    cat, dog = alice
    lights = orbits(tree, group(tree, game.symmetries()["lights"]))
    assert lights[cat, 0] == lights[cat, 1] and lights[cat, 0] != lights[dog, 0] and len(set(lights[cat])) == 3
    every = orbits(tree, group(tree, game.symmetries()["all"]))
    assert (every[cat] == every[dog]).all() and every[cat, 0] == every[cat, 1]
    together, size = classes(tree, every)
    assert size[cat].tolist() == [2, 2, 1, 1] and together[cat, 0].tolist() == [True, True, False, False]
    levers = grow(Levers())
    pull = orbits(levers, group(levers, Levers().symmetries()["levers"]))
    assert [len(set(pull[row])) for row in np.flatnonzero(levers.acts)] == [2, 2]
