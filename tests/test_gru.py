"""The GRU against PyTorch's own, and products by both libraries."""

import pytest
import torch

from interplay.policies import gru, products


def library(x, carry, keep, weights):
    """The same by PyTorch's GRU in float64, one member and turn after the other."""
    x, carry, *weights = (y.double() for y in (x, carry, *weights))
    members = []
    for m in range(x.shape[0]):
        cell = [w[m] for w in weights]
        h, turns = carry[m], []
        for t in range(x.shape[1]):
            h = torch._VF.gru_cell(x[m, t], h if keep is None else h * keep[m, t, :, None], *cell)  # type: ignore[attr-defined]
            turns.append(h)
        members.append(torch.stack(turns))
    return torch.stack(members)


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def wide(request, monkeypatch):
    """Products by either library, whatever this CPU is."""
    monkeypatch.setattr(products, "WIDE", request.param)
    monkeypatch.setattr(products, "LARGE", 1)
    return request.param


@pytest.fixture
def one_thread():
    """As in env actors."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("forgets", [False, True])
@pytest.mark.parametrize(("members", "width"), [(1, 20), (3, 20), (2, 3)])
def test_scan_and_its_derivative(members, width, forgets, wide):
    rng = torch.Generator().manual_seed(members)
    draw = lambda *shape: torch.randn(*shape, generator=rng)
    x, carry = draw(members, 9, 5, 7), draw(members, 5, width)
    keep = draw(members, 9, 5) > -0.5 if forgets else None
    weights = [0.5 * draw(members, 3 * width, n) for n in (7, width)] + [draw(members, 3 * width) for _ in range(2)]
    wanted = draw(members, 9, 5, width)
    for _ in range(2):  # buffers that were given back are lent again
        found = []
        for run in (gru.scan, library):
            leaves = [y.clone().requires_grad_() for y in (x, *weights)]
            y = run(leaves[0], carry, keep, leaves[1:])
            found.append([y, *torch.autograd.grad((y * wanted).sum(), leaves)])
        for mine, theirs in zip(*found, strict=True):
            assert torch.allclose(mine.double(), theirs.double(), rtol=1e-4, atol=2e-5)
    with torch.no_grad():
        assert torch.allclose(gru.scan(x, carry, keep, weights), found[0][0], atol=1e-6)
        step = carry
        for t in range(9):
            step = gru.scan(x[:, t : t + 1], step, None if keep is None else keep[:, t : t + 1], weights)[:, 0]
        assert torch.allclose(step, found[0][0][:, -1], atol=1e-5)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(("rows", "m", "n"), [(5, 33, 40), (64, 16, 3), (7, 20, 1), (300, 190, 128)])
def test_products(rows, m, n, members, wide):
    torch.manual_seed(0)
    x, w, b, g = (torch.randn(members, *shape) for shape in ((rows, m), (m, n), (1, n), (rows, n)))
    exact = lambda y: y.double()
    close = lambda y, z: torch.allclose(y.double(), z, rtol=1e-5, atol=1e-4)
    for relu in (False, True):
        y = exact(x) @ exact(w) + exact(b)
        assert close(products.affine(x, w, b, relu), y.relu() if relu else y)
    assert close(products.narrow(x, w, b), y)
    assert close(products.turned(g, w), exact(g) @ exact(w).transpose(1, 2))
    assert close(products.outer(x, g), exact(x).transpose(1, 2) @ exact(g))


def test_rows_do_not_depend_on_how_many_there_are(wide, one_thread):
    """From four rows on, as worlds are dealt out to env actors and meetings (`policies.meeting`)."""
    torch.manual_seed(1)
    x, w, b = torch.randn(1, 512, 190), torch.randn(1, 190, 128), torch.randn(1, 1, 128)
    every = products.affine(x, w, b).clone()
    for rows in (4, 5, 8, 64, 127, 500):
        assert torch.equal(products.affine(x[:, :rows], w, b), every[:, :rows])


def test_buffers():
    buffers = products.Buffers(largest=100)
    a = buffers.lend(2, 5)
    buffers.back(a, torch.empty(3, 4))  # of the second shape none was ever asked for
    assert buffers.lend(2, 5) is a and not buffers.free.get((3, 4))
    large = buffers.lend(101)
    buffers.back(large)
    assert buffers.lend(101) is not large
    for _ in range(3):
        buffers.back(*[torch.empty(2, 5) for _ in range(products.MANY)])
    assert len(buffers.free[2, 5]) == products.MANY
    buffers.free.clear()
    buffers.lend(4, 2)
    buffers.back(torch.empty(2, 4).T)
    assert not buffers.free[4, 2]
