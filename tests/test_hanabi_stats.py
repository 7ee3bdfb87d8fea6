"""What hints tell literally, against the enumeration of all hands."""

import numpy as np
import pytest
import torch
from test_obl import hands_left, midgame

from interplay.envs import make
from interplay.policies.hanabi_stats import KNOWN, Literal
from interplay.policies.study import study


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


class Careful:
    """Plays its oldest card where hints alone are sure of it; else hints, or discards, at random."""

    def __init__(self, batch, bold=False):
        self.read, self.bold = Literal(batch.world), bold

    def start(self, env):
        return None

    def act(self, env, shown, carry, draw):
        action = env.random_action(draw).clone()
        rows, size = shown.obs.flatten(0, 1), self.read.size
        doubt, _ = self.read.plays(rows, torch.full((len(rows),), size))
        plays = (action >= size) & (action < 2 * size)
        first = torch.where(shown.legal[..., 2 * size :].any(-1), 2 * size + shown.legal[..., 2 * size :].int().argmax(-1), 0)
        sure = (doubt.view(action.shape) < 1e-9) & shown.legal[..., size]
        if not self.bold:
            action = torch.where(plays, first, action)
        return torch.where(sure, size, action), None, None


@pytest.mark.parametrize("bold", [False, True])
def test_who_reads_literally_has_no_gap(bold):
    """What is sure never fails; and random plays fail as often as hints alone predict, since nobody means anything by them."""
    batch = make("mini-hanabi", 1500, seed=3)
    found = study(batch, Careful(batch, bold))
    assert found.plays > 0.2 and sum(found.known.values()) == pytest.approx(1)
    if bold:
        assert abs(found.gap) < 4 * 0.5 / np.sqrt(found.plays * 1500) and found.misplays > 0.3
    else:
        assert found.misplays == 0 and found.doubt < 1e-6


def test_who_cheats_has_a_large_gap():
    """A player who sees its own cards plays without a hint what hints know nothing of."""
    batch = make("mini-hanabi", 300, seed=3)
    rows = batch.memory.numpy().view(batch.world.record).reshape(300)

    class Cheat(Careful):
        def act(self, env, shown, carry, draw):
            hand = torch.from_numpy(rows["hand"].astype(np.int64))
            fireworks = torch.from_numpy(rows["fireworks"].astype(np.int64))
            ranks = self.read.ranks
            fits = (hand >= 0) & (fireworks.gather(1, (hand.clamp(min=0) // ranks).flatten(1)).view(hand.shape) == hand % ranks)
            slot = fits.int().argmax(-1)
            return torch.where(fits.any(-1), self.read.size + slot, super().act(env, shown, carry, draw)[0]), None, None

    found = study(batch, Cheat(batch))
    assert found.misplays == 0 and found.gap > 0.2 and found.known["none"] > 0.5
