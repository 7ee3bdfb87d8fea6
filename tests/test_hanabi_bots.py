"""Hanabi's rule bots: every rule in a hand-made situation, only what a player may see, legal moves, and scores in self-play."""

import numpy as np
import pytest
import torch

from interplay.envs import make
from interplay.envs.core import UsageError
from interplay.policies import hanabi_smartbot
from interplay.policies.hanabi_bots import (
    BOTS,
    DISCARD_ANY,
    DISCARD_LIKELY,
    DISCARD_OLDEST,
    DISCARD_UNTOLD,
    DISCARD_USELESS,
    GAMBLE,
    HINT_ANY,
    HINT_DISPENSABLE,
    HINT_MOST,
    HINT_PLAYABLE,
    HINT_UNKNOWN,
    PLAY,
    RISK,
    RuleBot,
    bot,
)

COLOURS = "RYGWB"
MINE, THEIRS = "R3 Y3 G3 W3 B3", "R4 Y4 G4 W4 B4"  # nothing to be done with, unless something is known


def cards(text):
    return [5 * COLOURS.index(c) + int(r) - 1 for c, r in text.split()]


def rows_of(batch):
    return batch.memory.numpy().view(batch.world.record).reshape(batch.n)


def know(row, q, slot, text):
    """A player has been told a card's colour, rank, or both."""
    for x in text:
        if x in COLOURS:
            row["colours"][q, slot], row["told"][q, slot] = 1 << COLOURS.index(x), row["told"][q, slot] | 1
        else:
            row["ranks"][q, slot], row["told"][q, slot] = 1 << int(x) - 1, row["told"][q, slot] | 2


def table(mine=MINE, theirs=THEIRS, known=None, theirs_known=None, fireworks=(0, 0, 0, 0, 0), discards="", n=1, deck=40, **fields):
    """Two players; player 0 is to move."""
    batch = make("hanabi", num_envs=n)
    for row in rows_of(batch):
        row["hand"] = [cards(mine), cards(theirs)]
        row["fireworks"], row["score"], row["drawn"] = fireworks, sum(fireworks), 50 - deck
        for card in cards(discards):
            row["discarded"][card] += 1
        for q, facts in enumerate((known, theirs_known)):
            for slot, text in (facts or {}).items():
                know(row, q, slot, text)
        for name, value in fields.items():
            row[name] = value
    batch.reset(torch.zeros(n, dtype=torch.bool))
    return batch


def chosen(player, batch, draw=0):
    """What the mover of world 0 does, in words."""
    action, logp, _ = player.act(batch, batch.out, player.start(batch), draw)
    batch.check(action)
    assert logp.shape == action.shape and not logp.any()
    return batch.world.action_names[int(action[0, int(rows_of(batch)["mover"][0])])]


