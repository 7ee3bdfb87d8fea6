"""Off-Belief Learning (Hu et al. 2021): what would have happened, had the past been played by the policy one level below.

At every turn a player's real hand is exchanged for one that a belief about that policy's past gives it, and the game is played on from
there, by copies of the worlds. What comes of it is the target from which the real move is learned: so nothing can be learned from a
move that the policy below would not have meant.
"""

from typing import Literal

import torch
from torch import Tensor

from interplay.envs import dice, streams
from interplay.envs.core import Env, Step
from interplay.envs.engine import Batch
from interplay.policies.hand_belief import HandBelief
from interplay.policies.q_network import QNetwork, possible, soft
from interplay.policies.q_player import ExploreConfig, QPlayer, explore

Form = Literal["step", "round"]


class OBLPlayer(QPlayer):
    """An epsilon-greedy player who also imagines.

    Two forms of the backup:

        "step"   after every move of anybody, for every player i (as the authors' code has it): with i's hand drawn anew,
                     y = r + gamma Q'(o_i, argmax Q(o_i, .))         o_i: what i sees next
                 where another moves, that move is chosen anew, since it may depend on i's hand. So an own move bootstraps through the
                 worth of waiting, for which another hand is drawn.
        "round"  for the mover alone (as the paper has it): with its hand drawn once, all others move,
                     y = r_1 + gamma r_2 + ... + gamma^A Q'(o_i, argmax Q(o_i, .))   o_i: what i sees when it is its turn again

    Both networks use the acting network's memory, which is true of the imagined game because it holds public things only
    (`QNetworkConfig.public`).

    Args:
        network: acts; its `target` copy says what moves are worth.
        rates: exploration, of imagined partners too.
        gamma: discount.
        form: of the backup.
        belief: of the level below; at level 1 hands are uniform over all that hints leave (`envs.hanabi_hand`).
        greedy: never explores.
        temperature: of the policy ~ exp(Q / temperature), imagined partners' too, as the paper has it. At 0 the best move is taken, and
            how ties are broken is a secret after all: a partner who was there knows, a stranger does not.

    Attributes:
        stage: 2 (level - 1) while a policy is trained, one more while the belief about it is (see `learners.obl`).
    """

    def __init__(
        self,
        network: QNetwork,
        rates: ExploreConfig | None,
        gamma: float,
        form: Form,
        belief: HandBelief,
        greedy: bool = False,
        temperature: float = 0.0,
    ) -> None:
        super().__init__(network, rates, greedy, temperature=temperature)
        self.target, self.belief, self.gamma, self.form, self.stage = network.twin(), belief, gamma, form, 0
        self.room: Batch | None = None

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take over `{"flat": [1, D], "target": [1, D], "belief": [1, E]}`."""
        super().load(weights)
        self.target.load(weights["target"])
        self.belief.load(weights["belief"])

    @property
    def believes(self) -> bool:
        """Whether hands are drawn from the learned belief."""
        return self.stage >= 2 and self.stage % 2 == 0

    def start(self, env: Env) -> Tensor:
        """Nothing is remembered at the start: `[N, A, H + belief's H]` zeros."""
        width = self.network.config.recurrent + self.belief.config.recurrent
        return torch.zeros(env.n, env.agents, width, device=env.device)

    @torch.no_grad()
    def act(self, env: Env, shown: Step, carry: Tensor | None, draw: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """As `QPlayer`; the belief's memory is behind the network's."""
        assert carry is not None
        own, believed = self._memories(carry)
        action, logp, own = super().act(env, shown, own, draw)
        if self.believes:
            states = self.belief.remember(shown.obs.flatten(0, 1)[None, None], believed.flatten(0, 1)[None])
            believed = states.view_as(believed)
        assert own is not None
        return action, logp, torch.cat([own, believed], -1)

    def _memories(self, carry: Tensor) -> tuple[Tensor, Tensor]:
        own, believed = carry.split([self.network.config.recurrent, self.belief.config.recurrent], -1)
        return own.contiguous(), believed.contiguous()

    @torch.no_grad()
    def imagine(self, env: Env, action: Tensor, before: Tensor, after: Tensor, draw: int) -> Tensor | None:
        """Targets of the moves that are about to be made, `[N, A]` float32: NaN where there is none; None while a belief is trained.

        Args:
            env: worlds in which `action` has not been played yet.
            action: `[N, A]`.
            before, after: memories before and after this turn was seen, `[N, A, ...]`.
            draw: the number of the turn.
        """
        if self.stage % 2:
            return None
        assert isinstance(env, Batch)
        return (self._steps if self.form == "step" else self._rounds)(env, action, before, after, draw)

    def _exchange(self, env: Batch, owner: Tensor, world: Tensor, after: Tensor, draw: int) -> tuple[Batch, Tensor]:
        """Copies of the worlds `world` `[K]` in which `owner` `[K]` has another hand; and `[K]` bool, that it could be exchanged."""
        if self.room is None or self.room.n != len(world):
            self.room = Batch(env.world, len(world), env.seed, device=env.device)
        size = self.belief.reader.size
        hands = torch.full((len(world), size), -1, device=env.device)
        if self.believes:
            believed = self._memories(after)[1][world, owner]
            unit = streams.units(env.seed, dice.BELIEF, env.first, draw, (env.n, env.agents, size), env.device)
            hands = self.belief.sample(env.out.obs[world, owner], believed, unit[world, owner])
        key = streams.key_of(env.seed, dice.IMAGINE)
        seeds = torch.tensor([int(dice.philox(key, draw, p)) for p in range(env.agents)], device=env.device)
        self.room.stand(env.memory[world], seeds[owner])
        change = torch.cat([owner.unsqueeze(1), hands], 1)
        return self.room, self.room.edit(torch.ones(len(world), dtype=torch.bool, device=env.device), change)

    def _steps(self, env: Batch, action: Tensor, before: Tensor, after: Tensor, draw: int) -> Tensor:
        """The "step" form: world n of player i is row i N + n."""
        every = torch.arange(env.n, device=env.device)
        owner, world = torch.arange(env.agents, device=env.device).repeat_interleave(env.n), every.repeat(env.agents)
        fiction, valid = self._exchange(env, owner, world, after, draw)
        mover = env.out.acting.to(torch.uint8).argmax(1)[world]
        made = action[world]
        others = (owner != mover).nonzero().squeeze(1)
        unit = self._units(env, draw)[world, owner]
        answers = self._choose(fiction, env, others, mover, world, before, unit)
        made[others, mover[others]] = answers
        out = fiction.step(made)
        worth = self._worth(fiction, torch.arange(len(world), device=env.device), owner, self._memories(after)[0][world, owner])
        target = out.reward.gather(1, owner.unsqueeze(1)).squeeze(1) + self.gamma * worth * ~out.terminated
        return target.masked_fill(~valid, torch.nan).view(env.agents, env.n).T.contiguous()

    def _rounds(self, env: Batch, action: Tensor, before: Tensor, after: Tensor, draw: int) -> Tensor:
        """The "round" form: one copy of each world."""
        world = torch.arange(env.n, device=env.device)
        owner = env.out.acting.to(torch.uint8).argmax(1)
        fiction, valid = self._exchange(env, owner, world, after, draw)
        memory, going, discount = self._memories(after)[0], torch.ones_like(valid), 1.0
        target, made = torch.zeros(env.n, device=env.device), action.clone()
        for k in range(env.agents):
            if k:
                mover = (owner + k) % env.agents
                unit = self._units(env, draw)[:, k]
                made[world, mover] = self._choose(fiction, env, world, mover, world, memory, unit)
                memory = self._remember(fiction, memory)
            out = fiction.step(made)
            target += discount * going * out.reward[world, owner]
            going &= ~out.terminated
            discount *= self.gamma
        target += discount * going * self._worth(fiction, world, owner, memory[world, owner])
        every = torch.full((env.n, env.agents), torch.nan, device=env.device)
        every[world, owner] = target.masked_fill(~valid, torch.nan)
        return every

    def _units(self, env: Batch, draw: int) -> Tensor:
        """Uniform numbers of what is imagined, `[N, A, 2]`, or one more with a temperature."""
        count = 3 if self.temperature else 2
        return streams.units(env.seed, dice.IMAGINE, env.first, draw, (env.n, env.agents, count), env.device)

    def _choose(self, fiction: Batch, env: Batch, rows: Tensor, mover: Tensor, world: Tensor, memory: Tensor, unit: Tensor) -> Tensor:
        """Moves `[K]` of the movers in some `rows` `[K]` of imagined worlds, exploring as they do in the real ones."""
        who, where = mover[rows], world[rows]
        own = memory[where, who][:, : self.network.config.recurrent].contiguous()
        moves = self._moves(fiction, rows, who)
        q, _ = self.network.q(fiction.out.obs[rows, who][None, None], moves[None, None], own[None])
        chosen = self.choose(q[0, 0], moves, lambda: unit[rows, 2])
        return chosen if self.greedy else explore(chosen, moves[:, :-1], self.rates(env)[where, who], unit[rows, :2])[0]

    def _remember(self, fiction: Batch, memory: Tensor) -> Tensor:
        """Everybody's memory `[N, A, H]` after seeing what imagined worlds show."""
        return self.network.remember(fiction.out.obs.flatten(0, 1)[None, None], memory.flatten(0, 1)[None])[1].view_as(memory)

    def _worth(self, fiction: Batch, rows: Tensor, who: Tensor, memory: Tensor) -> Tensor:
        """What the acting network's move is worth to the target network, `[K]`, for players `who` of some worlds."""
        moves, obs = self._moves(fiction, rows, who), fiction.out.obs[rows, who][None, None]
        q, _ = self.network.q(obs, moves[None, None], memory[None])
        theirs, _ = self.target.q(obs, moves[None, None], memory[None])
        return (soft(q[0, 0], moves, self.temperature) * theirs[0, 0]).sum(1)

    def _moves(self, fiction: Batch, rows: Tensor, who: Tensor) -> Tensor:
        """What players `who` `[K]` can do in some worlds, waiting included."""
        out = fiction.out
        acting = out.acting[rows, who]
        return possible(out.legal[rows, who], acting, None, acting, fiction.spec.actions)
