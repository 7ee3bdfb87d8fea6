"""The literature's players: their moves, what Press & Dyson's extortioner enforces, and what learners make of them."""

import pytest
import torch

from interplay.envs import exact, make
from interplay.envs.core import UsageError
from interplay.envs.matrix import CLASSICS
from interplay.learners.exact import ExactConfig, ExactLearner
from interplay.policies.scripted import names, scripted, zd_extort
from interplay.policies.tabular import MemoryOnePlayer

AXELROD = [[[3, 0], [5, 1]], [[3, 5], [0, 1]]]  # T, R, P, S = 5, 3, 1, 0


def answers(name, opponent):
    """What a player does in the world against an opponent that plays a string of C and D."""
    env = make("ipd", rounds=1000)
    player = MemoryOnePlayer(per_pair=1)
    player.load({"theta": torch.logit(torch.stack([scripted(name), torch.full((5,), 0.5)])).unsqueeze(0)})
    moves = ""
    for draw, move in enumerate(opponent):
        action = player.act(env, env.out, None, draw)[0]
        moves += "CD"[action[0, 0]]
        action[0, 1] = "CD".index(move)
        env.step(action)
    return moves


@pytest.mark.parametrize(
    "name, opponent, expected",
    [
        ("always-cooperate", "CDDCD", "CCCCC"),
        ("always-defect", "CDDCC", "DDDDD"),
        ("tit-for-tat", "CDDCDCC", "CCDDCDC"),
        ("win-stay-lose-shift", "CCCC", "CCCC"),
        ("win-stay-lose-shift", "DDDDD", "CDCDC"),
        ("win-stay-lose-shift", "CDCCDD", "CCDDDC"),
        ("grim", "CCCCC", "CCCCC"),
        ("grim", "CCDCCCC", "CCCDDDD"),
        ("zd-extort", "DDDDDD", "DDDDDD"),  # nothing to extort
    ],
)
def test_moves(name, opponent, expected):
    assert answers(name, opponent) == expected


def test_random_throws_its_coin():
    assert answers("random", "CD" * 100).count("C") == pytest.approx(100, abs=28)  # 4 standard deviations
    assert scripted("random", cooperate=0.25).tolist() == [0.25] * 5


# Zero-determinant extortion.


def test_extortioner_of_press_and_dyson():
    """Their example: χ = 3 and φ = 1/26 in the conventional game."""
    expected = [11 / 13, 1 / 2, 7 / 26, 0, 0]
    assert zd_extort(3, AXELROD).tolist() == pytest.approx(expected, abs=1e-7)
    assert zd_extort(3, AXELROD, phi=1 / 26).tolist() == pytest.approx(expected, abs=1e-7)
    assert zd_extort(1, AXELROD, phi=1 / 5).tolist() == pytest.approx([1, 0, 1, 0, 0], abs=1e-7)  # fair


@pytest.mark.parametrize("payoff", [AXELROD, CLASSICS["ipd"]], ids=["axelrod", "ipd"])
@pytest.mark.parametrize("chi, gamma", [(1, 1.0), (2, 1.0), (3, 1.0), (10, 1.0), (2, 0.96), (3, 0.96), (10, 0.96)])
def test_extortioner_takes_its_multiple(payoff, chi, gamma):
    """s_X - P = χ (s_Y - P), whatever the other does; with γ = 1 in the long run, with γ < 1 from the first round on."""
    punishment = payoff[0][1][1]
    one = torch.logit(zd_extort(chi, payoff, gamma=gamma).double())
    two = 2 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, y = exact.values(one, two, payoff, gamma)
    torch.testing.assert_close(x - punishment, chi * (y - punishment), rtol=0, atol=5e-6)
    assert (y - punishment).max() - (y - punishment).min() > 0.1, "the others differ"
    a, b = exact.values(two, one, payoff, gamma)  # from the other seat too
    torch.testing.assert_close(torch.stack([b, a]), torch.stack([x, y]), rtol=0, atol=1e-12)


def test_who_learns_against_whom():
    """A naive learner learns to cooperate with tit-for-tat, to be extorted, and to defect against defection."""
    final = {}
    for name in ("tit-for-tat", "zd-extort", "always-defect", "grim"):
        learner = ExactLearner(ExactConfig(players=(name, "naive"), games=100))
        table = learner.theta[:, 0].clone()
        rewards = [learner.update() for _ in range(200)]
        assert torch.equal(learner.theta[:, 0], table), "scripted players stay as they are"
        final[name] = [rewards[-1][f"reward_per_step/player_{p}"] for p in range(2)]
    assert final["tit-for-tat"] == pytest.approx([-1, -1], abs=0.01)
    assert final["grim"] == pytest.approx([-1, -1], abs=0.01)
    assert final["always-defect"] == pytest.approx([-2, -2], abs=0.01)
    # Full cooperation leaves Y with -1 - 2t and X with -1 + t, where t is X's share of exploiting: 1 + t = 3 (1 - 2 t)
    assert final["zd-extort"] == pytest.approx([-1 + 2 / 7, -1 - 4 / 7], abs=0.01)


# Mistakes.


@pytest.mark.parametrize(
    "call, told",
    [
        (lambda: scripted("tit-for-tit"), "'tit-for-tit' is unknown; did you mean 'tit-for-tat'?"),
        (lambda: scripted("zd-extort", chy=2), "no parameter 'chy'; did you mean 'chi'?"),
        (lambda: scripted("grim", chi=2), "no parameter 'chi'; it has none"),
        (lambda: scripted("random", cooperate=1.5), "cooperate is 1.5"),
        (lambda: zd_extort(0.5), "chi is 0.5; allowed are extortion factors from 1"),
        (lambda: zd_extort(3, AXELROD, phi=0.1), "phi is 0.1; allowed with chi 3 are numbers above 0, from 0 to 0.0769231"),
        (lambda: zd_extort(3, gamma=0.0), "gamma is 0.0"),
        (lambda: zd_extort(3, gamma=0.5), "gamma is 0.5; with chi 3 no strategy"),
        (lambda: zd_extort(1, gamma=0.96), "with chi 1 no strategy"),  # fairness needs a long run
        (lambda: zd_extort(3, CLASSICS["chicken"]), "T > R > P > S"),
        (lambda: zd_extort(3, [[[3, 0], [5, 1]], [[3, 5], [0, 2]]]), "symmetric prisoner's dilemmas"),
    ],
)
def test_mistakes(call, told):
    with pytest.raises(UsageError, match=told.replace("?", r"\?").replace(".", r"\.")):
        call()


def test_names():
    assert names() == ["always-cooperate", "always-defect", "grim", "random", "tit-for-tat", "win-stay-lose-shift", "zd-extort"]
    for name in names():
        table = scripted(name)
        assert table.shape == (5,) and table.dtype == torch.float32 and ((table >= 0) & (table <= 1)).all()