ONE, HALF = (1, 0, 0, 0, 0), (1, 1, 1, 0, 0)  # a card known as a 1 is playable with probability 12/14, and 6/12
SITUATIONS = [
    # Plays: a card known, a rank of which all are playable, a card that only counting tells (four fives are seen), the oldest of two.
    ([(PLAY, 1)], {"known": {2: "R1"}}, "play 2"),
    ([(PLAY, 1)], {"known": {3: "1"}}, "play 3"),
    ([(PLAY, 1)], {"theirs": "Y5 G5 W5 B5 R1", "known": {4: "5"}, "fireworks": (4, 0, 0, 0, 0)}, "play 4"),
    ([(PLAY, 1)], {"known": {3: "1", 1: "1"}}, "play 1"),
    ([(PLAY, 1), (DISCARD_OLDEST, 0)], {"known": {3: "1"}, "fireworks": ONE, "info": 7}, "discard 0"),
    ([(PLAY, 0.4)], {"known": {3: "1"}, "fireworks": HALF, "lives": 1}, "play 3"),
    ([(RISK, 0.6)], {"known": {3: "1"}, "fireworks": ONE}, "play 3"),
    ([(RISK, 0.6), (DISCARD_OLDEST, 0)], {"known": {3: "1"}, "fireworks": ONE, "info": 7, "lives": 1}, "discard 0"),
    ([(RISK, 0.6), (DISCARD_OLDEST, 0)], {"known": {3: "1"}, "fireworks": HALF, "info": 7}, "discard 0"),
    ([(GAMBLE, 0)], {"known": {0: "4", 1: "4", 2: "4", 3: "2", 4: "4"}, "fireworks": ONE, "deck": 0}, "play 3"),
    ([(GAMBLE, 0), (DISCARD_OLDEST, 0)], {"known": {3: "2"}, "fireworks": ONE, "info": 7, "deck": 1}, "discard 0"),
    ([(GAMBLE, 0), (DISCARD_OLDEST, 0)], {"known": {3: "2"}, "fireworks": ONE, "info": 7, "deck": 0, "lives": 1}, "discard 0"),
    # Hints: the rank first, then the colour, then the next card.
    ([(HINT_PLAYABLE, 0)], {"theirs": "R4 Y1 G4 W1 B4"}, "hint 1"),
    ([(HINT_PLAYABLE, 0)], {"theirs": "R4 Y1 G4 W1 B4", "theirs_known": {1: "1", 3: "1"}}, "hint Y"),
    ([(HINT_PLAYABLE, 0)], {"theirs": "R4 Y1 G4 W1 B4", "theirs_known": {1: "Y1", 3: "1"}}, "hint W"),
    ([(HINT_PLAYABLE, 0), (DISCARD_OLDEST, 0)], {"theirs": "R4 Y1 G4 W4 B4", "info": 0}, "discard 0"),
    ([(HINT_DISPENSABLE, 4)], {"theirs": "R1 Y4 G4 W4 B4", "fireworks": ONE, "info": 3}, "hint 1"),
    ([(HINT_DISPENSABLE, 4)], {"theirs": "R4 Y4 G4 W4 B2", "discards": "B1 B1 B1", "info": 3}, "hint 2"),  # nobody can play it any more
    ([(HINT_DISPENSABLE, 4), (DISCARD_OLDEST, 0)], {"theirs": "R1 Y4 G4 W4 B4", "fireworks": ONE, "info": 4}, "discard 0"),
    ([(HINT_UNKNOWN, 0)], {"theirs_known": {0: "R4", 1: "4"}}, "hint Y"),
    ([(HINT_MOST, 0)], {"theirs": "R4 Y2 R3 W2 B2"}, "hint 2"),
    ([(HINT_MOST, 0)], {"theirs": "R4 Y2 R3 W2 B2", "theirs_known": {1: "2", 3: "2"}}, "hint R"),
    # Discards.
    ([(DISCARD_USELESS, 0)], {"known": {2: "1", 4: "R1"}, "fireworks": ONE, "info": 7}, "discard 4"),
    ([(DISCARD_USELESS, 0)], {"known": {3: "B2"}, "discards": "B1 B1 B1", "info": 7}, "discard 3"),
    ([(DISCARD_USELESS, 0), (HINT_UNKNOWN, 0)], {"known": {4: "R1"}, "fireworks": ONE, "info": 8}, "hint 4"),
    ([(DISCARD_LIKELY, 0)], {"known": {2: "1", 3: "3"}, "fireworks": HALF, "info": 7}, "discard 2"),
    ([(DISCARD_UNTOLD, 0)], {"known": {0: "3", 1: "Y"}, "info": 7}, "discard 2"),
    ([(DISCARD_UNTOLD, 0), (HINT_UNKNOWN, 0)], {"known": dict.fromkeys(range(5), "3"), "info": 7}, "hint 4"),
    ([(DISCARD_OLDEST, 0)], {"known": {0: "3"}, "info": 7}, "discard 0"),
    ([(DISCARD_OLDEST, 0), (HINT_UNKNOWN, 0)], {}, "hint 4"),  # no token is missing
]


@pytest.mark.parametrize("rules, situation, expected", SITUATIONS)
def test_rules(rules, situation, expected):
    assert chosen(RuleBot("a list of my own", tuple(rules)), table(**situation)) == expected


BUSY = {"known": {3: "1"}, "theirs": "R4 Y1 G4 W4 B4", "info": 3}  # a sure play and a card to tell of


@pytest.mark.parametrize(
    "name, situation, expected",
    [
        *((name, BUSY, "play 3") for name in ("iggi", "piers", "outer", "van-den-bergh", "flawed", "smartbot")),
        *((name, {**BUSY, "known": {0: "R1"}, "fireworks": ONE}, "hint 1") for name in ("iggi", "piers")),
        *((name, {**BUSY, "known": {0: "R1"}, "fireworks": ONE}, "discard 0") for name in ("outer", "van-den-bergh")),
        ("iggi", {"known": {0: "3"}, "info": 3}, "discard 1"),
        ("piers", {"known": {0: "3"}, "info": 3}, "discard 0"),
        ("piers", {"theirs": "R1 Y4 G4 W4 B4", "fireworks": ONE, "info": 3}, "hint 1"),
        ("piers", {"known": {3: "1"}, "fireworks": ONE}, "play 3"),
        ("iggi", {"known": {3: "1"}, "fireworks": ONE, "info": 3}, "discard 0"),
        ("van-den-bergh", {"known": {3: "1"}, "fireworks": ONE}, "play 3"),
        ("van-den-bergh", {"info": 3}, "hint 4"),
        ("outer", {"info": 3}, "hint 4"),
        ("smartbot", {**BUSY, "known": {0: "R1"}, "fireworks": ONE}, "hint Y"),
        ("flawed", {"known": {3: "1"}, "fireworks": HALF, "lives": 1}, "play 3"),
    ],
)
def test_lists(name, situation, expected):
    assert chosen(bot(name), table(**situation)) == expected


