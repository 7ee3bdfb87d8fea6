"""Proximal policy optimisation (Schulman et al. 2017) for a population: P independent agents in one backward pass."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from interplay.envs import streams
from interplay.envs.core import UsageError
from interplay.learners.allreduce import Team
from interplay.learners.chunks import Crew
from interplay.learners.optim import AdamConfig, MemberAdam
from interplay.learners.returns import own_turns, vtrace
from interplay.policies.distributions import categorical, gaussian, masked
from interplay.policies.grid_network import GridNetwork
from interplay.policies.networks import ActorCritic
from interplay.policies.seating import fold, where_moving
from interplay.policies.trajectory import Trajectory

CHUNK = 2048  # rows that are differentiated at once: as many as a core's cache holds layers of
LARGE_CHUNK = 1 << 17  # the same on a GPU


@dataclass(frozen=True)
class PPOConfig:
    """How PPO learns.

    Attributes:
        gamma: discount.
        lam: trace decay of GAE, and of V-trace where the data are stale.
        clip: how far the probability ratio counts.
        epochs: passes over a trajectory.
        minibatches: parts of a trajectory that each make one step.
        entropy: weight of the entropy bonus.
        value: weight of the value loss.
        normalise: advantages to mean 0 and deviation 1, per member and trajectory.
        anneal: learning rate falls linearly to 0 over so many updates; 0 for never.
        calm: the entropy bonus falls linearly to 0 over so many updates; 0 for never.
        scale: rewards are multiplied by this before anything is learned from them; 1 - gamma keeps values as small as rewards.
    """

    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2
    epochs: int = 4
    minibatches: int = 4
    entropy: float = 0.01
    value: float = 0.5
    normalise: bool = True
    anneal: int = 0
    calm: int = 0
    scale: float = 1.0


def ppo_loss(logp: Tensor, behaviour: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The clipped surrogate, to be minimised, row by row: -min(r A, clip(r, 1 - eps, 1 + eps) A) with r = exp(logp - behaviour)."""
    ratio = torch.exp(logp - behaviour)
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


@dataclass
class Rows:
    """A trajectory laid out for a population, `[P, T, R, ...]` (R rows a member), with what PPO needs of each turn.

    `advantage` and `target` are filled in last; `weight` is 1 where there is a move to learn from (None: everywhere); `carry`
    `[P, R, 2 H]` is the recurrent state of actor and critic before the first turn, `keep` False where a game starts with a turn. `all` is
    what the critic reads, where that is more than `obs`.
    """

    obs: Tensor
    all: Tensor | None
    action: Tensor
    behaviour: Tensor
    legal: Tensor | None
    weight: Tensor | None
    carry: Tensor | None
    keep: Tensor | None
    advantage: Tensor
    target: Tensor

    @property
    def seen(self) -> Tensor:
        """What the critic reads."""
        return self.obs if self.all is None else self.all

    def pick(self, index: Tensor, sequences: bool) -> "Rows":
        """Some of the rows: single turns as `[P, 1, k, ...]`, or whole sequences `[P, T, k, ...]`."""

        def take(x: Tensor) -> Tensor:
            return x.index_select(2, index) if sequences else x.flatten(1, 2).index_select(1, index).unsqueeze(1)

        picked = {name: None if x is None else take(x) for name, x in vars(self).items() if name not in ("carry", "keep")}
        carry = None if self.carry is None else self.carry.index_select(1, index)
        return Rows(**picked, carry=carry, keep=None if self.keep is None else take(self.keep))  # type: ignore[arg-type]

    def compact(self, sequences: bool) -> "Rows":
        """The same in contiguous memory; single turns of a lone member without those that have no weight, `[1, 1, k, ...]`."""
        if self.weight is not None and not sequences and len(self.weight) == 1:
            return replace(self, weight=None).pick(self.weight.flatten().nonzero().flatten(), False)
        return Rows(**{name: None if x is None else x.contiguous() for name, x in vars(self).items()})  # type: ignore[arg-type]


