"""Exact naive learning and LOLA: the rules against their equations, and the outcomes that the literature reports."""

import functools
import time

import pytest
import torch

from interplay.envs import exact
from interplay.envs.core import UsageError
from interplay.envs.matrix import CLASSICS
from interplay.learners.exact import (
    ExactConfig,
    ExactLearner,
    lola_full_step,
    lola_shaping_step,
    naive_step,
    near_half,
    tft_agreement,
)

NAIVE, SHAPING, FULL = "naive", "lola_shaping", "lola_full"
LOPSIDED = [[[2.0, -1.0], [0.5, 3.0]], [[0.0, 4.0], [-2.0, 1.0]]]


@functools.cache
def run(game, one, two, eta=1.0):
    """1000 games, 200 updates: the metrics of each, and the seconds it took."""
    learner = ExactLearner(ExactConfig(game=game, players=(one, two), eta=eta), seed=0)
    start = time.perf_counter()
    metrics = [learner.update(None) for _ in range(200)]
    return metrics, time.perf_counter() - start


def rewards(metrics, over=slice(-1, None)):
    """Both players' reward per step, averaged over some updates."""
    part = metrics[over]
    return [sum(m[f"reward_per_step/player_{p}"] for m in part) / len(part) for p in range(2)]


# Outcomes. The standard error of a mean over 1000 games is at most 0.015.


def test_naive_learners_defect():
    metrics, _ = run("ipd", NAIVE, NAIVE)
    assert rewards(metrics) == pytest.approx([-1.99, -1.99], abs=0.02)
    assert metrics[-1]["cooperation/player_0"] < 0.02 and metrics[-1]["tft_all/player_0"] < 0.01


@pytest.mark.parametrize("rule", [SHAPING, FULL])
def test_lola_cooperates(rule):
    metrics, seconds = run("ipd", rule, rule)
    assert rewards(metrics) == pytest.approx([-1.04, -1.04], abs=0.03)
    assert metrics[-1]["cooperation/player_0"] > 0.9
    assert metrics[-1]["tft_mean/player_0"] == pytest.approx(0.89, abs=0.03)
    assert metrics[-1]["tft_all/player_0"] == pytest.approx(0.57, abs=0.05)
    assert seconds < 10


@pytest.mark.parametrize(
    "players, expected",
    [
        ((NAIVE, NAIVE), (-1.98, -1.98)),
        ((FULL, NAIVE), (-1.303, -1.521)),
        ((NAIVE, FULL), (-1.521, -1.303)),
        ((FULL, FULL), (-1.09, -1.09)),
        ((SHAPING, NAIVE), (-1.371, -1.530)),
    ],
)
def test_cross_play(players, expected):
    """The table of Lu et al. (2022), averaged over the first 100 updates: its LOLA is `lola_full`."""
    assert rewards(run("ipd", *players)[0], slice(100)) == pytest.approx(expected, abs=0.03)


def test_shaping_needs_a_large_step():
    """The literature's η = 1 matters: with a half, many games of the shaping form stay at defection."""
    assert rewards(run("ipd", SHAPING, SHAPING, eta=0.5)[0]) == pytest.approx([-1.15, -1.15], abs=0.04)


@pytest.mark.parametrize("rule", [SHAPING, FULL])
def test_lola_settles_matching_pennies(rule):
    settled, circling = run("imp", rule, rule)[0][-1], run("imp", NAIVE, NAIVE)[0][-1]
    assert settled["reward_sd/player_0"] <= 0.05 and circling["reward_sd/player_0"] > 0.35
    assert abs(settled["reward_per_step/player_0"]) < 0.01
    assert settled["near_half/player_0"] > 0.9 and circling["near_half/player_0"] < 0.01
    for metrics in (settled, circling):  # zero-sum
        assert metrics["reward_per_step/player_0"] == pytest.approx(-metrics["reward_per_step/player_1"], abs=1e-6)


def test_lola_is_arrogant_in_chicken():
    """Each expects the other to yield: LOLA beats a naive learner, and crashes into itself."""
    assert max(rewards(run("chicken", FULL, FULL)[0], slice(100))) < -80
    assert max(rewards(run("chicken", SHAPING, SHAPING)[0])) < -50
    assert rewards(run("chicken", FULL, NAIVE)[0]) == pytest.approx([0.94, -0.97], abs=0.05)
    assert rewards(run("chicken", NAIVE, NAIVE)[0]) == pytest.approx([0, 0], abs=0.1)


# Rules against their equations.


def pieces(one, two):
    """For one game: V¹, V², and their gradients and mixed second derivatives, by autograd's own Jacobians."""
    value = lambda p: lambda a, b: exact.values(a, b, LOPSIDED, 0.96)[p]
    gradients = [torch.func.grad(value(p), argnums=(0, 1))(one, two) for p in range(2)]
    mixed = [torch.func.jacrev(torch.func.grad(value(p), argnums=1), argnums=0)(one, two) for p in range(2)]  # [i, j]: ∂²V/∂θ²_i ∂θ¹_j
    return gradients, mixed


@pytest.fixture(scope="module")
def games():
    one, two = (theta.requires_grad_() for theta in torch.randn(2, 20, 5, generator=torch.Generator().manual_seed(1)).double())
    return one, two, *exact.values(one, two, LOPSIDED, 0.96)


