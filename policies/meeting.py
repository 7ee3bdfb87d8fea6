"""Strangers at one table: games between policies that did not learn together."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs.engine import Batch
from interplay.policies.player import Player


@dataclass
class Games:
    """What came of N games, the first of each world.

    Attributes:
        score: `[N, A]` float64, what each seat earned.
        final: `[N, A, *stored]` the last views.
        replies: `[actions, actions]` float64, how often a move (column) followed another (row) by somebody else in the same game; all
            zero where agents move at once.
    """

    score: Tensor
    final: Tensor
    replies: Tensor


def meet(env: Batch, seats: Sequence[Player], longest: int = 100_000) -> Games:
    """Play one game in each world, with `seats[p]` as agent p.

    Everybody is asked for all seats and heard for its own, so a player's recurrent state follows the whole game as it did in training.

    Args:
        env: fresh worlds.
        seats: a player for every agent; one player may sit in several seats.
        longest: `RuntimeError` after so many turns.
    """
    players = list(dict.fromkeys(seats))
    carries = [player.start(env) for player in players]
    score = torch.zeros(env.n, env.agents, dtype=torch.float64, device=env.device)
    final, going = env.out.final_obs.clone(), torch.ones(env.n, dtype=torch.bool, device=env.device)
    moves, before = env.world.actions, torch.full((env.n,), -1, device=env.device)
    replies = torch.zeros(moves * moves, dtype=torch.float64, device=env.device)
    for turn in range(longest):
        action = torch.zeros(env.n, env.agents, dtype=torch.int64, device=env.device)
        for k, player in enumerate(players):
            chosen, _, carries[k] = player.act(env, env.out, carries[k], turn)
            for p, other in enumerate(seats):
                if other is player:
                    action[:, p] = chosen[:, p]
        if env.spec.turns:
            move = action.gather(1, env.out.acting.to(torch.int64).argmax(1, keepdim=True)).squeeze(1)
            both = going & (before >= 0)
            replies += torch.bincount((before * moves + move)[both], minlength=moves * moves)
            before = move
        out = env.step(action)
        score += out.reward * going.unsqueeze(1)
        over = going & (out.terminated | out.truncated)
        final[over] = out.final_obs[over]
        going = going & ~over
        if not going.any():
            return Games(score, final, replies.view(moves, moves))
    raise RuntimeError(f"{int(going.sum())} games of {env.world.name} are not over after {longest} turns")
