"""Hanabi: bit for bit OpenSpiel's; what holds in every game; what OpenSpiel does not have (levels, bombs, orders of colours, other hands).

`python tests/test_hanabi.py` writes tests/golden anew, after a deliberate change of what is seen.
"""

import hashlib
import itertools
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyspiel
import pytest
import torch
from hanabi_oracle import VARIANTS, cheat, compare
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from scipy import stats

from interplay.envs import Batch, UsageError, World, make, world
from interplay.envs.bits import unpack
from interplay.envs.hanabi_text import decoded, picture, transcript

LUCK = 1e-4  # smallest p-value a fair die may show; seeds are fixed, so a test that passes once passes always
GOLDEN = Path(__file__).parent / "golden"
PERMUTED = {"players": 3, "permute": True, "random_start_player": True}


def rows_of(batch: Batch) -> np.recarray:
    """The records of a batch, in its own memory."""
    return batch.memory.numpy().view(batch.world.record).reshape(batch.n)


def dealt(game: World, decks, n: int = 1) -> Batch:
    """Worlds dealt from given decks."""
    batch = Batch(game, n)
    batch.set_level(torch.ones(n, dtype=torch.bool), batch.pack_levels(deck=decks, given=1))
    return batch


def play(batch: Batch, move: int):
    """The same move in all worlds, which has to be legal."""
    action = torch.full((batch.n, batch.agents), move)
    batch.check(action)
    return batch.step(action)


def change_to(batch: Batch, q: int, *cards: int) -> torch.Tensor:
    """Edit all worlds: hand `cards` to player q, or a random hand where there are none."""
    size = rows_of(batch)["hand"].shape[2]
    change = torch.tensor([[q, *(cards or [-1] * size)]] * batch.n)
    return batch.edit(torch.ones(batch.n, dtype=torch.bool), change)


