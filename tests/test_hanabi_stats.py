"""What hints tell literally, against the enumeration of all hands."""

import numpy as np
import pytest
from test_obl import hands_left, midgame

from interplay.policies.hanabi_stats import KNOWN, Literal


@pytest.mark.parametrize(
    ("name", "params", "turns"), [("hanabi-small", {}, 14), ("mini-hanabi", {"players": 3}, 11), ("mini-hanabi", {"bomb": "keep"}, 17)]
)
def test_probabilities_are_those_of_all_hands(name, params, turns):
    batch, rows = midgame(name, params, turns=turns, n=24, seed=6)
    read, hinted = Literal(batch.world), 0
    found = read(batch.out.obs.flatten(0, 1)).view(batch.n, batch.agents, read.size, read.cards).numpy()
    for k, q in np.ndindex(batch.n, batch.agents):
        left, expected = hands_left(rows[k], q), np.zeros((read.size, read.cards))
        for hand, ways in left.items():
            for slot, card in enumerate(hand):
                expected[slot, card] += ways / sum(left.values())
        np.testing.assert_allclose(found[k, q], expected, atol=1e-6)
        hinted += len(left) > 1 and (rows[k]["told"][q] > 0).any()
    assert hinted > 10


@pytest.mark.parametrize(("name", "params"), [("hanabi", {}), ("hanabi-small", {}), ("mini-hanabi", {"players": 3})])
def test_what_was_known_of_a_play(name, params):
    batch, rows = midgame(name, params, turns=9, n=64, seed=8)
    read, seen = Literal(batch.world), set()
    movers = rows["mover"].astype(int)
    obs = batch.out.obs[np.arange(64), movers]
    for slot in range(read.size):
        action = batch.out.legal.new_full((64,), 0).long() + read.size + slot
        miss, known = read.plays(obs, action)
        belief = read(obs)
        for k in range(64):
            w = rows[k]
            assert KNOWN[known[k]] == ("none", "colour", "rank", "both")[w["told"][movers[k], slot]]
            fit = [c for c in range(read.cards) if w["fireworks"][c // read.ranks] == c % read.ranks]
            assert float(miss[k]) == pytest.approx(1 - float(belief[k, slot, fit].sum()), abs=1e-9)
            seen.add(int(known[k]))
    assert len(seen) >= 3
