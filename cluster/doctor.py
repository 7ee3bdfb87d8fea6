"""`interplay doctor`: what this machine has, and what is wrong with it."""

import os
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from interplay.envs.core import UsageError

NEEDED = ("interplay", "torch", "numba", "ray", "gymnasium", "pettingzoo", "pyarrow")


def main(arguments: Sequence[str]) -> None:
    """Print one line a finding; exit code 1 if something needed is missing or broken."""
    if arguments:
        raise UsageError(f"doctor takes no arguments, got {' '.join(arguments)!r}")
    wrong = 0
    for name in NEEDED:
        try:
            print(f"ok    {name} {version(name)}")
        except PackageNotFoundError:
            wrong += 1
            print(f"WRONG {name} is not installed; pip install {name}")
    wrong += _play()
    _accelerators()
    free = shutil.disk_usage("/dev/shm").free >> 20 if os.path.isdir("/dev/shm") else 0
    verdict = "ok   " if free > 1024 else "note "
    print(f"{verdict} {os.cpu_count()} CPU cores; {free:,} MiB of shared memory for Ray's object store")
    if wrong:
        raise SystemExit(1)


def _play() -> int:
    """Compile and play the smallest world."""
    try:
        from interplay import envs

        worlds = envs.make("ipd", num_envs=8)
        worlds.step(worlds.random_action(0))
    except Exception as error:  # whatever is broken is what the doctor is for
        print(f"WRONG the engine does not run: {type(error).__name__}: {error}")
        return 1
    print(f"ok    the engine runs; worlds: {', '.join(envs.names())}")
    return 0


def _accelerators() -> None:
    """What PyTorch and numba see of a GPU."""
    import torch

    if not torch.cuda.is_available():
        print("note  no CUDA device: everything runs on the CPU")
        return
    for k in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(k)
        print(f"ok    cuda:{k} {properties.name}, {properties.total_memory >> 30} GiB")
    try:
        from numba import cuda

        print(f"ok    numba sees {len(cuda.gpus)} CUDA device(s)")
    except Exception as error:
        print(f"note  numba cannot use the GPU ({type(error).__name__}: {error}); pip install 'interplay[cuda]'")
