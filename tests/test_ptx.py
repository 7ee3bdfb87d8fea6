"""Without a GPU: every world's kernels compile for sm_90 (NVVM) and assemble (ptxas), in single precision and without spills."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import numba
import pytest
from numba import types

from interplay.envs import names, streams, world
from interplay.envs.core import Step
from interplay.envs.engine import on_gpu

pytest.importorskip("numba_cuda", reason="needs the `dev` extra: numba-cuda[cu13]")
cuda = pytest.importorskip("numba.cuda")
REGISTERS = 128  # with 128 threads a block, half of an SM's threads still fit

CASES = {
    **{name: (name, {}) for name in names()},
    "matrix 2x3": ("matrix", {"payoff": [[[0, 1, 2], [3, 4, 5]]] * 2}),  # asks `legal` every step
    "coin, own view": ("coin", {"size": 5, "egocentric": True}),
    "hanabi of five": ("hanabi", {"players": 5}),
    "maze 101x101": ("maze", {"size": 101, "actions": 3}),
    "fruit in the last of eight rooms": ("fruit", {"rooms": 8}),
}


@pytest.fixture(autouse=True)
def sm_90(monkeypatch):
    """Without a driver numba cannot ask which device it compiles for; only the number matters here."""
    import numba.cuda.dispatcher

    monkeypatch.setattr(numba.cuda.dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))


@pytest.fixture(scope="module")
def ptxas():
    """The assembler of the `nvidia-cuda-nvcc` wheel: one on the path may be older than NVVM and refuse its PTX."""
    wheel = Path(sysconfig.get_path("purelib")) / "nvidia" / "cu13" / "bin" / "ptxas"
    if not wheel.exists():
        pytest.skip("needs the `dev` extra: nvidia-cuda-nvcc")
    return shutil.which(wheel)


def array(dtype, dimensions):
    return types.Array(dtype, dimensions, "C")


def compiled(kernel, *arguments):
    ptx, _ = cuda.compile_ptx(kernel, types.void(*arguments), cc=(9, 0))
    assert ".target sm_90" in ptx
    assert ".f64" not in ptx, "double precision slipped in"
    return ptx


def assembled(ptxas, ptx, folder):
    """Registers a thread needs; fails on spills to local memory."""
    (folder / "kernel.ptx").write_text(ptx)
    command = [ptxas, "-arch=sm_90", "-v", "kernel.ptx", "-o", "kernel.cubin"]
    log = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert log.returncode == 0, log.stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in log.stderr
    registers = re.search(r"Used (\d+) registers", log.stderr)
    assert registers, log.stderr
    return int(registers[1])


@pytest.mark.parametrize("case", CASES)
def test_worlds(case, ptxas, tmp_path):
    game = world(CASES[case][0], **CASES[case][1])
    obs, flags = array(types.uint32 if game.packed else types.uint8, 2 + len(game.stored)), [array(types.boolean, n) for n in (1, 2, 3)]
    out = types.NamedTuple([obs, array(types.float32, 2), flags[0], flags[0], obs, flags[2], flags[1], flags[1]], Step)
    worlds = array(numba.from_dtype(game.record), 1)
    mask, action = flags[0], array(types.int64, 2)
    for kernel, arguments in zip(on_gpu(game.rules, game.optional), ((action,), (mask,), (mask, action, mask)), strict=True):
        if kernel.__name__ != "edit" or hasattr(game.rules, "edit"):
            assert assembled(ptxas, compiled(kernel, worlds, *arguments, out), tmp_path) <= REGISTERS


@pytest.mark.parametrize(
    "name, arguments",
    [
        ("units", (array(types.float32, 2),)),
        ("choices", (types.int64, array(types.int64, 2))),
        ("legal", (array(types.boolean, 3), array(types.int64, 2))),
    ],
)
def test_streams(name, arguments, ptxas, tmp_path):
    kernel = streams.on_gpu(name)
    ptx = compiled(kernel, types.uint64, types.int64, types.int64, *arguments)  # key, draw, first
    assert assembled(ptxas, ptx, tmp_path) <= REGISTERS


def test_double_precision_is_noticed():
    def doubled(out):
        out[0] = out[0] * 1.1  # a Python number is a double

    with pytest.raises(AssertionError, match="double precision"):
        compiled(doubled, array(types.float32, 1))