class PPO:
    """A learner of P actor-critics.

    Args:
        network: the actor-critics; the learner owns their weights.
        config, optim: how to learn.
        independent: each agent has its own member (else all agents share one).
        groups: S seeds: the trajectory's worlds come in S equal contiguous groups (`policies.seating`).
        seed: of the minibatch shuffles.
        threads: over which chunks are spread; the result does not depend on it.
    """

    def __init__(
        self,
        network: ActorCritic | GridNetwork,
        config: PPOConfig,
        optim: AdamConfig,
        independent: bool = True,
        groups: int = 1,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        if config.anneal < 0 or config.calm < 0:
            raise UsageError(f"ppo.anneal is {config.anneal} and ppo.calm {config.calm}; allowed are whole numbers from 0")
        self.network, self.config, self.spec = network, config, network.spec
        self.independent, self.groups, self.seed = independent, groups, seed
        self.adam, self.crew = MemberAdam(network.flat, optim), Crew(threads)
        self.team: Team | None = None  # who shares the work, if this is one of several
        self.updates = 0

    def policy(self) -> dict[str, Tensor]:
        """The weights `{"flat": [P, D]}`, and from how many updates they are."""
        return {"flat": self.network.flat.detach(), "updates": torch.tensor(self.updates)}

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, Adam's moments, and the number of updates made."""
        return {"flat": self.network.flat.detach().clone(), "updates": torch.tensor(self.updates), **self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        self.network.load(state["flat"])
        self.updates = int(state["updates"])
        self.adam.load_state_dict(state)

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """One PPO update."""
        assert trajectory is not None
        rows, config = self.prepare(trajectory), self.config
        count = rows.obs.shape[2] if self.sequences else rows.obs.shape[1] * rows.obs.shape[2]
        sums: dict[str, Tensor] = {}
        if config.anneal:
            self.adam.scale = self.left(config.anneal)
        for epoch in range(config.epochs):
            order = streams.permutation(self.seed, self.updates * config.epochs + epoch, count).to(rows.obs.device)
            for part in order.chunk(config.minibatches):
                gradient, terms = self.gradient(rows, part)
                terms["gradient_norm"] = self.adam.step(gradient)
                for name, x in terms.items():
                    sums[name] = sums[name] + x if name in sums else x
        self.updates += 1
        steps = config.epochs * min(config.minibatches, count)
        metrics = {f"ppo/{name}": float(x.mean()) / steps for name, x in sums.items()}
        return metrics | earnings(trajectory)

    def left(self, over: int) -> float:
        """The share that is left of what falls linearly to 0 over so many updates; 1 where that is 0."""
        return max(0.0, 1 - self.updates / over) if over else 1.0

    @property
    def bonus(self) -> float:
        """The weight of the entropy bonus in the next update."""
        return self.config.entropy * self.left(self.config.calm)

    @property
    def sequences(self) -> bool:
        """Whether minibatches are made of whole sequences, since the network remembers."""
        return self.network.carry_width > 0

    def gradient(self, rows: Rows, part: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The gradient `[P, D]` of the mean loss over a minibatch, summed chunk by chunk, and the loss's terms `[P]`."""
        size = CHUNK if rows.obs.device.type == "cpu" else LARGE_CHUNK
        size = max(1, size // rows.obs.shape[1]) if self.sequences else size
        norm: Tensor | int = part.numel() * (rows.obs.shape[1] if self.sequences else 1)
        if rows.weight is not None:
            picked = rows.pick(part, self.sequences).weight
            assert picked is not None
            norm = picked.sum((1, 2)).clamp(min=1)

        def work(piece: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            loss, terms = self.loss(rows.pick(piece, self.sequences), norm)
            return self.network.gradient(loss), terms

        if self.team is None:
            return summed(self.crew.map(work, part.split(size)))
        if len(part) < self.team.size:
            raise UsageError(f"run.learners is {self.team.size} with minibatches of {len(part)} rows; allowed is at most one learner a row")
        pieces = part.split(min(size, -(-len(part) // self.team.size)))  # there is something for everybody
        return self.team.pooled(*summed(self.crew.map(work, self.team.mine(pieces))))

    def loss(self, rows: Rows, norm: Tensor | int) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of these rows in the mean loss over `norm` rows, summed over members; and its terms `[P]`."""
        out, value = self.network.both(rows.obs, rows.seen, rows.carry, rows.keep)
        logp, entropy = self._likelihood(out, rows)
        mean = lambda x: (x if rows.weight is None else x * rows.weight).sum((1, 2)) / norm
        terms = {
            "policy_loss": mean(ppo_loss(logp, rows.behaviour, rows.advantage, self.config.clip)),
            "value_loss": mean(0.5 * (value - rows.target) ** 2),
            "entropy": mean(entropy),
        }
        loss = terms["policy_loss"] + self.config.value * terms["value_loss"] - self.bonus * terms["entropy"]
        return loss.sum(), {name: x.detach() for name, x in terms.items()}

    def _memory(self, rows: Rows, tower: int) -> Tensor | None:
        """What the actor (0) or the critic (1) remembers before the first turn."""
        return None if rows.carry is None else self.network.share(rows.carry, tower)

    def _log_prob(self, rows: Rows, mine: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the rows' actions under the present policy, and its entropies, `[P, T, R]`, at least where it is `mine`."""
        if self.sequences:
            return self._likelihood(self.network.actor(rows.obs, self._memory(rows, 0), rows.keep)[0], rows)
        return self._likelihood(where_moving(lambda x: self.network.actor(x)[0], rows.obs, mine), rows)

    def _likelihood(self, out: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The same, where the actor says `out`."""
        if self.spec.continuous:
            return gaussian(out, self.network.weights["log_std"].unsqueeze(1), rows.action)
        return categorical(masked(out, rows.legal), rows.action)

    @torch.no_grad()
    def prepare(self, trajectory: Trajectory) -> Rows:
        """Values, advantages and targets of a trajectory, laid out by member."""
        tr, config, lay = trajectory, self.config, lambda x: fold(x, self.groups, self.independent)
        each = lambda x: lay(x.unsqueeze(-1).expand(-1, -1, tr.reward.shape[2]))  # [T, B] to rows
        stop = each(tr.terminated | tr.truncated)
        moved = [lay(x) for x in (tr.acting, tr.alive) if x is not None]
        mine = torch.stack(moved).all(0) if moved else None
        unknown = torch.empty_like(lay(tr.reward))
        rows = Rows(
            advantage=unknown,
            target=unknown,
            obs=lay(tr.obs),
            all=lay(self.network.seen(tr.obs)) if self.network.views > 1 else None,
            action=lay(tr.action),
            behaviour=lay(tr.logp),
            legal=None if tr.legal is None else lay(tr.legal),
            weight=None,
            carry=None if tr.carry is None else lay(tr.carry.unsqueeze(0)).squeeze(1),
            keep=torch.cat([torch.ones_like(stop[:, :1]), ~stop[:, :-1]], 1) if self.sequences else None,
        )
        value, following = self._values(rows, tr, stop, mine)
        ratio, lam = None, config.lam
        if (tr.version if tr.learned is None else tr.learned) < self.updates:  # stale: correct towards the policy that learns now
            present = self._log_prob(rows, mine)[0]
            ratio, rows.behaviour = torch.exp(present - rows.behaviour), present
            ratio = ratio if mine is None else torch.where(mine, ratio, 1)  # who waits does nothing that could be likelier
        reward = lay(tr.reward) * config.scale
        if tr.target is not None:  # what was imagined takes the place of what came of it
            target = lay(tr.target) * config.scale
            reward, following = torch.where(target.isnan(), reward, target), following * target.isnan()
        timewise = [None if x is None else x.transpose(0, 1) for x in (reward, value, following, stop, ratio)]
        if mine is not None:
            timewise[1], timewise[2], usable = own_turns(*timewise[:4], mine.transpose(0, 1), config.gamma)  # type: ignore[arg-type]
            rows.weight, lam = usable.transpose(0, 1).to(torch.float32), torch.where(mine.transpose(0, 1), lam, 1.0)
        advantage = vtrace(*timewise, config.gamma, lam)  # type: ignore[arg-type]
        rows.target = (advantage + timewise[1]).transpose(0, 1)  # type: ignore[operator]
        advantage = advantage.transpose(0, 1)
        rows.advantage = normalise(advantage, rows.weight) if config.normalise else advantage
        return rows.compact(self.sequences)

    def _values(self, rows: Rows, tr: Trajectory, stop: Tensor, mine: Tensor | None) -> tuple[Tensor, Tensor]:
        """V(s_t), at least where it is `mine`, and the value of what follows turn t (see `vtrace`), both `[P, T, R]`."""
        net = self.network
        lay = lambda x: fold(x, self.groups, self.independent)
        read = lambda obs: lay(net.seen(obs.unsqueeze(0)))
        if self.sequences:
            value, states = net.critic(rows.seen, self._memory(rows, 1), rows.keep)
        else:
            value, states = where_moving(lambda x: net.critic(x)[0], rows.seen, mine), None
        after = lambda t: None if states is None else states[:, t]
        last, _ = net.critic(read(tr.last_obs), None if states is None else states[:, -1] * ~stop[:, -1].unsqueeze(-1), None)
        following = torch.cat([value[:, 1:], last], 1) * ~stop
        for t in tr.final_at[:, 0].unique().tolist():
            at = tr.final_at[:, 0] == t
            seen = torch.zeros_like(tr.last_obs)
            seen[tr.final_at[at, 1]] = tr.final_obs[at]
            cut = lay((tr.truncated[t] & ~tr.terminated[t]).view(1, -1, 1).expand(1, -1, tr.reward.shape[2]))
            following[:, t] += (net.critic(read(seen), after(t))[0] * cut)[:, 0]
        return value, following


def summed(parts: Iterable[tuple[Tensor, dict[str, Tensor]]]) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients and terms of pieces, added in their order."""
    gradients, terms = zip(*parts, strict=True)
    return torch.stack(gradients).sum(0), {name: torch.stack([t[name] for t in terms]).sum(0) for name in terms[0]}


def earnings(trajectory: Trajectory) -> dict[str, float]:
    """What players earned: `reward_per_step/<player>`, and `reward_per_game/<player>` where games ended (all rewards over all ends)."""
    steps, ends = trajectory.turns, int((trajectory.terminated | trajectory.truncated).sum())
    total = trajectory.reward.sum((0, 1), dtype=torch.float64).tolist()
    named = {f"reward_per_step/player_{a}": r / steps for a, r in enumerate(total)}
    return named | ({f"reward_per_game/player_{a}": r / ends for a, r in enumerate(total)} if ends else {})


def normalise(advantage: Tensor, weight: Tensor | None) -> Tensor:
    """Advantages `[P, T, R]` to mean 0 and deviation 1 per member, over the turns where it moved."""
    weight = torch.ones_like(advantage) if weight is None else weight
    count = weight.sum((1, 2), keepdim=True).clamp(min=1)
    centred = advantage - (advantage * weight).sum((1, 2), keepdim=True) / count
    return centred / (((centred * weight) ** 2).sum((1, 2), keepdim=True) / count).sqrt().clamp(min=1e-8)
