"""Learning from imagined targets, and beliefs from play: the learner of Off-Belief Learning (see `policies.obl_player`)."""

import torch
from torch import Tensor

from interplay.learners.optim import AdamConfig, MemberAdam
from interplay.learners.q_learning import CHUNK, QConfig, QLearner
from interplay.learners.replay import Drawn, Games, Store, unpack_moves
from interplay.policies.hanabi_belief import Hands
from interplay.policies.hand_belief import HandBelief
from interplay.policies.q_network import QNetwork
from interplay.policies.trajectory import Trajectory


class OBLLearner(QLearner):
    """Trains a policy on the targets that its players imagined, or a belief about its play, as the trajectories' stage says.

    At the beginning of a stage replay is emptied, and Adam and the fall of its rate start anew; a policy starts from the one below, a
    belief from the one before.

    Args:
        network: shared by all seats.
        belief: about its play.
        config, optim: how the policy learns (`gamma` and `n_step` are the players' business).
        belief_optim: how the belief learns.
        replay: where games are.
        threads: over which chunks are spread; the result does not depend on it.
    """

    def __init__(
        self,
        network: QNetwork,
        belief: HandBelief,
        config: QConfig,
        optim: AdamConfig,
        belief_optim: AdamConfig,
        replay: Store,
        threads: int,
    ) -> None:
        super().__init__(network, config, optim, replay, threads)
        self.belief, self.hands, self.optims, self.stage = belief, Hands(belief.reader.world), (optim, belief_optim), 0
        self.belief_adam = MemberAdam(belief.flat, belief_optim)

    def policy(self) -> dict[str, Tensor]:
        """The weights `{"flat": [1, D], "target": [1, D], "belief": [1, E]}`."""
        return super().policy() | {"target": self.target.flat.detach(), "belief": self.belief.flat.detach()}

    def state_dict(self) -> dict[str, Tensor]:
        """As `QLearner`, with the belief, its moments, and the stage."""
        moments = {f"belief.{name}": x for name, x in self.belief_adam.state_dict().items()}
        kept = {"belief.flat": self.belief.flat.detach().clone(), "stage": torch.tensor(self.stage)}
        return super().state_dict() | kept | moments

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from `state_dict()`."""
        super().load_state_dict(state)
        self.stage = int(state["stage"])
        self.belief.load(state["belief.flat"])
        moments = {k.removeprefix("belief."): v for k, v in state.items() if k.startswith("belief.adam")}
        self.belief_adam.load_state_dict(moments)

    def update(self, trajectory: Trajectory | None) -> dict[str, float]:
        """Learn from one trajectory; a new stage begins where it is of one."""
        assert trajectory is not None
        if trajectory.stage != self.stage:
            self.begin(trajectory.stage)
        return super().update(trajectory)

    def begin(self, stage: int) -> None:
        """A policy's stage (even) or a belief's (odd)."""
        self.stage, self.updates = stage, 0
        self.replay.clear()
        if stage % 2:
            self.belief_adam = MemberAdam(self.belief.flat, self.optims[1])
        else:
            self.target.load(self.network.flat)
            self.adam = MemberAdam(self.network.flat, self.optims[0])

    def step(self, drawn: Drawn) -> dict[str, Tensor]:
        """One step of the policy, or of the belief."""
        return self.believe(drawn.games.to(self.belief.flat.device)) if self.stage % 2 else super().step(drawn)

    def errors(self, games: Games) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Q of what was done, what players imagined it to be worth, where they did, `[T, E, A]`; and what the heads read."""
        (count, turns, agents), rows = games.move.shape, lambda x: x.transpose(0, 1).flatten(1, 2).unsqueeze(0)
        features, _ = self.network.remember(rows(games.obs))
        q = self.network.values(features, rows(unpack_moves(games.legal, self.spec.actions)))
        chosen = q.gather(-1, rows(games.move).to(torch.int64).unsqueeze(-1)).view(turns, count, agents)
        target = games.reward.transpose(0, 1)
        inside = torch.arange(turns, device=target.device).view(-1, 1, 1) < games.length.view(1, -1, 1)
        return chosen, target.nan_to_num(), inside & ~target.isnan(), features

    def believe(self, games: Games) -> dict[str, Tensor]:
        """One step of the belief on some games; returns the mean cross-entropy of a card, the grounded belief's and V0's, in nats."""
        order = games.length.argsort(stable=True)
        size = max(1, CHUNK // (games.obs.shape[1] * games.obs.shape[2])) if order.device.type == "cpu" else len(order)
        cards = (self.hands(games.obs) >= 0).sum()  # padding has none

        def work(piece: Tensor) -> tuple[Tensor, Tensor]:
            losses = self.surprises(games.pick(piece)) / cards
            return self.belief.gradient(losses[0]), losses.detach()

        gradients, losses = zip(*self.crew.map(work, order.split(size)), strict=True)
        norm = self.belief_adam.step(torch.stack(gradients).sum(0)).mean()
        self.steps += 1
        learned, grounded, v0 = torch.stack(losses).sum(0)
        return {"belief": learned, "belief_grounded": grounded, "belief_v0": v0, "belief_gradient_norm": norm}

    def surprises(self, games: Games) -> Tensor:
        """Cross-entropies of all own cards in some games, summed `[3]`: of the belief, the grounded one, and V0."""
        hand = self.hands(games.obs).transpose(0, 1).flatten(0, 2)  # [T E A, slots]
        obs = games.obs.transpose(0, 1).flatten(1, 2)  # [T, E A, bytes]
        states = self.belief.remember(obs.unsqueeze(0))[0].flatten(0, 1)
        held = (hand >= 0).any(-1).nonzero().squeeze(1)
        return torch.stack([x.sum() for x in self.belief.surprise(obs.flatten(0, 1)[held], states[held], hand[held])])