@pytest.mark.parametrize("rule, info", [(HINT_ANY, 8), (DISCARD_ANY, 3), (None, 3), (None, 8), (None, 0)])
def test_dice_are_uniform(rule, info):
    """Every move that a rule allows, equally often: chi-square within 5 standard deviations of its mean."""
    batch = table(theirs="R4 Y4 Y3 W3 B4", n=4000, info=info)
    action = RuleBot("", () if rule is None else ((rule, 0),)).act(batch, batch.out, None, 3)[0][:, 0]
    legal = batch.out.legal[0, 0].clone()
    if rule is not None:
        legal[:5], legal[5:10], legal[10:] = rule == DISCARD_ANY, False, legal[10:] & (rule == HINT_ANY)
    counts = torch.bincount(action, minlength=20)
    assert not counts[~legal].any()
    free, expected = int(legal.sum()) - 1, 4000 / int(legal.sum())
    square = ((counts[legal] - expected) ** 2 / expected).sum()
    assert square < free + 5 * (2 * free) ** 0.5


def test_dice_are_keyed_by_draw_and_player():
    batch = table(n=2000)
    throws = [RuleBot("random-legal").act(batch, batch.out, None, draw)[0][:, 0] for draw in (0, 0, 1)]
    assert torch.equal(throws[0], throws[1])
    assert (throws[0] == throws[2]).float().mean() < 0.2


# SmartBot: what hints mean. Player 0 gives a hint, player 1 answers.


def answer(theirs, hint, **situation):
    batch, player = table(theirs=theirs, **situation), bot("smartbot")
    carry = player.act(batch, batch.out, player.start(batch), 0)[2]
    action = torch.tensor([[batch.world.action_names.index(hint), 0]])
    batch.check(action)
    batch.step(action)
    action, _, carry = player.act(batch, batch.out, carry, 1)
    assert torch.equal(carry[:, 0], carry[:, 1]), "what hints mean is common knowledge"
    return batch.world.action_names[int(action[0, 1])]


@pytest.mark.parametrize(
    "theirs, hint, situation, expected",
    [
        ("Y3 R1 W4 R4 B4", "hint R", {"info": 1}, "play 1"),  # the oldest that may be playable
        ("Y3 R4 W4 B4 R1", "hint R", {"info": 1}, "play 4"),  # the newest, untouched so far
        ("Y3 R1 W4 B4 R4", "hint R", {"info": 1, "theirs_known": {4: "4"}}, "play 1"),  # the newest cannot be meant
        ("R1 R4 W4 B3 Y4", "hint R", {"info": 1}, "play 0"),  # a colour says nothing of what to keep
        ("Y5 R4 W4 B3 Y4", "hint 5", {"info": 1}, "discard 1"),  # the next discard is critical: another is thrown away
        ("B3 R4 W4 B4 Y5", "hint 5", {"info": 1}, "discard 0"),  # no five is playable, and none would be discarded: news, no more
        ("Y2 R4 W4 B3 Y4", "hint 2", {"info": 1, "discards": "Y2"}, "discard 1"),
        ("Y2 R4 W4 B3 Y4", "hint 2", {"info": 1, "fireworks": (0, 1, 0, 0, 0)}, "play 0"),
    ],
)
def test_smartbot_understands(theirs, hint, situation, expected):
    assert answer(theirs, hint, **situation) == expected


