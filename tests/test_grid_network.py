"""The student's network against PyTorch's own LSTM and convolution."""

import pytest
import torch
import torch.nn.functional as F

from interplay.envs.bits import pack
from interplay.envs.core import Section, Spec, UsageError
from interplay.policies import products
from interplay.policies.grid_network import EMPTY, PICTURE, GridConfig, GridNetwork
from interplay.policies.lstm import cell, cell_back, scan

SPEC = Spec((54,), 7, packed=True, sections=(Section("walls", 0, 25), Section("goal", 25, 50), Section("heading", 50, 54)))


def library(x, weight, carry, keep):
    """The same by `nn.LSTMCell`'s equations, differentiable by autograd, one member and turn after the other."""
    members = []
    for m in range(x.shape[0]):
        h, c = carry[m].chunk(2, -1)
        turns = []
        for t in range(x.shape[1]):
            if keep is not None:
                h, c = h * keep[m, t, :, None], c * keep[m, t, :, None]
            i, f, n, o = (x[m, t] + h @ weight[m]).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
            h = torch.sigmoid(o) * torch.tanh(c)
            turns.append(torch.cat([h, c], -1))
        members.append(torch.stack(turns))
    return torch.stack(members)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize("members", [1, 3])
def test_scan_and_its_derivative(members, forgets, wide, monkeypatch):
    monkeypatch.setattr(products, "WIDE", wide)
    monkeypatch.setattr(products, "LARGE", 1)
    rng = torch.Generator().manual_seed(members)
    draw = lambda *shape: torch.randn(*shape, generator=rng)
    x, weight, carry = draw(members, 9, 5, 24), 0.5 * draw(members, 6, 24), draw(members, 5, 12)
    keep = draw(members, 9, 5) > -0.5 if forgets else None
    wanted = draw(members, 9, 5, 12)
    found = []
    for run in (scan, library):
        inputs = [x.clone().requires_grad_(), weight.clone().requires_grad_()]
        out = run(*inputs, carry, keep)
        found.append((out.detach(), *torch.autograd.grad((out * wanted).sum(), inputs)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=2e-5, atol=2e-5)


def test_scan_equals_the_librarys_lstm():
    rng = torch.Generator().manual_seed(0)
    lstm = torch.nn.LSTM(7, 16)
    x = torch.randn(11, 4, 7, generator=rng)
    expected, _ = lstm(x)
    with torch.no_grad():
        sums = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + lstm.bias_hh_l0
        found = scan(sums[None], lstm.weight_hh_l0.T[None], torch.zeros(1, 4, 32), None)
    torch.testing.assert_close(found[0, ..., :16], expected, rtol=1e-5, atol=1e-5)


def test_the_plain_cell_of_other_devices_is_the_compiled_one():
    """What a GPU runs, by PyTorch's operations, on the meta of a CPU: same numbers."""
    rng = torch.Generator().manual_seed(4)
    draw = lambda k: torch.randn(2, 5, k, generator=rng)
    x, sums, before, dh, dc = draw(16), draw(16), draw(4), draw(4), draw(4)

    class Elsewhere(torch.Tensor):
        device = torch.device("cuda")

    found = []
    for kind in (torch.Tensor, Elsewhere):
        gates, c, h, more = torch.empty(2, 5, 16), torch.empty(2, 5, 4), torch.empty(2, 5, 4), dc.clone()
        cell(x, sums, before, gates.as_subclass(kind), c, h)
        forward = [y.clone() for y in (gates, c, h)]
        cell_back(gates.as_subclass(kind), before, c, dh, more)
        found.append([*forward, gates, more])
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_the_matrix_is_the_convolution_of_the_picture():
    """Views as pictures of (object, colour, state) / 10, convolved by PyTorch, against one product with the bits."""
    network = GridNetwork(GridConfig(filters=4), SPEC, 2, seed=1)
    with torch.no_grad():
        network.weights["conv.bias"].normal_(generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(2)
    walls, goal = torch.rand(30, 25, generator=rng) < 0.4, torch.zeros(30, 25, dtype=torch.bool)
    goal[torch.arange(30), torch.randint(25, (30,), generator=rng)] = True
    walls &= ~goal
    picture = torch.tensor(EMPTY).expand(30, 25, 3).clone()
    picture[walls], picture[goal] = torch.tensor(PICTURE["walls"]), torch.tensor(PICTURE["goal"])
    weight, constant = network.matrix()
    for m in range(2):
        kernel = network.weights["conv.weight"][m].view(3, 3, 3, 4).permute(3, 0, 1, 2)
        expected = F.conv2d(picture.view(30, 5, 5, 3).permute(0, 3, 1, 2), kernel, network.weights["conv.bias"][m, 0])
        found = torch.cat([walls, goal], 1).float() @ weight[m] + constant[m]
        torch.testing.assert_close(found.view(30, 3, 3, 4).permute(0, 3, 1, 2), expected, rtol=1e-5, atol=1e-5)


def test_turn_by_turn_is_the_whole_sequence():
    """Playing turn after turn gives the logits, values and states that learning finds for the whole sequence; both heads see the trunk."""
    network = GridNetwork(GridConfig(recurrent=8, head=4), SPEC, 2, seed=3)
    bits = torch.rand(2, 6, 5, 54, generator=torch.Generator().manual_seed(5)) < 0.3
    obs = F.pad(pack(bits), (0, 1))
    carry = torch.zeros(2, 5, network.carry_width)
    with torch.no_grad():
        logits, value = network.both(obs, obs, carry, None)
        states = network.actor(obs, carry)[1]
        for t in range(6):
            now, judged, after = network.play(obs[:, t : t + 1], obs[:, t : t + 1], carry)
            torch.testing.assert_close((now[:, 0], judged[:, 0], after[:, 0]), (logits[:, t], value[:, t], states[:, t]))
            carry = after[:, 0]
    torch.testing.assert_close(network.critic(obs, torch.zeros_like(carry))[0], value)
    assert logits.std() > 0 and value.std() > 0


def test_members_are_independent():
    """The gradient of a member's output reaches no other member's weights."""
    network = GridNetwork(GridConfig(recurrent=8, head=4), SPEC, 3)
    obs = torch.randint(256, (3, 4, 2, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    logits, value = network.both(obs, obs, torch.zeros(3, 2, 16), None)
    gradient = network.gradient(logits[1].sum() + value[1].sum())
    assert not gradient[0].any() and not gradient[2].any()
    assert (gradient[1] != 0).float().mean() > 0.5


def test_other_views_are_refused():
    with pytest.raises(UsageError, match="views of grids"):
        GridNetwork(GridConfig(), Spec((54,), 7, sections=(Section("walls", 0, 25),)), 1)
