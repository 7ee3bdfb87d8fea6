"""Learners in parallel: m processes with the same weights, each with a share of every minibatch's pieces, and one sum of gradients.

Every one of them gets all trajectories (which on a node costs nothing: they share the memory) and lays them out alike; the pieces of a
minibatch (`learners.chunks`) are dealt out, and what travels is one flat tensor a minibatch: the gradient, with the loss's terms behind
it. So m learners make the very update of one, but for the order of the sums.
"""

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

PATIENCE = timedelta(minutes=10)


def meeting_place(host: str, size: int) -> Any:
    """Where `size` learners find each other: a store on a free port of this process, which stays open as long as it is kept."""
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    return TCPStore(host, 0, size, True, timeout=PATIENCE, wait_for_workers=False)


class Team:
    """Membership in a group of m learners.

    Args:
        rank: of this one, 0 ... m - 1.
        size: m.
        store: rank 0's own `meeting_place`, or where it is, "host:port".
        device: "cpu" (gloo) or "cuda:..." (nccl).
    """

    def __init__(self, rank: int, size: int, store: Any, device: str) -> None:
        import torch.distributed as dist

        self.rank, self.size, self.dist = rank, size, dist
        if isinstance(store, str):
            host, _, port = store.rpartition(":")
            store = dist.TCPStore(host, int(port), size, False, timeout=PATIENCE)  # pyright: ignore[reportPrivateImportUsage]
        if store.host.startswith("127."):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a cluster of this machine alone
        kind = "nccl" if device.startswith("cuda") else "gloo"
        dist.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=PATIENCE)

    def mine(self, pieces: Sequence[Any]) -> Sequence[Any]:
        """This one's share of some pieces of work, dealt out in turn."""
        return pieces[self.rank :: self.size]

    def pooled(self, gradient: Tensor, terms: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """A gradient `[P, D]` and the terms of its loss `[P]`, summed over all members by one all-reduce."""
        flat = torch.cat([gradient, *(x.unsqueeze(1) for x in terms.values())], 1)
        self.dist.all_reduce(flat)
        sums = flat[:, gradient.shape[1] :].unbind(1)
        return flat[:, : gradient.shape[1]], dict(zip(terms, sums, strict=True))
