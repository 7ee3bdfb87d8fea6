"""What a policy of Hanabi knows of the cards that it plays: games with itself, looked at play by play."""

from dataclasses import dataclass

import torch
from torch import Tensor

from interplay.envs.engine import Batch
from interplay.policies.hanabi_stats import KNOWN, Literal
from interplay.policies.player import Player


@dataclass(frozen=True)
class Study:
    """Shares over all cards played in some games.

    Attributes:
        plays: how many cards were played in a game.
        doubt: the mean probability that the card does not fit, to who reads hints literally.
        misplays: the share of cards that did not fit.
        known: shares of cards of which nothing, the colour, the rank, or both had been named.
    """

    plays: float
    doubt: float
    misplays: float
    known: dict[str, float]

    @property
    def gap(self) -> float:
        """The convention gap: how much better the policy plays than hints alone allow; about 0 for a grounded one."""
        return self.doubt - self.misplays

    def row(self) -> dict[str, float]:
        """As named numbers."""
        named = {f"known_{name}": share for name, share in self.known.items()}
        return {"plays": self.plays, "doubt": self.doubt, "misplays": self.misplays, "convention_gap": self.gap, **named}


def study(env: Batch, player: Player, longest: int = 10_000) -> Study:
    """Let a player play one game with itself in each of some fresh worlds of Hanabi.

    Raises:
        RuntimeError: a game is not over after `longest` turns.
    """
    read = Literal(env.world)
    carry, going = player.start(env), torch.ones(env.n, dtype=torch.bool, device=env.device)
    every, found = torch.arange(env.n, device=env.device), list[Tensor]()
    scored = env.spec.section("last").stop - 2
    for turn in range(longest):
        mover, shown = env.out.acting.to(torch.uint8).argmax(1), env.out.obs.clone()
        action, _, carry = player.act(env, env.out, carry, turn)
        move = action[every, mover] % env.spec.actions
        out = env.step(action)
        over = out.terminated | out.truncated
        rows = (going & (move >= read.size) & (move < 2 * read.size)).nonzero().squeeze(1)
        if len(rows):
            doubt, known = read.plays(shown[rows, mover[rows]], move[rows])
            after = torch.where(over[rows].unsqueeze(1), out.final_obs[rows, 0], out.obs[rows, 0])
            found.append(torch.stack([doubt, 1 - env.views(after)[:, scored].to(torch.float64), known.to(torch.float64)], 1))
        going &= ~over
        if carry is not None:
            carry = carry * ~over.view(-1, 1, 1)
        if not going.any():
            doubt, missed, known = torch.cat(found).T if found else torch.zeros(3, 1, dtype=torch.float64)
            shares = {name: float((known == k).double().mean()) for k, name in enumerate(KNOWN)}
            return Study(len(doubt) / env.n, float(doubt.mean()), float(missed.mean()), shares)
    raise RuntimeError(f"{int(going.sum())} games of {env.world.name} are not over after {longest} turns")