@pytest.fixture(autouse=True)
def one_thread():
    """Loops over many worlds need not be compiled a second time, for threads: `test_engine` compares the two."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# Against OpenSpiel


@pytest.mark.parametrize("variant", VARIANTS)
def test_games_are_openspiels(variant):
    """Thirty games: every mask, every bit of every view, every reward and end."""
    games, steps = compare(VARIANTS[variant], 30, seed=1)
    assert games == 30 and steps >= 30


@pytest.mark.parametrize("players", [2, 3])
def test_moves_have_openspiels_names(players):
    state = pyspiel.load_game("hanabi", {"players": players}).new_initial_state()
    while state.is_chance_node():
        state.apply_action(state.legal_actions()[0])
    theirs = [state.action_to_string(0, move) for move in range(world("hanabi", players=players).actions)]
    ours = world("hanabi", players=players).action_names
    ours = [re.sub(r"hint (\w)$", r"hint \1 to +1", name) for name in ours]
    ours = [re.sub(r"hint (\d) to (.*)", r"Reveal player \2 rank \1", name) for name in ours]
    ours = [re.sub(r"hint (\w) to (.*)", r"Reveal player \2 color \1", name) for name in ours]
    assert [f"({name[0].upper()}{name[1:]})" for name in ours] == theirs


# What holds in every game

GAMES = [world("hanabi-small"), world("mini-hanabi"), world("hanabi", **PERMUTED)]


class Games(RuleBasedStateMachine):
    """Games played at random, or well by somebody who sees all cards, with hands replaced in between."""

    @initialize(game=st.sampled_from(GAMES), seed=st.integers(0, 2**32 - 1))
    def start(self, game, seed):
        self.batch, self.rng = Batch(game, 1, seed=seed), np.random.default_rng(seed)
        self.row, self.since = rows_of(self.batch)[0], 0

    def legal(self):
        return self.batch.out.legal[0, int(self.row["mover"])].numpy()

    @rule(pick=st.integers(0, 10**6))
    def at_random(self, pick):
        moves = np.flatnonzero(self.legal())
        self.move(int(moves[pick % len(moves)]))

    @rule(times=st.integers(1, 12))
    def well(self, times):
        for _ in range(times):
            self.move(cheat(self.row, self.legal(), self.rng))

    def move(self, move):
        row, (players, size) = self.row, self.row["hand"].shape
        ranks, high = len(row["copies"]), row["fireworks"].astype(int)
        score, over, empty = high.sum(), False, row["drawn"] == len(row["pile"])
        if size <= move < 2 * size:
            card = int(row["hand"][row["mover"], move - size])
            fits = high[card // ranks] == card % ranks
            over = score + 1 == high.size * ranks if fits else row["lives"] == 1
            score = score + 1 if fits else 0 if over else score
        self.since += int(empty)
        gained = score - high.sum()
        out = play(self.batch, move)
        assert out.reward.tolist() == [[gained] * players]
        assert out.terminated.item() == (over or self.since == players) and not out.truncated.item()
        if out.terminated:
            self.since = 0

    @rule(q=st.integers(0, 2))
    def replace(self, q):
        """A random hand is one that hints leave possible, from the cards that nobody else has."""
        q %= len(self.row["hand"])
        before = self.row.copy()
        assert change_to(self.batch, q).all()
        for field in before.dtype.names:
            if field not in ("pile", "hand", "shuffle", "draws"):
                assert np.array_equal(before[field], self.row[field]), field
        others = [k for k in range(len(before["hand"])) if k != q]
        assert np.array_equal(before["hand"][others], self.row["hand"][others])
        assert np.array_equal(before["hand"] < 0, self.row["hand"] < 0)

    @invariant()
    def cards_are_conserved(self):
        row, ranks = self.row, len(self.row["copies"])
        deck = Counter(self.batch.world.default["deck"].tolist())
        assert Counter(row["pile"].tolist()) == deck
        cards = Counter(row["hand"][row["hand"] >= 0].tolist()) + Counter(row["pile"][row["drawn"] :].tolist())
        cards += Counter({card: int(count) for card, count in enumerate(row["discarded"])})
        cards += Counter(c * ranks + r for c, high in enumerate(row["fireworks"]) for r in range(high))
        assert cards == deck

    @invariant()
    def tokens_and_score(self):
        row = self.row
        assert 0 <= row["info"] <= row["most_info"] and 0 < row["lives"] <= row["most_lives"]
        assert row["score"] == row["fireworks"].sum()

    @invariant()
    def hints_are_true(self):
        """Every card is one that its owner holds possible."""
        row, ranks = self.row, len(self.row["copies"])
        for q, slot in np.argwhere(row["hand"] >= 0):
            card = int(row["hand"][q, slot])
            assert row["colours"][q, slot] >> card // ranks & 1 and row["ranks"][q, slot] >> card % ranks & 1

    @invariant()
    def knowledge_nests(self):
        """What an older card can be is part of what a younger one can be, or has nothing in common with it: every hint is about both."""
        for q, hand in enumerate(self.row["hand"]):
            known = [(int(self.row["colours"][q, k]), int(self.row["ranks"][q, k])) for k in range(len(hand)) if hand[k] >= 0]
            for old, young in itertools.combinations(known, 2):
                common = (old[0] & young[0], old[1] & young[1])
                assert common == old or 0 in common

    @invariant()
    def hints_name_a_card(self):
        row, me, ranks, colours = self.row, int(self.row["mover"]), len(self.row["copies"]), len(self.row["fireworks"])
        players, size = row["hand"].shape
        hands = [[int(card) for card in row["hand"][(me + away) % players] if card >= 0] for away in range(1, players)]
        legal = [any(card // ranks == row["order"][me, k] for card in hand) for hand in hands for k in range(colours)]
        legal += [any(card % ranks == r for card in hand) for hand in hands for r in range(ranks)]
        assert self.legal()[2 * size :].tolist() == (legal if row["info"] else [False] * len(legal))


TestGames = Games.TestCase
TestGames.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None)


# Chance


def test_the_shuffle_is_fair():
    """Where each card lies, and which two come first, in 20,000 decks drawn to the end."""
    n, batch = 20000, make("hanabi", num_envs=20000, seed=1, players=5, max_information_tokens=0, max_life_tokens=32)
    for _ in range(30):  # the deck is shuffled as it is drawn
        play(batch, 4)
    rows, deck = rows_of(batch), np.bincount(batch.world.default["deck"])
    assert (rows["drawn"] == 50).all() and (rows["turns_left"] == 5).all()
    table = np.stack([np.bincount(rows["pile"][:, k], minlength=25) for k in range(50)])
    expected = n * deck / 50
    # Places depend on one another, a card lies in one only: this is 50/49 of a chi-square
    statistic = (((table - expected) ** 2) / expected).sum() * 49 / 50
    assert LUCK < stats.chi2.sf(statistic, 49 * 24) < 1 - LUCK
    pairs = np.bincount(rows["pile"][:, 0].astype(int) * 25 + rows["pile"][:, 1], minlength=625)
    wanted = n * deck[:, None] * (deck - np.eye(25)) / (50 * 49)
    held = wanted.flatten() > 0
    assert not pairs[~held].any()
    assert stats.chisquare(pairs[held], wanted.flatten()[held]).pvalue > LUCK


def test_worlds_are_the_same_whatever_the_shards():
    whole = make("hanabi", num_envs=90, seed=3, first=5, **PERMUTED)
    shards = [make("hanabi", num_envs=30, seed=3, first=5 + 30 * k, **PERMUTED) for k in range(3)]
    for draw in range(40):
        for batch in (whole, *shards):
            batch.step(batch.random_action(draw))
            if draw % 7 == 3:
                assert change_to(batch, draw % 3).all()
    assert torch.equal(whole.memory, torch.cat([shard.memory for shard in shards]))
    assert torch.equal(whole.out.obs, torch.cat([shard.out.obs for shard in shards]))
    assert len(whole.memory.unique(dim=0)) == 90


def test_who_begins():
    assert (rows_of(make("hanabi", num_envs=50, players=3))["mover"] == 0).all()
    movers = rows_of(make("hanabi", num_envs=6000, players=3, random_start_player=True))["mover"]
    assert stats.chisquare(np.bincount(movers, minlength=3)).pvalue > LUCK


# What is scored when the last life is lost


@pytest.mark.parametrize("bomb, rewards", [("zero", [1, 1, -2]), ("keep", [1, 1, 0]), ("minus-one", [1, 1, -1])])
def test_bombs(bomb, rewards):
    """Red 1 and red 2 are played, then another red 1."""
    batch = dealt(world("hanabi-very-small", bomb=bomb), [0, 0, 1, 2, 0, 1, 2, 3, 3, 4])
    shown = [(out.reward[0].tolist(), out.terminated.item()) for out in (play(batch, 2) for _ in range(3))]
    assert shown == [([reward] * 2, k == 2) for k, reward in enumerate(rewards)]


@pytest.mark.parametrize("bomb", ["zero", "keep", "minus-one"])
def test_nothing_is_lost_where_nothing_was_scored(bomb):
    out = play(dealt(world("hanabi-very-small", bomb=bomb), [1, 0, 1, 2, 0, 0, 2, 3, 3, 4]), 2)
    assert out.reward.tolist() == [[0, 0]] and out.terminated.item()


# Orders of colours


def labels(game: World) -> list[tuple]:
    """What each bit of a view says, the colour first (None: it is about no colour), by the description in Bard et al. 2020."""
    row = rows_of(Batch(game, 1))[0]
    (p, h), colours, ranks = row["hand"].shape, range(len(row["fireworks"])), range(len(row["copies"]))
    cards = list(itertools.product(colours, ranks))
    bits = [(c, "card", q, slot, r) for q in range(1, p) for slot in range(h) for c, r in cards]
    bits += [(None, "short", q) for q in range(p)] + [(None, "deck", k) for k in range(len(row["pile"]) - p * h)]
    bits += [(c, "firework", r) for c, r in cards]
    bits += [(None, "info", k) for k in range(row["most_info"])] + [(None, "life", k) for k in range(row["most_lives"])]
    bits += [(c, "discarded", r, k) for c, r in cards for k in range(row["copies"][r])]
    bits += [(None, "actor", q) for q in range(p)] + [(None, "kind", k) for k in range(4)] + [(None, "target", q) for q in range(p)]
    bits += [(c, "named") for c in colours] + [(None, "named", r) for r in ranks]
    bits += [(None, "touched", k) for k in range(h)] + [(None, "slot", k) for k in range(h)]
    bits += [(c, "left", r) for c, r in cards] + [(None, "scored"), (None, "gained")]
    for q, slot in itertools.product(range(p), range(h)):
        bits += [(c, "possible", q, slot, r) for c, r in cards]
        bits += [(c, "told", q, slot) for c in colours] + [(None, "told", q, slot, r) for r in ranks]
    return bits


@pytest.mark.parametrize("name, params", [("hanabi", {"players": 3}), ("mini-hanabi", {})])
def test_permuted_games_are_plain_ones_in_other_colours(name, params):
    """The same decks and moves: every view, mask and hint is the plain game's, with each player's colours renamed."""
    n, plain, own = 30, world(name, **params), world(name, permute=True, **params)
    rng = np.random.default_rng(0)
    decks = np.stack([rng.permutation(plain.default["deck"]) for _ in range(n)])
    one, two = dealt(plain, decks, n), dealt(own, decks, n)
    (players, size), colours = rows_of(one)["hand"].shape[1:], rows_of(one)["fireworks"].shape[1]
    bits, first = labels(plain), 2 * size
    at, hinted = {bit: k for k, bit in enumerate(bits)}, (players - 1) * colours
    assert len(bits) == len(at) == plain.observation[0]
    going = np.ones(n, bool)
    while going.any():
        order = rows_of(two)["order"].astype(int).copy()
        shown, seen = one.views(one.out.obs).numpy(), two.views(two.out.obs).numpy()
        action = np.stack([batch.out.legal.numpy().argmax(-1) for batch in (one, two)])
        for i in going.nonzero()[0]:
            for p in range(players):
                source = [at[bit if bit[0] is None else (order[i, p, bit[0]], *bit[1:])] for bit in bits]
                assert np.array_equal(seen[i, p], shown[i, p, source])
                moves = np.arange(plain.actions)
                named = moves[first : first + hinted] - first
                moves[first : first + hinted] = first + named // colours * colours + order[i, p, named % colours]
                assert np.array_equal(two.out.legal[i, p], one.out.legal[i, p][moves])
                if two.out.acting[i, p]:
                    move = rng.choice(two.out.legal[i, p].numpy().nonzero()[0])
                    action[:, i, p] = moves[move], move
        ended = [batch.step(torch.from_numpy(moves)).terminated.numpy().copy() for batch, moves in zip((one, two), action, strict=True)]
        assert np.array_equal(ended[0][going], ended[1][going]) and np.array_equal(one.out.reward[going], two.out.reward[going])
        going &= ~ended[0]
        for field in ("hand", "colours", "ranks", "told", "fireworks", "discarded", "info", "lives", "score", "last"):
            assert np.array_equal(rows_of(one)[field][going], rows_of(two)[field][going]), field


def test_orders_of_colours_are_uniform_and_independent():
    order = rows_of(make("mini-hanabi", num_envs=20000, permute=True))["order"].astype(int)
    assert (np.sort(order, axis=2) == np.arange(3)).all()
    one, two = (order[:, q, 0] * 2 + (order[:, q, 1] > order[:, q, 2]) for q in range(2))
    assert stats.chisquare(np.bincount(one * 6 + two, minlength=36)).pvalue > LUCK


# Another hand

# mini-hanabi in the middle: player 0 holds Y1 G2 R1 and has been told that the first is yellow and that the second alone has rank 2
DECK = [3, 1, 7, 0, 4, 6, 0, 8, 5, 2, 1, 3, 4, 6, 7]
NAMES = world("mini-hanabi").action_names
MOVES = [NAMES.index(name) for name in ("hint 1", "hint Y", "discard 1", "hint 2")]


def midgame(n: int) -> Batch:
    batch = dealt(world("mini-hanabi"), DECK, n)
    for move in MOVES:
        play(batch, move)
    return batch


def test_a_midgame():
    row = rows_of(midgame(1))[0]
    assert row["hand"].tolist() == [[3, 7, 0], [0, 4, 6]]
    assert row["colours"][0].tolist() == [2, 5, 7] and row["ranks"][0].tolist() == [5, 2, 5]
    assert row["mover"] == 0 and row["drawn"] == 7


def test_given_hands_are_installed():
    batch = midgame(3)
    before = rows_of(batch).copy()
    mask = torch.tensor([True, False, True])
    done = batch.edit(mask, torch.tensor([[0, 5, 1, 8]] * 3))
    rows = rows_of(batch)
    assert done.tolist() == mask.tolist()
    assert rows["hand"][:, 0].tolist() == [[5, 1, 8], [3, 7, 0], [5, 1, 8]]
    assert before[1].tobytes() == rows[1].tobytes()
    for row in rows:
        assert sorted(row["pile"]) == sorted(DECK)
        assert sorted(row["pile"][:7]) == sorted([*row["hand"].flatten(), 1])
    shown = batch.views(batch.out.obs)[:, 1, :27].reshape(3, 3, 9)  # player 1 sees the new hand, card by card
    assert shown.argmax(-1).tolist() == rows["hand"][:, 0].tolist() and (shown.sum(-1) == 1).all()


@pytest.mark.parametrize(
    "change",
    [
        (0, 0, 1, 8),  # a red card where yellow was named
        (0, 5, 0, 8),  # a rank 1 where rank 2 was named
        (0, 5, 7, 1),  # rank 2, but not hinted as such
        (0, 5, 1, 9),  # no such card
        (0, 5, -1, 8),  # a slot left empty
        (0, 5, 1, -2),
        (0, 3, 1, 10**12),
        (0, 5, 7, 5),  # two Y3, and there is but one
        (2, 5, 1, 8),  # no such player
        (-1, 5, 1, 8),
        (2, -1, -1, -1),
        (1, 0, 4, 0),  # two R1 in all, and player 0 has one
    ],
)
def test_hands_that_cannot_be_are_refused(change):
    batch = midgame(2)
    memory, view = batch.memory.clone(), batch.out.obs.clone()
    assert not change_to(batch, *change).any()
    assert torch.equal(batch.memory, memory) and torch.equal(batch.out.obs, view)


def test_empty_slots_stay_empty():
    """The last round: the deck is empty, and player 0 holds a single card, the only one that is nowhere else."""
    batch = dealt(world("hanabi-very-small", max_information_tokens=0, max_life_tokens=9), [4, 3, 3, 2, 2, 1, 1, 0, 0, 0])
    for _ in range(7):
        play(batch, 2)
    memory = batch.memory.clone()
    assert rows_of(batch)["hand"].tolist() == [[[0, -1], [0, 0]]]
    for change in [(0, 0, 0), (0, -1, 0), (1, 0, -1)]:
        assert not change_to(batch, *change).any()
        assert torch.equal(batch.memory, memory)
    for change in [(0, 0, -1), (0,), (1, 0, 0), (1,)]:
        assert change_to(batch, *change).all()
        assert rows_of(batch)["hand"].tolist() == [[[0, -1], [0, 0]]]


def fair(found: Counter, weights: Counter, n: int) -> bool:
    """Does what was found agree with chances in proportion to the weights?"""
    assert set(found) <= set(weights)
    expected = np.array(list(weights.values())) * n / weights.total()
    assert expected.min() > 5
    return stats.chisquare([found[key] for key in weights], expected).pvalue > LUCK


def test_random_hands_are_uniform_over_all_that_hints_leave():
    """Against all hands from the cards that player 0 does not see, one by one; and so is the card drawn next."""
    n, batch = 40000, midgame(40000)
    row = rows_of(batch)[0].copy()
    pool = [*row["pile"][7:].tolist(), *row["hand"][0].tolist()]
    fits = lambda slot, card: row["colours"][0, slot] >> card // 3 & 1 and row["ranks"][0, slot] >> card % 3 & 1
    hands, nexts = Counter(), Counter()
    for places in itertools.permutations(range(len(pool)), 4):
        cards = tuple(pool[k] for k in places)
        if all(fits(slot, cards[slot]) for slot in range(3)):
            hands[cards[:3]] += 1
            nexts[cards[3]] += 1
    assert change_to(batch, 0).all()
    assert fair(Counter(map(tuple, rows_of(batch)["hand"][:, 0].tolist())), hands, n)
    play(batch, NAMES.index("play 0"))
    assert fair(Counter(rows_of(batch)["hand"][:, 0, 2].tolist()), nexts, n)


def test_random_hands_of_hanabi_small_are_uniform():
    """The same in the registered small game, where one of two cards has been hinted."""
    n, game = 20000, world("hanabi-small")
    deck = [0, 7, 1, 5, *sorted((Counter(game.default["deck"].tolist()) - Counter([0, 7, 1, 5])).elements())]
    batch = dealt(game, deck, n)
    for name in ("hint R", "hint R", "hint 1"):
        play(batch, game.action_names.index(name))
    row = rows_of(batch)[0].copy()
    assert row["colours"][0].tolist() == [1, 2]
    pool = [*row["pile"][4:].tolist(), *row["hand"][0].tolist()]
    hands = Counter((a, b) for a, b in itertools.permutations(pool, 2) if a < 5 <= b)
    assert change_to(batch, 0).all()
    assert fair(Counter(map(tuple, rows_of(batch)["hand"][:, 0].tolist())), hands, n)


def test_other_worlds_cannot_be_edited():
    with pytest.raises(UsageError, match="ipd: its state cannot be changed from outside"):
        make("ipd").edit(torch.ones(1, dtype=torch.bool), torch.zeros(1, 1, dtype=torch.int64))


# Mistakes


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("hanabi", {"players": 6}, "players is 6; allowed are whole numbers from 2 to 5"),
        ("hanabi", {"hand_size": 9}, "hand_size is 9; allowed are whole numbers from 1 to 8"),
        ("hanabi-very-small", {"players": 4, "hand_size": 3}, "4 players with 3 cards each need 12; this deck has 10: fewer players, or"),
        ("hanabi", {"bomb": "boom"}, "bomb is 'boom'; allowed are zero, keep, minus-one"),
        ("hanabi", {"copies": [3, 2]}, "copies has 2 entries; allowed is one for each of the 5 ranks"),
        ("hanabi", {"copies": [3, 2, 2, 2, 4]}, "copies is 4; allowed are whole numbers from 1 to 3"),
        ("hanabi", {"colours": 3}, "world 'hanabi' has no parameter 'colours'; did you mean 'colors'?"),
        ("hanabi-smal", {}, "world 'hanabi-smal' is unknown; did you mean 'hanabi-small'?"),
    ],
)
def test_mistakes_are_told_in_one_line(name, params, message):
    with pytest.raises(UsageError) as told:
        world(name, **params)
    assert message in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"deck": [0] * 10}, "level 0: deck [0, 0, 0, 0, 0, 0, 0, 0, 0, 0] is not the game's; allowed are orders of 3 x 0, 2 x 1, 2 x 2"),
        ({"deck": [[0, 0, 0, 1, 1, 2, 2, 3, 3, 4]] * 2 + [[0, 0, 0, 1, 1, 2, 2, 3, 3, 9]]}, "level 2: deck"),
        ({"copies": [3, 2, 2, 1, 1]}, "level field 'copies' shapes what is seen: make a world with it instead"),
        ({"most_info": 4}, "level field 'most_info' shapes what is seen"),
        ({"most_lives": 2}, "level field 'most_lives' shapes what is seen"),
        ({"bomb": 3}, "level 0: bomb holds 3; allowed are finite numbers from 0 to 2"),
        ({"deck": [0, 1, 2]}, "level field 'deck': could not broadcast input array"),
        ({"deck": 300}, "level field 'deck': "),
        ({"hand": 0}, "level field 'hand' is unknown; allowed are deck, copies, given"),
    ],
)
def test_mistaken_levels_change_nothing(fields, message):
    batch = make("hanabi-very-small", num_envs=3)
    batch.step(batch.random_action(0))
    memory = batch.memory.clone()
    with pytest.raises(UsageError) as told:
        batch.pack_levels(**fields)
    assert message in str(told.value) and "\n" not in str(told.value)
    assert torch.equal(batch.memory, memory)


# Views


@pytest.mark.parametrize("shape, threads", [((3, 2, 8), 1), ((1, 4), 1), ((0, 4), 1), ((5000, 2, 84), 2)])
def test_bits_are_unpacked(shape, threads):
    torch.set_num_threads(threads)
    packed = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for features in (1, 8 * shape[-1] - 13, 8 * shape[-1]):
        bits = unpack(torch.from_numpy(packed), features)
        assert bits.dtype == torch.uint8
        np.testing.assert_array_equal(bits, np.unpackbits(packed, axis=-1, bitorder="little")[..., :features])


def test_discards_are_thermometers_of_the_worlds_own_copies():
    """mini-hanabi has two, two and one of a colour's ranks, which OpenSpiel's never has."""
    game = world("mini-hanabi")
    places = [k for k, bit in enumerate(labels(game)) if bit[1] == "discarded"]
    assert len(places) == 15 and game.observation == (len(labels(game)),)
    batch = make("mini-hanabi", num_envs=40, seed=2)
    for draw in range(30):
        batch.step(batch.random_action(draw))
        gone = rows_of(batch)["discarded"]
        wanted = [[k < int(count) for card, count in enumerate(row) for k in range((2, 2, 1)[card % 3])] for row in gone]
        for p in range(2):
            assert batch.views(batch.out.obs)[:, p, places].tolist() == [[int(bit) for bit in row] for row in wanted]


# Text


@pytest.mark.parametrize("name, params", [("hanabi-small", {}), ("hanabi", PERMUTED)])
def test_moves_are_told_as_the_rules_remember_them(name, params):
    batch = make(name, num_envs=40, seed=5, **params)
    for draw in range(30):
        before, action = rows_of(batch).copy(), batch.random_action(draw).numpy().copy()
        told = [decoded(row, int(action[i, row["mover"]])) for i, row in enumerate(before)]
        ended = batch.step(torch.from_numpy(action)).terminated
        for i in (~ended).nonzero().flatten().tolist():
            assert rows_of(batch)["last"][i].tolist() == told[i]


def test_pictures():
    batch = midgame(1)
    assert picture(rows_of(batch)[0]).splitlines() == [
        "player_1 hints 2 to player_0: slot 1",
        "player_0 to move; score 0; fireworks R0 Y0 G0; hints 3, lives 3; 8 to draw",
        "discards  R2",
        "player_0  Y1      G2      R1",
        "knows     .Y.1.3  R.G.2.  RYG1.3",
        "player_1  R1      Y2      G1",
        "knows     RYG1..  RYG.23  RYG1..",
    ]


def test_transcripts_refuse_what_cannot_be_played():
    game = world("mini-hanabi")
    with pytest.raises(UsageError, match="level 0: deck"):
        transcript(game, [0] * 15, [])
    with pytest.raises(UsageError, match="agent 0: action 0 is not legal"):
        transcript(game, DECK, [0])
    small = world("hanabi-very-small")
    with pytest.raises(UsageError, match="move 2 comes after the end of the game"):
        transcript(small, [1, 0, 1, 2, 0, 0, 2, 3, 3, 4], [2, 2])


# Golden games


def replay(game: World, deck: list[int], moves: list[int]) -> tuple[int, bool, str]:
    """Score, whether the game is over, and the SHA-256 of all packed views of all players, the last ones included."""
    batch, score = dealt(game, deck), 0
    seen, over = [batch.out.obs.numpy().tobytes()], False
    for move in moves:
        assert not over
        out = play(batch, move)
        score, over = score + int(out.reward[0, 0]), bool(out.terminated)
        seen.append((out.final_obs if over else out.obs).numpy().tobytes())
    return score, over, hashlib.sha256(b"".join(seen)).hexdigest()


@pytest.mark.parametrize("kept", json.loads((GOLDEN / "hanabi.json").read_text()) if GOLDEN.exists() else [], ids=lambda kept: kept["id"])
def test_golden_games(kept):
    score, over, views = replay(world(kept["world"], **kept["params"]), kept["deck"], kept["moves"])
    assert (score, views) == (kept["score"], kept["views"]) and over


def test_golden_transcript():
    kept = json.loads((GOLDEN / "hanabi.json").read_text())[0]
    assert transcript(world(kept["world"], **kept["params"]), kept["deck"], kept["moves"]) + "\n" == (GOLDEN / "hanabi.txt").read_text()


def write_golden() -> None:
    """A few games played well, and the first as text."""
    kept = []
    cases = [("hanabi-small", {}), ("hanabi", {}), ("hanabi", {"players": 3}), ("hanabi", {"players": 5}), ("mini-hanabi", {})]
    for seed, (name, params) in enumerate(cases):
        game, rng = world(name, **params), np.random.default_rng(seed)
        deck, moves = rng.permutation(game.default["deck"]).tolist(), []
        batch = dealt(game, deck)
        while not moves or not batch.out.terminated:
            row = rows_of(batch)[0]
            moves.append(cheat(row, batch.out.legal[0, int(row["mover"])].numpy(), rng))
            play(batch, moves[-1])
        score, _, views = replay(game, deck, moves)
        where = f"{name}, {game.agents} players"
        kept.append({"id": where, "world": name, "params": params, "deck": deck, "moves": moves, "score": score, "views": views})
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "hanabi.json").write_text("[\n" + ",\n".join(json.dumps(game) for game in kept) + "\n]\n")
    first = kept[0]
    (GOLDEN / "hanabi.txt").write_text(transcript(world(first["world"]), first["deck"], first["moves"]) + "\n")


if __name__ == "__main__":
    write_golden()
