"""Closed-form values of memory-one play: against the sum over rounds, against play itself, and the scalar rule against autograd."""

import time

import numpy as np
import pytest
import torch

from interplay.envs import exact, make, memory_one
from interplay.envs.matrix import CLASSICS
from interplay.policies.scripted import names, scripted
from interplay.policies.tabular import MemoryOnePlayer

LOPSIDED = [[[2.0, -1.0], [0.5, 3.0]], [[0.0, 4.0], [-2.0, 1.0]]]  # nobody's game: every mistake of order shows
GAMES = {**CLASSICS, "lopsided": LOPSIDED}


def policies(n, scale=1.0, seed=0):
    return scale * torch.randn(2, n, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def summed(theta1, theta2, payoff, gamma):
    """(1-γ) Σ_t γᵗ E r_t of one game, round by round, from the definition."""
    p, q = (1 / (1 + np.exp(-np.asarray(theta, float))) for theta in (theta1, theta2))
    view = [0, 2, 1, 3, 4]
    moves = np.array([[a * b, a * (1 - b), (1 - a) * b, (1 - a) * (1 - b)] for a, b in zip(p, q[view], strict=True)])
    now, total, weight = moves[4], np.zeros(2), 1 - gamma
    while weight > 1e-18:
        total += weight * np.array([now @ np.ravel(payoff[0]), now @ np.ravel(payoff[1])])
        now, weight = now @ moves[:4], weight * gamma
    return total


def solved(theta1, theta2, payoff, gamma):
    """The same for a batch by a linear solver: (1-γ) s₀ᵀ(I-γP)⁻¹r."""
    moves = exact.joint(theta1.T, theta2.T[[0, 2, 1, 3, 4]]).permute(2, 1, 0)  # [N, 5, 4]
    table = torch.tensor(payoff, dtype=theta1.dtype).reshape(2, 4).T
    value = torch.linalg.solve(torch.eye(4, dtype=theta1.dtype) - gamma * moves[:, :4], table.expand(len(theta1), 4, 2))
    return ((1 - gamma) * (moves[:, 4:] @ value).squeeze(1)).unbind(-1)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("gamma", [0.5, 0.96, 0.99])
def test_values_are_the_sum_over_rounds(game, gamma):
    for scale in (1.0, 6.0):
        one, two = policies(5, scale)
        found = torch.stack(exact.values(one, two, GAMES[game], gamma), -1)
        expected = [summed(a, b, GAMES[game], gamma) for a, b in zip(one, two, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * np.abs(GAMES[game]).max())


@pytest.mark.parametrize("scale, gamma", [(1, 0.96), (10, 0.96), (30, 0.999)])
def test_single_precision_keeps_its_digits(scale, gamma):
    one, two = policies(2000, scale)
    share, right = exact.occupancy(one.float(), two.float(), gamma), exact.occupancy(one.float().double(), two.float().double(), gamma)
    assert share.dtype == torch.float32
    assert ((share - right).abs() <= 2e-6 * right + 1e-38).all(), "every entry, however small"
    assert (share.sum(0) - 1).abs().max() < 1e-6


def test_derivatives_are_those_of_the_linear_solver():
    one, two = (theta.requires_grad_() for theta in policies(50))
    for values in zip(exact.values(one, two, LOPSIDED, 0.96), solved(one, two, LOPSIDED, 0.96), strict=True):
        first = [torch.autograd.grad(v.sum(), (one, two), create_graph=True) for v in values]
        second = [torch.autograd.grad((a * b).sum(), (one, two), retain_graph=True) for a, b in first]  # mixed and pure ones
        for mine, right in zip(first[0] + second[0], first[1] + second[1], strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-9, atol=1e-11)


def test_derivatives_are_differences():
    one, two = policies(3, seed=4)
    one.requires_grad_()
    (found,) = torch.autograd.grad(exact.values(one, two, CLASSICS["ipd"], 0.96)[1].sum(), one)
    for s in range(5):
        shift = torch.zeros(5, dtype=torch.float64)
        shift[s] = 1e-5
        up, down = (exact.values(one.detach() + sign * shift, two, CLASSICS["ipd"], 0.96)[1] for sign in (1, -1))
        torch.testing.assert_close(found[:, s], (up - down) / 2e-5, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("game", GAMES)
def test_seats_can_be_exchanged(game):
    one, two = policies(20, 2.0)
    payoff = torch.tensor(GAMES[game], dtype=torch.float64)
    there = exact.values(one, two, payoff, 0.9)
    back = exact.values(two, one, exact.mirrored(payoff), 0.9)
    torch.testing.assert_close(there, back[::-1], rtol=0, atol=1e-13)
    assert torch.equal(exact.mirrored(exact.mirrored(payoff)), payoff)
    symmetric = torch.equal(exact.mirrored(payoff), payoff)
    assert symmetric == (game in ("ipd", "chicken", "stag-hunt"))


def test_the_first_round_is_the_start_logits():
    one, two = policies(20, 2.0)
    repeated = exact.values(one, two, LOPSIDED, 0.0)
    single = exact.one_shot_values(one[:, 4:], two[:, 4:], LOPSIDED)
    torch.testing.assert_close(repeated, single, rtol=0, atol=1e-14)
    c1, c2 = one[0, 4].sigmoid().item(), two[0, 4].sigmoid().item()
    assert single[1][0].item() == pytest.approx(4 * c1 * (1 - c2) - 2 * (1 - c1) * c2 + (1 - c1) * (1 - c2), abs=1e-12)
    generous, mean = torch.full((5,), 40.0, dtype=torch.float64), torch.full((5,), -40.0, dtype=torch.float64)
    repeats = torch.tensor([40.0, 40, -40, -40, 0], dtype=torch.float64)  # goes on as it began
    v1, v2 = exact.values(repeats, torch.stack([generous, mean]), CLASSICS["ipd"], 0.96)
    assert v1.tolist() == pytest.approx([(-1 + 0) / 2, (-3 - 2) / 2], abs=1e-9)
    assert v2.tolist() == pytest.approx([(-1 - 3) / 2, (0 - 2) / 2], abs=1e-9)


def test_without_discount_it_is_the_long_run():
    one, two = policies(20)
    share = exact.occupancy(one, two, 1.0)
    moves = exact.joint(one.T, two.T[[0, 2, 1, 3, 4]]).permute(2, 1, 0)[:, :4]
    torch.testing.assert_close((share.T.unsqueeze(1) @ moves).squeeze(1), share.T, rtol=0, atol=1e-13)
    torch.testing.assert_close(exact.occupancy(one, two, 1 - 1e-9), share, rtol=0, atol=1e-7)


def test_shapes_and_types_pass_through():
    one, two = policies(1)[0, 0].float(), policies(12)[1].reshape(3, 4, 5).float()
    v1, v2 = exact.values(one, two, CLASSICS["ipd"], 0.96)
    assert v1.shape == v2.shape == (3, 4) and v1.dtype == torch.float32
    assert exact.occupancy(one, two, 0.96).shape == (4, 3, 4)
    assert exact.values(one.double(), two[0, 0].double(), CLASSICS["ipd"], 0.96)[0].shape == ()
    assert v1[1, 2].item() == exact.values(one, two[1, 2], CLASSICS["ipd"], 0.96)[0].item()


@pytest.mark.parametrize("mine", names())
def test_sure_players_have_finite_values_and_no_gradient(mine):
    """Tables hold zeros and ones, whose logits are infinite."""
    for theirs in names():
        one, two = (torch.logit(scripted(name)).double().requires_grad_() for name in (mine, theirs))
        values = exact.values(one, two, CLASSICS["ipd"], 0.96)
        clipped = summed(one.detach().clamp(-50, 50), two.detach().clamp(-50, 50), CLASSICS["ipd"], 0.96)
        assert [v.item() for v in values] == pytest.approx(clipped.tolist(), abs=1e-9)
        slope = torch.autograd.grad(values[0], one)[0]
        assert slope.isfinite().all() and (slope[one.isinf()] == 0).all()


# Values against play. Worlds stop after each round with probability 1-γ, so that the undiscounted return of a whole game has the
# discounted value as its mean.
PAIRS, WORLDS = 6, 4000


def returns(game, one, two, gamma):
    """Returns of whole games `[PAIRS, WORLDS, 2]`: pair i of memory-one players on its own worlds."""
    known = {"payoff": LOPSIDED} if game == "lopsided" else {}
    env = make("matrix" if known else game, num_envs=PAIRS * WORLDS, seed=5, stop=1 - gamma, rounds=10**6, **known)
    player = MemoryOnePlayer(per_pair=WORLDS)
    player.load({"theta": torch.stack([one, two], 1)})
    total, going, draw = torch.zeros(env.n, 2), torch.ones(env.n, dtype=torch.bool), 0
    while going.any():
        out = env.step(player.act(env, env.out, None, draw)[0])
        assert not out.truncated.any()
        total += out.reward * going.unsqueeze(1)
        going &= ~out.terminated
        draw += 1
    return total.view(PAIRS, WORLDS, 2)


@pytest.mark.parametrize("game", GAMES)
def test_values_are_the_means_of_play(game):
    gamma = 0.9
    one, two = policies(PAIRS, 1.5, seed=3).float()
    two[0] = one[0]  # one pair is even, the others are not
    one[1], two[1] = torch.logit(scripted("tit-for-tat")), torch.logit(scripted("random"))
    played = returns(game, one, two, gamma)
    value = torch.stack(exact.values(one, two, GAMES[game], gamma), -1) / (1 - gamma)
    error = played.std(1) / WORLDS**0.5
    assert ((played.mean(1) - value).abs() <= 4 * error).all(), ((played.mean(1) - value) / error).tolist()
    other_start = one.clone()
    other_start[:, 4] *= -1
    moved = torch.stack(exact.values(other_start, two, GAMES[game], gamma), -1) / (1 - gamma) - value
    assert (moved.abs() > 4 * error).any(), "so few games would not tell one start from another"


# The scalar rule.


def gradient(one, two, payoff, gamma):
    """Autograd's, in double precision."""
    two = two.double().requires_grad_()
    v1, v2 = exact.values(one.double(), two, payoff, gamma)
    return v1.detach(), v2.detach(), torch.autograd.grad(v2.sum(), two)[0]


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("scale, gamma", [(1, 0.0), (1, 0.96), (3, 0.9), (10, 0.96), (1, 0.999)])
def test_rule_equals_autograd(game, scale, gamma):
    one, two = policies(4096, scale, seed=7).float()
    found, right = memory_one.value_and_gradient(one, two, GAMES[game], gamma), gradient(one, two, GAMES[game], gamma)
    size = np.abs(GAMES[game]).max()
    for v, w in zip(found[:2], right[:2], strict=True):
        assert (v - w).abs().max() <= 1e-6 * size
    off, norm = (found[2] - right[2]).norm(dim=1), right[2].norm(dim=1)
    assert (off <= 1e-5 * norm + 2e-7 * size).all()
    assert (off <= 1e-5 * norm).float().mean() > 0.98  # the rest have gradients that are nearly nothing


def test_rule_gives_either_players_gradient_and_scales_it():
    one, two = policies(300, seed=8).float()
    payoff = torch.tensor(LOPSIDED)
    v1, v2, grad2 = memory_one.value_and_gradient(one, two, payoff, 0.96, scale=25.0)
    torch.testing.assert_close(grad2 / 25, memory_one.value_and_gradient(one, two, payoff, 0.96)[2], rtol=1e-6, atol=1e-9)
    w2, w1, grad1 = memory_one.value_and_gradient(two, one, exact.mirrored(payoff), 0.96)
    torch.testing.assert_close(torch.stack([w1, w2]), torch.stack([v1, v2]), rtol=1e-5, atol=1e-6)
    theta = one.double().requires_grad_()
    right = torch.autograd.grad(exact.values(theta, two.double(), LOPSIDED, 0.96)[0].sum(), theta)[0]
    torch.testing.assert_close(grad1.double(), right, rtol=1e-4, atol=1e-6)


def test_rule_bears_sure_players():
    sure = torch.stack([torch.logit(scripted(name)) for name in names()] + [torch.full((5,), x) for x in (-200.0, 200.0)])
    one, two = sure.repeat_interleave(len(sure), 0), sure.repeat(len(sure), 1)
    v1, v2, grad2 = memory_one.value_and_gradient(one, two, CLASSICS["ipd"], 0.96)
    w1, w2 = exact.values(one.double(), two.double(), CLASSICS["ipd"], 0.96)
    torch.testing.assert_close(torch.stack([v1, v2]), torch.stack([w1, w2]).float(), rtol=0, atol=3e-6)
    assert grad2.isfinite().all() and (grad2[two.isinf()] == 0).all()


def test_rule_is_the_same_in_any_batch():
    one, two = policies(3 * memory_one.PARALLEL // 2).float()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    whole = memory_one.value_and_gradient(one, two, CLASSICS["ipd"], 0.96)  # in parallel
    torch.set_num_threads(threads)
    part = memory_one.value_and_gradient(one[100:107], two[100:107].repeat(1, 2)[:, :5], CLASSICS["ipd"], 0.96)  # a strided view
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[100:107], b)


def test_rule_takes_less_than_a_microsecond():
    one, two = policies(2000).float()
    run = lambda: memory_one.value_and_gradient(one, two, CLASSICS["ipd"], 0.96)
    run()
    took = []
    for _ in range(30):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    assert min(took) / len(one) < 1e-6


def test_rule_is_plain_python_too(monkeypatch):
    """Rules are debugged without the compiler."""
    for name in ("chance", "minds", "moves", "bypass", "slope", "play"):
        monkeypatch.setattr(memory_one, name, getattr(memory_one, name).py_func)
    one, two = policies(3).float()
    numbers, value, grad = np.array([0.96, 0.04, 1], np.float32), np.zeros(2, np.float32), np.zeros(5, np.float32)
    for a, b in zip(one, two, strict=True):
        memory_one.play(a.numpy(), b.numpy(), np.array(LOPSIDED, np.float32), *numbers, value, grad)
        v1, v2, right = gradient(a[None], b[None], LOPSIDED, 0.96)
        np.testing.assert_allclose(value, [v1.item(), v2.item()], rtol=3e-6)
        np.testing.assert_allclose(grad, right[0], rtol=1e-5, atol=1e-6)


def test_rule_compiles_for_a_gpu(monkeypatch):
    """As in test_ptx: NVVM makes sm_90 code of it without a GPU, in single precision."""
    cuda = pytest.importorskip("numba_cuda", reason="needs the `dev` extra: numba-cuda[cu13]") and pytest.importorskip("numba.cuda")
    from types import SimpleNamespace

    import numba.cuda.dispatcher
    from numba import types

    monkeypatch.setattr(numba.cuda.dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
    array = lambda dimensions: types.Array(types.float32, dimensions, "C")
    arguments = (array(2), array(2), array(3), *[types.float32] * 3, array(2), array(2))
    ptx, _ = cuda.compile_ptx(memory_one.on_gpu(), types.void(*arguments), cc=(9, 0))
    assert ".target sm_90" in ptx
    assert ".f64" not in ptx, "double precision slipped in"
    assert "call" not in ptx.split(".visible .entry")[1], "everything is inlined"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_rule_on_a_gpu():
    one, two = policies(5000).float()
    here = memory_one.value_and_gradient(one, two, CLASSICS["ipd"], 0.96)
    there = memory_one.value_and_gradient(one.cuda(), two.cuda(), torch.tensor(CLASSICS["ipd"]).cuda(), 0.96)
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(a, b.cpu(), rtol=1e-5, atol=1e-6)
    assert there[2].is_cuda
