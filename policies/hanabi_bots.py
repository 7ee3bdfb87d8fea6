"""Rule bots for Hanabi, the population that zero-shot coordination is tried against: the literature's priority lists, and SmartBot.

A bot is a list of rules; the first that has a move makes it. Sources: Outer after Osawa (2015); Van den Bergh et al. (2016); IGGI, Piers
and Flawed by Walton-Rivers et al. (2017), "Evaluating and modelling Hanabi-playing agents"; SmartBot: `hanabi_smartbot`.
"""

import sys
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from interplay.envs import dice, engine, hanabi, streams
from interplay.envs.core import Env, Step, UsageError, did_you_mean
from interplay.envs.rule import edition, rule
from interplay.policies import hanabi_lore as lore
from interplay.policies import hanabi_smartbot

# Plays: `PLAY` from a probability on, `RISK` likewise while more than one life is left, `GAMBLE` so too once the deck is empty.
PLAY, RISK, GAMBLE = range(3)
# Hints: `DISPENSABLE` with fewer than so many tokens left, `MOST` the one that is news for most cards.
HINT_PLAYABLE, HINT_DISPENSABLE, HINT_UNKNOWN, HINT_MOST, HINT_ANY = range(3, 8)
# Discards: of no use for sure, the most likely useless, the oldest that no hint touched, the oldest, any.
DISCARD_USELESS, DISCARD_LIKELY, DISCARD_UNTOLD, DISCARD_OLDEST, DISCARD_ANY = range(8, 13)

Rules = tuple[tuple[int, float], ...]  # rules with their thresholds (0 where they have none); a uniform legal move ends every list
BOTS: dict[str, Rules] = {
    "random-legal": (),
    "iggi": ((PLAY, 1), (HINT_PLAYABLE, 0), (DISCARD_USELESS, 0), (DISCARD_UNTOLD, 0), (HINT_ANY, 0), (DISCARD_OLDEST, 0)),
    "piers": (
        *((GAMBLE, 0), (PLAY, 1), (RISK, 0.6), (HINT_PLAYABLE, 0), (HINT_DISPENSABLE, 4)),
        *((DISCARD_USELESS, 0), (DISCARD_OLDEST, 0), (HINT_ANY, 0), (DISCARD_ANY, 0)),
    ),
    "outer": ((PLAY, 1), (DISCARD_USELESS, 0), (HINT_PLAYABLE, 0), (HINT_UNKNOWN, 0), (DISCARD_ANY, 0)),
    "van-den-bergh": ((RISK, 0.6), (PLAY, 1), (DISCARD_USELESS, 0), (HINT_PLAYABLE, 0), (HINT_MOST, 0), (DISCARD_LIKELY, 0)),
    "flawed": ((PLAY, 1), (PLAY, 0.4), (HINT_ANY, 0), (DISCARD_USELESS, 0), (DISCARD_OLDEST, 0), (DISCARD_ANY, 0)),
    "smartbot": (),
}


@rule
def likeliest(w, p, wanted, least):
    """Player p's oldest slot among the most likely to be in a set, with a probability above 0 and of `least` or more; else -1."""
    pile, best, slot = lore.unseen(w, p), np.float32(0), -1
    for k in range(lore.held(w, p)):
        good = lore.chance(pile, lore.possible(w, p, k), wanted)
        if good > best and good >= least:
            best, slot = good, k
    return slot