@pytest.mark.parametrize(
    "situation, expected",
    [
        ({"theirs": "Y5 R4 W4 B3 Y4", "info": 3}, "hint 5"),  # warns
        ({"theirs": "Y2 R4 W4 B3 Y4", "info": 3, "discards": "Y2"}, "hint 2"),
        ({"theirs": "Y5 R4 W4 B3 Y4", "info": 3, "known": {2: "1"}}, "hint 5"),  # rather than play
        ({"theirs": "Y5 R4 W4 B3 Y1", "info": 3, "theirs_known": {4: "1"}, "known": {2: "1"}}, "play 2"),  # the other has something to play
        ({"theirs": "Y3 R1 W1 R4 B1", "info": 3}, "hint 1"),  # three cards at once
        ({"theirs": "Y3 R4 W4 R1 B1", "info": 3, "known": {0: "Y5"}, "theirs_known": {4: "1"}}, "hint 1"),
        ({"info": 3, "known": {2: "R1"}, "fireworks": ONE}, "discard 2"),
        ({"info": 3, "known": {0: "5", 1: "Y"}}, "discard 1"),  # a five is kept
        ({"known": {3: "1"}, "fireworks": ONE, "info": 0}, "play 3"),  # takes a chance
        ({"known": {3: "1"}, "fireworks": ONE, "info": 0, "lives": 1}, "discard 0"),
        ({"known": {4: "W5"}, "deck": 3, "info": 1}, "hint 4"),  # stalls
    ],
)
def test_smartbot_chooses(situation, expected):
    assert chosen(bot("smartbot"), table(**situation)) == expected


def test_smartbot_is_not_misled_by_strangers():
    """A hint that cannot mean what it should leaves what it says, and the memory follows cards that move up."""
    assert answer("Y3 R4 W4 B3 Y4", "hint R", info=1).startswith("play 1")  # a lie is believed
    batch, player = make("hanabi", num_envs=500, seed=4), bot("smartbot")
    carry = player.start(batch)
    for draw in range(30):
        carry = player.act(batch, batch.out, carry, draw)[2]
        rows, said = rows_of(batch), sets(carry, batch)
        assert (said[:, 0] == said[:, 1]).all()
        assert ((said[:, 0] < 2**25 - 1) | (rows["hand"] < 0)).all(), "something always remains possible"
        out = batch.step(RuleBot("random-legal").act(batch, batch.out, None, draw)[0])
        carry = carry * ~out.terminated.view(-1, 1, 1)


def sets(carry, batch):
    """Sets ruled out `[N, A, players, hand]`."""
    halves = carry.numpy().astype(np.int64).reshape(batch.n, batch.agents, batch.agents, -1, 2)
    return halves[..., 0] | halves[..., 1] << hanabi_smartbot.HALF


# Full games.


def play(player, batch, look=None):
    """Play until every world has ended: scores `[N]`; every move is checked."""
    score, total, carry = np.full(batch.n, -1.0), np.zeros(batch.n), player.start(batch)
    for draw in range(300):
        action, _, carry = player.act(batch, batch.out, carry, draw)
        batch.check(action)
        if look:
            look(batch, carry)
        out = batch.step(action)
        total += out.reward[:, 0].numpy()
        ended = out.terminated.numpy()
        score[ended & (score < 0)] = total[ended & (score < 0)]
        total[ended] = 0
        if carry is not None:
            carry = carry * ~out.terminated.view(-1, 1, 1)
        if (score >= 0).all():
            return score
    raise AssertionError("a game does not end")


@pytest.mark.parametrize(
    "name, players, low, high",
    [
        *(("smartbot", p, low, low + 1) for p, low in ((2, 22.3), (3, 22.4), (4, 21.7), (5, 20.0))),
        *(("iggi", p, low, low + 1.2) for p, low in ((2, 18.5), (5, 15.2))),
        *(("piers", p, low, low + 1.2) for p, low in ((2, 16.4), (5, 15.7))),
        *(("outer", p, low, low + 1.2) for p, low in ((2, 14.1), (5, 14.5))),
        *(("van-den-bergh", p, low, low + 1.4) for p, low in ((2, 14.2), (5, 15.5))),
        *(("flawed", p, low, low + 1) for p, low in ((2, 0), (5, 1.2))),
        ("random-legal", 2, 0, 0.01),
    ],
)
def test_scores(name, players, low, high):
    """Self-play over 1000 games, the standard error is at most 0.1."""
    assert low <= play(bot(name), make("hanabi", num_envs=1000, seed=5, players=players)).mean() <= high


def test_smartbot_means_what_it_says():
    """In self-play hardly ever is a card ruled out that is there: only where no true hint and no discard was left."""
    wrong, count = 0, 0

    def look(batch, carry):
        nonlocal wrong, count
        hand = rows_of(batch)["hand"].astype(np.int64)
        said = sets(carry, batch)[:, 0]
        wrong += ((said >> np.maximum(hand, 0) & 1 == 1) & (hand >= 0)).sum()
        count += (hand >= 0).sum()

    play(bot("smartbot"), make("hanabi", num_envs=500, seed=8), look=look)
    assert count > 250_000
    assert wrong / count < 1e-3


