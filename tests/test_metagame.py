"""The meta-game against the closed forms it is made of."""

import pytest
import torch

from interplay.envs.core import UsageError
from interplay.envs.exact import values
from interplay.envs.matrix import CLASSICS
from interplay.learners.meta import Annealing
from interplay.learners.metagame import MetaGame, MetaGameConfig


def test_a_step_is_a_game_and_a_naive_step():
    game = MetaGame(MetaGameConfig(), 6, seed=1)
    before, theta = game.other.clone(), torch.randn(6, 1, 5, generator=torch.Generator().manual_seed(0))
    out = game.step(theta)
    other = before[:, 0].clone().requires_grad_()
    mine, yours = values(theta[:, 0], other, CLASSICS["ipd"], 0.96)
    step = torch.autograd.grad(yours.sum() / 0.04, other)[0]
    assert torch.allclose(out.reward[:, 0], mine.detach(), atol=1e-5)
    assert torch.allclose(out.obs[:, 0], torch.sigmoid(torch.cat([theta[:, 0], before[:, 0]], -1)))
    assert torch.allclose(game.other[:, 0], before[:, 0] + step, atol=1e-3)
    assert game.outcome()["reward_per_step/learner"] == pytest.approx(float(yours.detach().mean()), abs=1e-5)
    assert game.outcome() == {}


def test_tit_for_tat_earns_what_it_should():
    """TFT against fresh naive learners over whole meta-episodes: -1.01 a step (shaping.md), always-defect -1.98."""
    for logits, expected in (([5.0, -5, 5, -5, 5], -1.01), ([-5.0] * 5, -1.98)):
        game = MetaGame(MetaGameConfig(), 500, seed=2)
        total = sum(float(game.step(torch.tensor(logits).expand(500, 1, 5).contiguous()).reward.mean()) for _ in range(100))
        assert total / 100 == pytest.approx(expected, abs=0.04)


def test_episodes_end_and_begin_with_new_learners():
    game = MetaGame(MetaGameConfig(episode=3), 4, seed=3)
    first = game.other.clone()
    theta = torch.zeros(4, 1, 5)
    ends = [bool(game.step(theta).truncated.all()) for _ in range(6)]
    assert ends == [False, False, True, False, False, True]
    assert not torch.allclose(game.other, first)


def test_sharding_does_not_change_games():
    whole = MetaGame(MetaGameConfig(episode=4), 8, seed=5)
    parts = [MetaGame(MetaGameConfig(episode=4), 4, seed=5, first=4 * k) for k in range(2)]
    theta = torch.randn(8, 1, 5, generator=torch.Generator().manual_seed(1))
    for _ in range(6):
        expected = whole.step(theta).reward.clone()
        got = torch.cat([part.step(theta[4 * k : 4 * k + 4]).reward for k, part in enumerate(parts)])
        assert torch.equal(expected, got)


def test_shapers_meet_or_have_learners_of_their_own():
    game = MetaGame(MetaGameConfig(), 5, shapers=2, seed=1)
    theta = torch.randn(5, 2, 5, generator=torch.Generator().manual_seed(2))
    game.configure({"meet": True})
    kept = game.other.clone()
    out = game.step(theta)
    mine, yours = values(theta[:, 0], theta[:, 1], CLASSICS["ipd"], 0.96)
    assert torch.allclose(out.reward, torch.stack([mine, yours], 1), atol=1e-5)
    assert torch.equal(game.other, kept)
    game.configure({})
    game.step(theta)
    assert not torch.equal(game.other, kept)


def test_sampled_games_agree_with_the_closed_form():
    exact, sampled = (MetaGame(MetaGameConfig(samples=s, rounds=200), 16, seed=4) for s in (0, 256))
    theta = torch.tensor([1.0, -1.0, 0.5, -0.5, 0.3]).expand(16, 1, 5).contiguous()
    sampled.other.copy_(exact.other)
    mean = exact.step(theta).reward
    # the closed form discounts, the sampled mean does not: they agree to what the start and the sampling leave
    assert torch.allclose(sampled.step(theta).reward, mean, atol=0.12)
    moved = lambda game, start: game.other - start
    start = MetaGame(MetaGameConfig(), 16, seed=4).other
    a, b = moved(exact, start).flatten(), moved(sampled, start).flatten()
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.9


def test_lola_opponents_need_the_closed_form():
    with pytest.raises(UsageError, match="samples 0"):
        MetaGame(MetaGameConfig(opponent="lola", samples=4), 2)
    naive, lola = MetaGame(MetaGameConfig(), 8, seed=1), MetaGame(MetaGameConfig(opponent="lola"), 8, seed=1)
    lola.other.copy_(naive.other)
    theta = torch.tensor([3.0, -3, 3, -3, 3]).expand(8, 1, 5).contiguous()
    naive.step(theta)
    lola.step(theta)
    assert not torch.allclose(naive.other, lola.other, atol=1e-2)


def test_annealing_ends_in_self_play():
    meta = Annealing(0.01, seed=0)
    met = [meta.ask(3)[2].options["meet"] for _ in range(200)]
    assert sum(met[:20]) < 8 and all(met[100:])
    assert 30 < sum(met[:100]) < 70
    again = Annealing(0.01, seed=0)
    again.load_state_dict({"asked": 50})
    assert [again.ask(1)[0].options["meet"] for _ in range(50)] == met[50:100]
