"""The literature's players of iterated 2x2 games that remember one round: tables of the probability of cooperating (move 0).

A table is float32 `[5]` in the order [CC, CD, DC, DD, start], own move first; `torch.logit` of it are the logits that `tabular` and
`envs.exact` take (infinite ones, which both bear).
"""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from interplay.envs.core import UsageError, did_you_mean
from interplay.envs.matrix import CLASSICS, payoff_table


def always_cooperate() -> Tensor:
    """Cooperates, whatever happens."""
    return torch.ones(5)


def always_defect() -> Tensor:
    """Defects, whatever happens: the one equilibrium of the one-shot dilemma."""
    return torch.zeros(5)


def tit_for_tat() -> Tensor:
    """Cooperates first, then does what the other did (Rapoport, in Axelrod 1980)."""
    return torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0])


def win_stay_lose_shift() -> Tensor:
    """Repeats its move after a good payoff (the other cooperated) and changes it after a bad one: Pavlov (Nowak & Sigmund 1993)."""
    return torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0])


def grim() -> Tensor:
    """Cooperates until anybody has defected, then never again (Friedman 1971). One round of memory is enough: it sees its own move."""
    return torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0])


def coin_flip(cooperate: float = 0.5) -> Tensor:
    """Throws a coin that shows cooperation with that probability."""
    if not 0 <= cooperate <= 1:
        raise UsageError(f"cooperate is {cooperate!r}; allowed are probabilities from 0 to 1")
    return torch.full((5,), cooperate)


def zd_extort(chi: float = 3.0, payoff: Any = None, phi: float | None = None, gamma: float = 1.0) -> Tensor:
    """Extorts: whatever the other does, its own mean payoff exceeds P by chi times as much as the other's, s_X - P = χ (s_Y - P).

    Zero-determinant strategy of Press & Dyson (2012). A player with (p_CC - 1, p_CD - 1, p_DC, p_DD) =
    φ [(S_X - P) - χ (S_Y - P)], S_X = (R, S, T, P) and S_Y = (R, T, S, P), enforces that line in the long run. With discounting the
    left side is γ p + (1-γ) p_start - (1, 1, 0, 0) (Hilbe, Traulsen & Sigmund 2015); the player starts with defection, as it must
    then. Without, the start does not matter in the long run, and is defection too.

    Args:
        chi: extortion factor χ >= 1; 1 is fair: both earn the same.
        payoff: of a symmetric prisoner's dilemma, T > R > P > S: `[2, 2, 2]` as in `matrix.world`; None: the IPD's.
        phi: φ in (0, largest], which says how fast: the larger, the more its moves hang on the last round. None: half the largest, as
            in Press & Dyson's example.
        gamma: discount of the game in which the line shall hold; 1: in the long run.
    """
    reward, sucker, temptation, punishment = dilemma(CLASSICS["ipd"] if payoff is None else payoff)
    if not chi >= 1:
        raise UsageError(f"chi is {chi!r}; allowed are extortion factors from 1")
    if not 0 < gamma <= 1:
        raise UsageError(f"gamma is {gamma!r}; allowed are discounts above 0, to 1")
    lost, gained = punishment - sucker, temptation - punishment
    # What leaves the probabilities of CC, CD and DC, per φ; each must be within what the game's discount leaves to be decided.
    leave_cc, leave_cd, enter_dc = (chi - 1) * (reward - punishment), lost + chi * gained, gained + chi * lost
    largest = min(1 / leave_cc if leave_cc else float("inf"), 1 / leave_cd, gamma / enter_dc)
    least = max((1 - gamma) / x if x else float("inf") for x in (leave_cc, leave_cd)) if gamma < 1 else 0.0
    if least > largest:
        raise UsageError(f"gamma is {gamma!r}; with chi {chi!r} no strategy that starts with defection extorts at that discount")
    phi = max(least, largest / 2) if phi is None else phi
    if not 0 < phi <= largest or phi < least:
        raise UsageError(f"phi is {phi!r}; allowed with chi {chi!r} are numbers above 0, from {least:.6g} to {largest:.6g}")
    table = torch.tensor([1 - phi * leave_cc, 1 - phi * leave_cd, phi * enter_dc, 0, 0], dtype=torch.float64)
    return (table / gamma).clamp(0, 1).float()


def dilemma(payoff: Any) -> tuple[float, float, float, float]:
    """R, S, T, P of a symmetric prisoner's dilemma's payoffs; `UsageError` where they are of another game."""
    table = payoff_table(payoff)
    symmetric = table.shape == (2, 2, 2) and (table[1] == table[0].T).all()
    if not symmetric or not table[0, 1, 0] > table[0, 0, 0] > table[0, 1, 1] > table[0, 0, 1]:
        raise UsageError(f"payoff is {table.tolist()}; allowed are symmetric prisoner's dilemmas with T > R > P > S")
    reward, sucker, temptation, punishment = table[0].flatten().tolist()
    return reward, sucker, temptation, punishment


PLAYERS: dict[str, Callable[..., Tensor]] = {
    "always-cooperate": always_cooperate,
    "always-defect": always_defect,
    "tit-for-tat": tit_for_tat,
    "win-stay-lose-shift": win_stay_lose_shift,
    "grim": grim,
    "random": coin_flip,
    "zd-extort": zd_extort,
}


def names() -> list[str]:
    """The scripted players."""
    return sorted(PLAYERS)


def scripted(name: str, **params: Any) -> Tensor:
    """The table `[5]` of the player of that name with its parameters; `UsageError` with the nearest name where one is unknown."""
    if name not in PLAYERS:
        raise UsageError(f"scripted player {name!r} is unknown{did_you_mean(name, PLAYERS)}")
    known = list(inspect.signature(PLAYERS[name]).parameters)
    for param in params:
        if param not in known:
            told = did_you_mean(param, known) if known else "; it has none"
            raise UsageError(f"scripted player {name!r} has no parameter {param!r}{told}")
    return PLAYERS[name](**params)