@rule
def fact(w, p, q, slot):
    """The move of p that tells q the rank of a card, or the colour where q knows the rank; -1 where it knows both."""
    ranks, card = w.copies.shape[0], np.int64(w.hand[q, slot])
    if lore.size(np.int64(w.ranks[q, slot])) > 1:
        return lore.hint_move(w, p, q, False, card % ranks)
    if lore.size(np.int64(w.colours[q, slot])) > 1:
        return lore.hint_move(w, p, q, True, card // ranks)
    return -1


@rule
def tell(w, p, wanted):
    """The first fact not known yet about a card of a set: next player first, oldest card first; -1 where there is none."""
    players = w.hand.shape[0]
    for away in range(1, players):
        q = (p + away) % players
        for k in range(lore.held(w, q)):
            if wanted >> np.int64(w.hand[q, k]) & 1:
                move = fact(w, p, q, k)
                if move >= 0:
                    return move
    return -1


@rule
def news(w, p, k):
    """For how many cards p's k-th hint is news; -1 where it may not be given."""
    q, colour, value = lore.hint(w, p, k)
    slots, count = lore.touched(w, q, colour, value), 0
    for slot in range(w.hand.shape[1]):
        if slots >> slot & 1 and not np.int64(w.told[q, slot]) & (1 if colour else 2):
            count += 1
    return count if slots else -1


@rule
def widest(w, p):
    """The hint that is news for most cards (the first of several), or -1."""
    best, move = -1, -1
    for k in range(lore.hints(w)):
        count = news(w, p, k)
        if count > best:
            best, move = count, 2 * w.hand.shape[1] + k
    return move


@rule
def any_hint(w, p, word):
    """A uniform hint that may be given, or -1."""
    count = 0
    for k in range(lore.hints(w)):
        count += 1 if news(w, p, k) >= 0 else 0
    left, _ = streams.choose(word, count)
    for k in range(lore.hints(w)):
        if news(w, p, k) >= 0:
            if left == 0:
                return 2 * w.hand.shape[1] + k
            left -= 1
    return -1


@rule
def any_move(w, p, word):
    """A uniform legal move."""
    cards, some = lore.held(w, p), 0
    if w.info > 0:
        for k in range(lore.hints(w)):
            some += 1 if news(w, p, k) >= 0 else 0
    own = cards * (2 if lore.may_discard(w) else 1)
    left, rest = streams.choose(word, own + some)
    if left >= own:
        return any_hint(w, p, rest)
    return w.hand.shape[1] + left if left < cards else left - cards


@rule
def play(w, p, which, least):
    """Plays; a probability of 0 is never risked."""
    if which != PLAY and w.lives == 1:
        return -1
    if which == GAMBLE and w.drawn < w.pile.shape[0]:
        return -1
    slot = likeliest(w, p, lore.playable(w), least)
    return w.hand.shape[1] + slot if slot >= 0 else -1


@rule
def hint(w, p, which, most, word):
    """Hints."""
    if w.info == 0 or (which == HINT_DISPENSABLE and w.info >= most):
        return -1
    if which == HINT_ANY:
        return any_hint(w, p, word)
    if which == HINT_MOST:
        return widest(w, p)
    wanted = lore.cards(w)
    if which == HINT_PLAYABLE:
        wanted = lore.playable(w)
    elif which == HINT_DISPENSABLE:
        wanted = lore.useless(w)
    return tell(w, p, wanted)


@rule
def discard(w, p, which, word):
    """Discards."""
    cards = lore.held(w, p)
    if not lore.may_discard(w):
        return -1
    if which == DISCARD_USELESS:
        return likeliest(w, p, lore.useless(w), np.float32(1))
    if which == DISCARD_LIKELY:
        return max(likeliest(w, p, lore.useless(w), np.float32(0)), 0)
    if which == DISCARD_ANY:
        return streams.choose(word, cards)[0]
    if which == DISCARD_OLDEST:
        return 0
    for k in range(cards):
        if w.told[p, k] == 0:
            return k
    return -1


@rule
def choose(w, p, numbers, thresholds, word):
    """Player p's move: that of the first rule that has one, else a uniform legal one."""
    for k in range(numbers.shape[0]):
        which = numbers[k]
        if which < HINT_PLAYABLE:
            move = play(w, p, which, thresholds[k])
        elif which < DISCARD_USELESS:
            move = hint(w, p, which, thresholds[k], word)
        else:
            move = discard(w, p, which, word)
        if move >= 0:
            return move
    return any_move(w, p, word)


def on_cpu(bots: Any, smart: Any) -> tuple[Any, Any]:
    """The loops over worlds, for `njit`: by a list of rules, and SmartBot's."""

    def by_rules(worlds, numbers, thresholds, key, draw, action):
        for i in prange(worlds.shape[0]):
            w = worlds[i]
            for p in range(action.shape[1]):
                action[i, p] = 0
            p = np.int64(w.mover)
            action[i, p] = bots.choose(w, p, numbers, thresholds, dice.philox(key, draw * action.shape[1] + p, w.id))

    def by_smartbot(worlds, memory, action):
        for i in prange(worlds.shape[0]):
            w = worlds[i]
            for p in range(action.shape[1]):
                smart.remember(w, memory[i, p])
                action[i, p] = 0
            p = np.int64(w.mover)
            action[i, p] = smart.decide(w, p, memory[i, p])

    return by_rules, by_smartbot


def on_gpu(bots: Any, smart: Any) -> tuple[Any, Any]:
    """The same as CUDA kernels, a thread a world."""
    from numba import cuda

    def by_rules(worlds, numbers, thresholds, key, draw, action):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < worlds.shape[0]:
            w = worlds[i]
            for p in range(action.shape[1]):
                action[i, p] = 0
            p = np.int64(w.mover)
            action[i, p] = bots.choose(w, p, numbers, thresholds, dice.philox(key, draw * action.shape[1] + p, w.id))

    def by_smartbot(worlds, memory, action):
        i = cuda.grid(1)  # pyright: ignore[reportCallIssue]
        if i < worlds.shape[0]:
            w = worlds[i]
            for p in range(action.shape[1]):
                smart.remember(w, memory[i, p])
                action[i, p] = 0
            p = np.int64(w.mover)
            action[i, p] = smart.decide(w, p, memory[i, p])

    return by_rules, by_smartbot


@lru_cache
def compiled(which: int, device: str, parallel: bool) -> Any:
    """One of the loops for a device; its closure is two modules, and its name tells editions apart (see `engine.drivers`).

    Every rule must be inlined: numba names a function that is called by counters of its process, so that two loops from the disk cache,
    compiled by two processes for two games, would share one copy of it.
    """
    loop = (on_gpu if device == "cuda" else on_cpu)(sys.modules[__name__], hanabi_smartbot)[which]
    text = "-".join(edition(module) for module in (lore, sys.modules[__name__], hanabi_smartbot))
    loop.__qualname__ = f"{loop.__name__}.{'many' if parallel else 'few'}.{text}"
    if device == "cuda":
        from numba import cuda

        return cuda.jit(loop, cache=True)
    return njit(loop, parallel=parallel, nogil=True, cache=True)


class RuleBot:
    """A rule bot in every seat.

    Args:
        name: one of `BOTS`.
        rules: another list of rules and thresholds, to be played instead.
    """

    def __init__(self, name: str, rules: Rules | None = None) -> None:
        if rules is None and name not in BOTS:
            raise UsageError(f"Hanabi bot {name!r} is unknown{did_you_mean(name, BOTS)}")
        self.name, self.smart = name, rules is None and name == "smartbot"
        listed = BOTS[name] if rules is None else rules
        self._numbers = torch.tensor([number for number, _ in listed], dtype=torch.int64)
        self._thresholds = torch.tensor([threshold for _, threshold in listed], dtype=torch.float32)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Rules do not learn."""

    def start(self, env: Env) -> Tensor | None:
        """SmartBot's memory `[N, A, 2 * players * hand]` float32; None for the others, who remember nothing."""
        batch = batch_of(env)
        if not self.smart:
            return None
        return torch.zeros(env.n, env.agents, hanabi_smartbot.width(batch.world), device=env.device)

    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """The movers' actions `[N, A]` (0 for those who wait), log-probabilities of 0, and SmartBot's next memory."""
        batch, device = batch_of(env), env.device.type
        action = torch.empty(env.n, env.agents, dtype=torch.int64, device=env.device)
        loop = compiled(int(self.smart), device, device == "cpu" and engine.many(env.n))
        if self.smart:
            assert carry is not None, "SmartBot remembers: pass what `start` and the last `act` gave"
            carry = carry.clone()
            arguments = (engine.view(carry),)
        else:
            rules = (engine.view(x.to(env.device)) for x in (self._numbers, self._thresholds))
            arguments = (*rules, streams.key_of(env.seed, dice.ACT), draw)
        worlds = engine.view(batch.memory).view(batch.world.record).reshape(env.n)
        engine.launch(loop, env.n, env.device, worlds, *arguments, engine.view(action))
        return action, torch.zeros(env.n, env.agents, device=env.device), carry


def batch_of(env: Env) -> engine.Batch:
    """The batch of Hanabi that rule bots can play, or a `UsageError`."""
    if not isinstance(env, engine.Batch) or env.world.rules is not hanabi:
        raise UsageError(f"rule bots play hanabi; this is {env.world.name if isinstance(env, engine.Batch) else type(env).__name__}")
    return env


def bot(name: str) -> RuleBot:
    """The rule bot of that name; `UsageError` with the nearest name where it is unknown."""
    return RuleBot(name)
