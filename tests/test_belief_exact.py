"""A learned belief against the exact posterior, in a game whose decks can all be played."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch

from interplay.envs import hanabi
from interplay.envs.core import World
from interplay.envs.engine import Batch
from interplay.learners.obl import OBLLearner
from interplay.learners.optim import AdamConfig
from interplay.learners.q_learning import QConfig
from interplay.learners.replay import Games, Replay
from interplay.policies.hanabi_belief import Hands
from interplay.policies.hanabi_encoding import V0
from interplay.policies.hand_belief import BeliefConfig, HandBelief
from interplay.policies.q_network import QNetwork, QNetworkConfig
from interplay.policies.q_player import QPlayer

TWO_CARDS = hanabi.world(colors=1, ranks=3, hand_size=2, max_information_tokens=3, max_life_tokens=2)
ONE_CARD = hanabi.world(colors=1, ranks=4, hand_size=1, max_information_tokens=2, max_life_tokens=2)


def all_games(world: World, network: QNetwork) -> Games:
    """The greedy policy of a network on every deck, each of which is equally likely: 6! / 3! 2! = 60 or 8! / 3! 2! 2! = 1,680 games."""
    decks = sorted(set(itertools.permutations(world.default["deck"].tolist())))
    batch, player = Batch(world, len(decks)), QPlayer(network, greedy=True)
    every = torch.ones(batch.n, dtype=torch.bool)
    batch.set_level(every, batch.pack_levels(deck=np.array(decks), given=1))
    carry, going, seen, length = player.start(batch), every.clone(), [], torch.zeros(batch.n, dtype=torch.int64)
    while going.any():
        seen.append(torch.where(going.view(-1, 1, 1), batch.out.obs, 0))
        length += going
        action, _, carry = player.act(batch, batch.out, carry, 0)
        going = going & ~batch.step(action).terminated
    obs = torch.stack(seen, 1)
    nothing = torch.zeros(*obs.shape[:3])
    return Games(obs, nothing.unsqueeze(-1), nothing, nothing, length, torch.zeros(batch.n, dtype=torch.bool))


def exact(world: World, games: Games) -> float:
    """The mean over cards of -log p(hand | all that its player has seen), by counting: nats a card."""
    hands, told, surprise, cards = Hands(world)(games.obs), defaultdict(Counter), 0.0, 0
    moments = []
    for e, a in itertools.product(range(len(games.length)), range(2)):
        past = b""
        for t in range(int(games.length[e])):
            past += games.obs[e, t, a].numpy().tobytes()
            hand = tuple(hands[e, t, a].tolist())
            told[a, past][hand] += 1
            moments.append(((a, past), hand))
    for key, hand in moments:
        surprise -= np.log(told[key][hand] / sum(told[key].values()))
        cards += sum(card >= 0 for card in hand)
    return surprise / cards


@pytest.mark.parametrize("world", [TWO_CARDS, ONE_CARD])
def test_a_learned_belief_is_the_exact_posterior(world):
    """Within 1 % of the exact posterior's cross-entropy, for a policy whose moves tell much; V0 and hints alone are far off."""
    torch.set_num_threads(1)
    batch = Batch(world, 1)
    network = QNetwork(QNetworkConfig((32,), 16, True, "v0"), batch.spec, seed=5, encode=V0(world))
    with torch.no_grad():
        network.weights["head.bias"][0, 0, 2 * Hands(world).size :] += 0.05  # moves that hint, rather, so that games go on
    games = all_games(world, network)
    posterior = exact(world, games)
    belief = HandBelief(BeliefConfig((64,), 64, 64), world, batch.spec, seed=1)
    config, optim = QConfig(), AdamConfig(4e-3, max_norm=5.0)
    learner = OBLLearner(network, belief, config, AdamConfig(), optim, Replay(batch.spec, 8), threads=1)
    learner.begin(1)
    steps = 500
    for step in range(steps):
        learner.belief_adam.scale = 1 - step / steps
        rng = torch.Generator().manual_seed(step)
        learner.believe(games.pick(torch.randint(len(games.length), (128,), generator=rng)))
    with torch.no_grad():
        learned, grounded, v0 = (learner.surprises(games) / (Hands(world)(games.obs) >= 0).sum()).tolist()
    print(f"nats a card: exact {posterior:.4f}, learned {learned:.4f}, hints alone {grounded:.4f}, V0 {v0:.4f}")
    assert posterior <= learned <= 1.01 * posterior
    assert learned < 0.9 * grounded and grounded < 0.95 * v0