SHAPES = [
    ("hanabi-small", {}),
    ("hanabi-very-small", {}),
    ("mini-hanabi", {}),
    ("hanabi", {"players": 3, "permute": True, "random_start_player": True, "bomb": "keep"}),
    ("hanabi", {"players": 5, "colors": 3, "ranks": 4, "hand_size": 2, "max_information_tokens": 0}),
    ("hanabi", {"players": 4, "colors": 2, "hand_size": 1, "max_information_tokens": 1, "max_life_tokens": 1}),
    ("hanabi", {"players": 2, "hand_size": 8}),
    ("hanabi", {"players": 2, "colors": 1, "ranks": 2, "hand_size": 1, "max_information_tokens": 1, "max_life_tokens": 1}),
]


@pytest.mark.parametrize("name", BOTS)
@pytest.mark.parametrize("world, params", SHAPES)
def test_every_shape_of_the_game(name, world, params):
    play(bot(name), make(world, num_envs=200, seed=6, **params))


@pytest.mark.parametrize("players", [2, 3, 5])
@pytest.mark.parametrize("name", BOTS)
def test_only_what_a_player_may_see(name, players):
    """With another hand of the mover's and another deck, hints kept, the move is the same."""
    batch, player = make("hanabi", num_envs=400, seed=7, players=players, permute=True), bot(name)
    carry, other, changed = player.start(batch), 0, 0
    for draw in range(45):
        action, _, after = player.act(batch, batch.out, carry, draw)
        kept, rows = batch.snapshot(), rows_of(batch)
        hands = rows["hand"].copy()
        change = torch.full((batch.n, 1 + hands.shape[2]), -1)
        change[:, 0] = torch.from_numpy(rows["mover"].astype(np.int64))
        assert batch.edit(torch.ones(batch.n, dtype=torch.bool), change).all()
        changed += int((rows_of(batch)["hand"] != hands).any((1, 2)).sum())
        again, _, remembered = player.act(batch, batch.out, carry, draw)
        assert torch.equal(action, again)
        assert after is None or torch.equal(after, remembered)
        change[:, 0] = (change[:, 0] + 1) % players
        batch.edit(torch.ones(batch.n, dtype=torch.bool), change)
        other += int((player.act(batch, batch.out, carry, draw)[0] != action).any(1).sum())
        batch.restore(kept)
        out = batch.step(action)
        carry = None if after is None else after * ~out.terminated.view(-1, 1, 1)
    assert changed > 5000
    assert other > 1000, "the others' cards do matter"


@pytest.mark.parametrize("name", BOTS)
def test_the_size_of_the_batch_does_not_matter(name):
    """Alone, in a batch, or in the parallel loop of a large one: the same moves."""
    played = []
    for first, n in ((0, 3000), (2500, 300), (2600, 1)):
        batch, player = make("hanabi", num_envs=n, seed=9, first=first), bot(name)
        carry, moves = player.start(batch), []
        for draw in range(30):
            action, _, carry = player.act(batch, batch.out, carry, draw)
            moves.append(action)
            out = batch.step(action)
            carry = None if carry is None else carry * ~out.terminated.view(-1, 1, 1)
        played.append(torch.stack(moves, 1))
    assert torch.equal(played[0][2500:2800], played[1])
    assert torch.equal(played[0][2600:2601], played[2])


@pytest.mark.parametrize("name", BOTS)
def test_names_of_colours_do_not_matter(name):
    """A deck with other colours, of which every player sees the old ones: the same moves (what Other-Play asks for)."""
    rename, dice = np.array([2, 0, 4, 1, 3]), np.random.default_rng(3)
    decks = np.stack([dice.permutation(np.repeat(np.arange(25), [3, 2, 2, 2, 1] * 5)) for _ in range(300)])
    played = []
    for deck, order in ((decks, np.arange(5)), (rename[decks // 5] * 5 + decks % 5, rename)):
        batch, player = make("hanabi", num_envs=300, seed=1, players=3), bot(name)
        batch.set_level(torch.ones(300, dtype=torch.bool), batch.pack_levels(deck=deck, given=1))
        carry, moves = player.start(batch), []
        for draw in range(60):
            rows_of(batch)["order"], rows_of(batch)["place"] = order, np.argsort(order)
            action, _, carry = player.act(batch, batch.out, carry, draw)
            moves.append(action)
            out = batch.step(action)
            carry = None if carry is None else carry * ~out.terminated.view(-1, 1, 1)
        played.append(torch.stack(moves))
    assert torch.equal(*played)


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="did you mean 'piers'"):
        bot("peirs")
    with pytest.raises(UsageError, match="rule bots play hanabi; this is ipd"):
        bot("iggi").start(make("ipd"))
