"""Strangers at many tables: games between policies that did not learn together, all in one batch of worlds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from interplay.envs import dice
from interplay.envs.core import Step, UsageError
from interplay.envs.engine import Batch
from interplay.policies.chairs import Chairs, keyed
from interplay.policies.distributions import categorical_sample, masked
from interplay.policies.player import NetworkPlayer, Player
from interplay.policies.q_player import QPlayer
from interplay.policies.seating import fold, unfold

# Players are asked for a multiple of so many worlds: matrix products round otherwise where few rows, or few beyond whole blocks, are left.
ROWS = 64

Places = tuple[Tensor, ...]  # worlds `[K]`, or worlds `[K]` and in each a seat `[K]`: an index of tensors `[N, A, ...]`


@dataclass
class Games:
    """What came of N games at T tables, the first of each world.

    Attributes:
        score: `[N, A]` float64, what each seat earned.
        final: `[N, A, *stored]` the last views.
        replies: `[T, actions, actions]` float64, how often a move (column) followed another (row) by somebody else in the same game; all
            zero where agents move at once.
    """

    score: Tensor
    final: Tensor
    replies: Tensor


class Guest:
    """A player and the seats that it has, `sits` `[N, A]` bool.

    A network that all seats share is asked for its own seats; others are asked for all seats of their worlds, and heard for their own.
    So a recurrent state follows a game as it did in training. Who remembers nothing is asked only where it has the move.
    """

    def __init__(self, player: Player, env: Batch, sits: Tensor) -> None:
        self.player, self.sits = player, sits
        shared = isinstance(player, QPlayer) or (isinstance(player, NetworkPlayer) and not player.independent)
        self.places: Places = (sits if shared else sits.any(1)).nonzero().unbind(1)
        self.carry = player.start(look(env, self.places))

    def move(self, env: Batch, going: Tensor, turn: int, action: Tensor) -> None:
        """Write its moves into `action` `[N, A]`, in worlds that are `going` `[N]`."""
        asked = going[self.places[0]]
        if self.carry is None:
            asked &= (self.sits & env.out.acting)[self.places].view(len(asked), -1).any(1)
        rows = asked.nonzero().squeeze(1)
        if not len(rows):
            return
        filled = torch.cat([rows, rows[:1].expand(-len(rows) % ROWS)])
        some, places = (tuple(x[k] for x in self.places) for k in (filled, rows))
        moves, carry = ask(self.player, env, some, None if self.carry is None else self.carry[filled], turn)
        old = action[places]
        action[places] = torch.where(self.sits[places], moves[: len(rows)].view_as(old), old)
        if carry is not None:
            self.places, self.carry = places, carry[: len(rows)]


def look(env: Batch, places: Places) -> Any:
    """What a player is shown of some worlds or seats, as an `Env` without `first`: their ids follow no order."""
    if len(places) == 1:
        return env.part(places[0])
    agents = ("obs", "reward", "final_obs", "legal", "acting", "alive")
    shown = (x[places].unsqueeze(1) if name in agents else x[places[0]] for name, x in zip(Step._fields, env.out, strict=True))
    return Chairs(env.spec, len(places[0]), Step._make(shown), env.seed, env.device, env.ids[places[0]], places[1], env.agents)


@torch.no_grad()
def ask(player: Player, env: Batch, places: Places, carry: Tensor | None, turn: int) -> tuple[Tensor, Tensor | None]:
    """A player's moves `[K, A or 1]` and its next recurrent state.

    Networks that draw their moves are heard here, since `act` keys its dice by `env.first`: these are the same, by the worlds' ids.
    """
    seen = look(env, places)
    if not isinstance(player, NetworkPlayer) or player.greedy:
        moves, _, carry = player.act(seen, seen.out, carry, turn)
        return moves, carry
    rows = lambda x: fold(x.unsqueeze(0), 1, player.independent)
    seats = lambda y: unfold(y, 1, seen.agents, player.independent).squeeze(0)
    before = None if carry is None else rows(carry).squeeze(1).chunk(2, -1)[0]
    logits, state = player.network.actor(rows(seen.out.obs), before)
    unit = keyed(env.seed, dice.ACT, env.ids[places[0]], turn, env.agents, env.device)
    unit = unit.gather(1, places[1].unsqueeze(1)) if len(places) > 1 else unit
    moves, _ = categorical_sample(masked(seats(logits), seen.out.legal if env.spec.masks else None), unit)
    return moves, None if state is None else seats(state.repeat(1, 1, 1, 2))  # the critic's half is not read here


def meet(env: Batch, tables: Sequence[Sequence[Player]], longest: int = 100_000) -> Games:
    """Play one game in each world. What happens at a table does not depend on the others.

    Args:
        env: fresh worlds, equally many for each table, those of a table side by side.
        tables: for each table a player for every agent; one player may sit in several seats, at several tables. `AttributeError` where
            another than a `NetworkPlayer` keys dice by `env.first` (bots' dice are keyed by the worlds' own ids).
        longest: `RuntimeError` after so many turns.
    """
    guests = seated(env, tables)
    score = torch.zeros(env.n, env.agents, dtype=torch.float64, device=env.device)
    final, going = env.out.final_obs.clone(), torch.ones(env.n, dtype=torch.bool, device=env.device)
    moves, before = env.world.actions, torch.full((env.n,), -1, device=env.device)
    table = torch.arange(len(tables), device=env.device).repeat_interleave(env.n // len(tables))
    replies = torch.zeros(len(tables) * moves * moves, dtype=torch.float64, device=env.device)
    for turn in range(longest):
        action = torch.zeros(env.n, env.agents, dtype=torch.int64, device=env.device)
        for guest in guests:
            guest.move(env, going, turn, action)
        if env.spec.turns:
            move = action.gather(1, env.out.acting.to(torch.int64).argmax(1, keepdim=True)).squeeze(1)
            both = ((table * moves + before) * moves + move)[going & (before >= 0)]
            replies.index_add_(0, both, torch.ones(len(both), dtype=torch.float64, device=env.device))
            before = move
        out = env.step(action)
        score += out.reward * going.unsqueeze(1)
        over = going & (out.terminated | out.truncated)
        final[over] = out.final_obs[over]
        going = going & ~over
        if not going.any():
            return Games(score, final, replies.view(len(tables), moves, moves))
    raise RuntimeError(f"{int(going.sum())} games of {env.world.name} are not over after {longest} turns")


def seated(env: Batch, tables: Sequence[Sequence[Player]]) -> list[Guest]:
    """All players, each once; `UsageError` where worlds or seats do not come out even."""
    if not tables or env.n % len(tables) or any(len(seats) != env.agents for seats in tables):
        taken = sorted({len(seats) for seats in tables})
        raise UsageError(f"{env.n} worlds of {env.agents} seats for {len(tables)} tables of {taken} players; allowed are equal shares")
    number = {player: k for k, player in enumerate(dict.fromkeys(player for seats in tables for player in seats))}
    who = torch.tensor([[number[player] for player in seats] for seats in tables], device=env.device)
    who = who.repeat_interleave(env.n // len(tables), 0)
    return [Guest(player, env, who == k) for player, k in number.items()]
