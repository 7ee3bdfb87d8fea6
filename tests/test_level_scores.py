"""Scores of levels against a loop over episodes."""

import math

import pytest
import torch

from interplay.envs.core import UsageError
from interplay.learners.level_scores import measure, score

GAMMA, LAM = 0.9, 0.8


def play(worlds=40, turns=25, seed=0):
    rng = torch.Generator().manual_seed(seed)
    stop = torch.rand(turns, worlds, generator=rng) < 0.15
    stop[:, 0] = False  # a world without an end
    reward = (torch.rand(turns, worlds, generator=rng) < 0.5) * stop * torch.rand(turns, worlds, generator=rng)
    return reward, torch.randn(turns, worlds, generator=rng), stop


def slow(reward, value, stop, target):
    """One world: its episodes one after the other, advantages as the discounted sums that define them."""
    found, start = [], 0
    for end in [t for t, s in enumerate(stop) if s]:
        r, v = reward[start : end + 1], [*value[start : end + 1], 0.0]
        errors = []
        for t in range(len(r)):
            imagined = target[start + t]
            errors.append((r[t] + GAMMA * v[t + 1] if math.isnan(imagined) else imagined) - v[t])
        advantage = [sum((GAMMA * LAM) ** (k - t) * errors[k] for k in range(t, len(r))) for t in range(len(r))]
        mean = lambda xs: sum(xs) / len(xs)
        found.append((sum(r), mean(v[:-1]), mean([max(a, 0) for a in advantage]), mean([abs(a) for a in advantage])))
        start = end + 1
    return found


@pytest.mark.parametrize("imagined", [False, True])
def test_measure_is_the_mean_over_episodes(imagined):
    reward, value, stop = play()
    target = torch.full_like(reward, torch.nan)
    if imagined:
        some = torch.rand(reward.shape, generator=torch.Generator().manual_seed(9)) < 0.3
        target[some] = torch.randn(int(some.sum()), generator=torch.Generator().manual_seed(8))
    found = measure(reward, value, stop, GAMMA, LAM, target if imagined else None)
    for n in range(reward.shape[1]):
        episodes = slow(reward[:, n].tolist(), value[:, n].tolist(), stop[:, n].tolist(), target[:, n].tolist())
        assert found["episodes"][n] == len(episodes)
        if not episodes:
            assert all(math.isnan(found[name][n]) for name in found if name != "episodes")
            continue
        mean = lambda k: sum(e[k] for e in episodes) / len(episodes)  # noqa: B023
        expected = {"return": mean(0), "value": mean(1), "pvl": mean(2), "l1": mean(3), "best": max(e[0] for e in episodes)}
        expected["solved"] = sum(e[0] > 0 for e in episodes) / len(episodes)
        for name, x in expected.items():
            assert found[name][n] == pytest.approx(x, abs=1e-4), name
    assert (found["episodes"] == 0).any() and (found["episodes"] > 3).any()


def test_scores():
    found = {
        "best": torch.tensor([0.5, 0.9, torch.nan]),
        "value": torch.tensor([0.2, 0.1, torch.nan]),
        "solved": torch.tensor([0.25, 1.0, 0.0]),
    }
    found |= {"pvl": torch.tensor([1.0, 2.0, 3.0]), "l1": torch.tensor([4.0, 5.0, 6.0])}
    known = torch.tensor([0.8, 0.3, -torch.inf])
    assert score("maxmc", found, known)[:2].tolist() == pytest.approx([0.6, 0.8])
    assert score("maxmc", found, known)[2].isnan()
    found["return"] = torch.tensor([0.25, 0.5, torch.nan])
    assert score("regret", found, known)[:2].tolist() == pytest.approx([0.55, 0.4]) and score("regret", found, known)[2].isnan()
    assert score("learnability", found, known).tolist() == [0.1875, 0.0, 0.0]
    assert score("pvl", found, known).tolist() == [1.0, 2.0, 3.0] and score("l1", found, known).tolist() == [4.0, 5.0, 6.0]
    with pytest.raises(UsageError, match="did you mean 'maxmc'"):
        score("maxmcc", found, known)