@pytest.mark.parametrize("eta", [0.0, 0.3, 2.0])
def test_steps_are_their_equations(games, eta):
    one, two, v1, v2 = games
    naive, shaping, full = (rule(one, two, v1, v2, eta) for rule in (naive_step, lola_shaping_step, lola_full_step))
    for g in range(len(one)):
        ((own, other), (_, theirs)), (m1, m2) = pieces(one[g].detach(), two[g].detach())
        torch.testing.assert_close(naive[g], own)
        torch.testing.assert_close(shaping[g], own + eta * other @ m2)
        torch.testing.assert_close(full[g], own + eta * (other @ m2 + theirs @ m1))


def test_full_is_the_gradient_after_the_others_step(games):
    """∇₁ V¹(θ¹, θ² + η ∇₂V²(θ¹, θ²)) to first order in η: the rest shrinks with its square."""
    one, two, v1, v2 = games

    def after(eta):
        step = torch.autograd.grad(v2.sum(), two, create_graph=True)[0]
        return torch.autograd.grad(exact.values(one, two + eta * step, LOPSIDED, 0.96)[0].sum(), one, retain_graph=True)[0]

    rest = [(after(eta) - lola_full_step(one, two, v1, v2, eta)).norm() for eta in (0.02, 0.01)]
    assert rest[0] / rest[1] == pytest.approx(4, rel=0.1)
    assert rest[1] < 0.1 * (after(0.01) - naive_step(one, two, v1, v2)).norm()


def test_update_moves_both_at_once():
    config = ExactConfig(game="imp", players=(FULL, NAIVE), games=30, delta=0.5, eta=0.7)
    learner = ExactLearner(config, seed=3)
    one, two = (learner.theta[:, p].clone().requires_grad_() for p in range(2))
    v1, v2 = (v / (1 - 0.9) for v in exact.values(one, two, CLASSICS["imp"], 0.9))  # they climb the discounted sum
    expected = torch.stack([one + 0.5 * lola_full_step(one, two, v1, v2, 0.7), two + 0.5 * naive_step(two, one, v2, v1)], 1)
    metrics = learner.update(None)
    torch.testing.assert_close(learner.policy()["theta"], expected.detach(), rtol=1e-4, atol=1e-5)
    assert metrics["reward_per_step/player_0"] == pytest.approx(v1.mean().item() * 0.1, abs=1e-6), "of the players before the step"


# The learner.


@pytest.mark.parametrize("game", ["ipd", "chicken"])
def test_a_game_is_the_same_in_any_batch(game):
    """It starts the same to the bit; torch's sigmoid rounds otherwise at the end of a tensor, and LOLA magnifies that in time."""
    whole = ExactLearner(ExactConfig(game=game, games=1000), seed=2)
    part = ExactLearner(ExactConfig(game=game, games=7), seed=2, first=491)
    assert torch.equal(whole.theta[491:498], part.theta)
    assert not torch.equal(part.theta, ExactLearner(ExactConfig(game=game, games=7), seed=3, first=491).theta)
    for _ in range(5):
        whole.update()
        part.update()
    torch.testing.assert_close(whole.theta[491:498], part.theta, rtol=1e-3, atol=1e-3)


def test_initial_logits_are_standard_normal():
    theta = ExactLearner(ExactConfig(games=4000)).theta
    assert theta.shape == (4000, 2, 5)
    assert theta.mean((0, 1)).abs().max() < 4 / 8000**0.5 and (theta.std((0, 1)) - 1).abs().max() < 4 / 16000**0.5
    assert ExactLearner(ExactConfig(game="chicken", games=3)).policy()["theta"].shape == (3, 2, 1)


def test_resumes_bit_for_bit():
    config = ExactConfig(games=50)
    whole = ExactLearner(config, seed=1)
    for _ in range(5):
        whole.update()
    saved = whole.state_dict()
    again = ExactLearner(config, seed=9)
    again.load_state_dict({name: x.clone() for name, x in saved.items()})
    assert whole.update() == again.update()
    assert torch.equal(whole.theta, again.theta)
    assert int(saved["updates"]) == 5 and whole.updates == again.updates == 6
    assert not torch.equal(saved["theta"], whole.theta), "a saved state does not change afterwards"


def test_named_definitions():
    theta = torch.tensor([[3.0, -3, 3, -3, 3], [3.0, -3, 3, -3, -3], [-3.0, 3, -3, 3, -3], [0.1, -0.1, 0.3, -0.3, 0.39]])
    assert tft_agreement(theta).tolist() == pytest.approx([1, 0.8, 0, 1])
    assert near_half(theta).tolist() == [False, False, False, True]
    assert near_half(torch.tensor([0.42])).item() is False  # 0.603


def test_metrics_add_up():
    learner = ExactLearner(ExactConfig(players=("always-cooperate", "always-defect"), games=3))
    metrics = learner.update()
    assert [metrics[f"reward_per_step/player_{p}"] for p in range(2)] == [-3, 0]
    assert [metrics[f"cooperation/player_{p}"] for p in range(2)] == [1, 0]
    assert metrics["reward_sd/player_0"] == 0 and learner.occupancy().tolist() == [[0] * 3, [1] * 3, [0] * 3, [0] * 3]


@pytest.mark.parametrize(
    "config, told",
    [
        ({"game": "idp"}, "game 'idp' is unknown; did you mean 'ipd'?"),
        ({"players": ("naive", "lola_ful")}, "player 'lola_ful' is unknown; did you mean 'lola_full'?"),
        ({"games": 0}, "games is 0"),
        ({"gamma": 1.0}, "gamma is 1.0"),
        ({"game": "imp", "players": ("zd-extort", "naive")}, "T > R > P > S"),
    ],
)
def test_mistakes(config, told):
    with pytest.raises(UsageError, match=told.replace("?", r"\?")):
        ExactLearner(ExactConfig(**config))
