"""Many tables in one batch: beside the plain way, one pair after the other, everybody asked for all seats of all worlds."""

from itertools import product

import pytest
import torch

from interplay import envs
from interplay.envs.core import UsageError
from interplay.policies.hanabi_bots import bot
from interplay.policies.meeting import ROWS, meet
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer
from interplay.policies.q_network import QNetwork, QNetworkConfig
from interplay.policies.q_player import QPlayer

GAMES = 37


def actor(env, seed, independent=False, greedy=False, recurrent=0):
    """An actor-critic that has made up its mind."""
    network = ActorCritic(NetworkConfig((16,), recurrent=recurrent), env.spec, env.agents if independent else 1, seed)
    network.load(network.flat.detach() * 3)
    return NetworkPlayer(network, independent, greedy)


def networks(env):
    """Networks of every kind, that draw their moves and that do not."""
    kinds = product((False, True), (False, True), (0, 8))
    return [actor(env, seed, *kind) for seed, kind in enumerate(kinds)]


def q_player(env, seed, temperature=0.0):
    """Greedy, or one that draws its moves."""
    return QPlayer(QNetwork(QNetworkConfig((16,), 8), env.spec, 1, seed), greedy=True, temperature=temperature)


def alone(env, seats):
    """Scores, last views and replies of one table."""
    players = list(dict.fromkeys(seats))
    carries = [player.start(env) for player in players]
    score, final = torch.zeros(env.n, env.agents, dtype=torch.float64), env.out.final_obs.clone()
    going, before = torch.ones(env.n, dtype=torch.bool), torch.full((env.n,), -1)
    replies = torch.zeros(env.world.actions, env.world.actions, dtype=torch.float64)
    turn = 0
    while going.any():
        action = torch.zeros(env.n, env.agents, dtype=torch.int64)
        for k, player in enumerate(players):
            chosen, _, carries[k] = player.act(env, env.out, carries[k], turn)
            mine = torch.tensor([other is player for other in seats])
            action[:, mine] = chosen[:, mine]
        for i in going.nonzero().flatten().tolist():
            if env.spec.turns:
                move = int(action[i, env.out.acting[i]])
                if before[i] >= 0:
                    replies[before[i], move] += 1
                before[i] = move
        out, turn = env.step(action), turn + 1
        score += out.reward * going[:, None]
        over = going & (out.terminated | out.truncated)
        final[over] = out.final_obs[over]
        going &= ~over
    return score, final, replies


@pytest.mark.parametrize(
    ("world", "params"), [("hanabi-very-small", {}), ("hanabi-small", {"players": 3}), ("coin", {"rounds": 7}), ("lever", {})]
)
def test_all_tables_at_once_play_as_each_alone(world, params):
    """Bit for bit, the dice of players included, whoever sits at the other tables."""
    fresh = lambda: envs.make(world, GAMES, seed=5, **params)
    players = networks(fresh())
    if world.startswith("hanabi"):
        players = [
            *players,
            q_player(fresh(), 50),
            q_player(fresh(), 51),
            q_player(fresh(), 52, 0.1),
            *map(bot, ("iggi", "smartbot", "random-legal")),
        ]
    pairs = [(i, j) for i, j in product(range(len(players)), repeat=2) if i == j or (i + j) % 4 == 0]
    tables = [(players[i], *[players[j]] * (fresh().agents - 1)) for i, j in pairs]
    games = meet(fresh().part(torch.arange(GAMES).repeat(len(tables))), tables)
    for k, seats in enumerate(tables):
        score, final, replies = alone(fresh(), seats)
        rows = slice(k * GAMES, (k + 1) * GAMES)
        assert torch.equal(games.score[rows], score), (k, seats)
        assert torch.equal(games.final[rows], final), (k, seats)
        assert torch.equal(games.replies[k], replies), (k, seats)


def test_a_policy_is_asked_once_a_turn_and_not_for_games_that_are_over():
    asked = []

    class Counted(QPlayer):
        def act(self, env, shown, carry, draw):
            asked.append((draw, env.n))
            return super().act(env, shown, carry, draw)

    env = envs.make("hanabi-very-small", 200, seed=3)
    counted = Counted(QNetwork(QNetworkConfig((16,), 8), env.spec, 1, 0), greedy=True)
    other = bot("iggi")
    worlds = env.part(torch.arange(200).repeat(3))
    meet(worlds, [(counted, counted), (counted, other), (other, counted)])
    turns, rows = zip(*asked, strict=True)
    assert turns == tuple(range(len(turns)))
    assert rows[0] == -(-200 * 4 // ROWS) * ROWS  # its seats, no others
    assert rows[-1] < rows[0] / 2 and sorted(rows, reverse=True) == list(rows)


def test_a_part_is_a_batch_of_its_own_that_goes_the_same_way():
    env = envs.make("hanabi-small", 9, seed=3, first=4)
    env.step(env.random_action(0))
    part = env.part(torch.tensor([7, 2, 7]))
    assert part.ids.tolist() == [11, 6, 11] and not hasattr(part, "first")
    assert torch.equal(part.memory, env.memory[[7, 2, 7]]) and torch.equal(part.out.obs, env.out.obs[[7, 2, 7]])
    before, action = env.memory.clone(), env.random_action(1).clone()
    part.step(action[[7, 2, 7]])
    assert torch.equal(env.memory, before)
    env.step(action)
    assert all(torch.equal(x, y[[7, 2, 7]]) for x, y in zip(part.out, env.out, strict=True))
    action[7] = 99
    with pytest.raises(UsageError, match="world 11, agent"):
        part.check(action[[7, 2, 7]])


def test_dice_that_would_belong_to_other_worlds_are_not_thrown():
    env = envs.make("hanabi-very-small", 9)
    exploring = QPlayer(QNetwork(QNetworkConfig((16,), 8), env.spec))
    with pytest.raises(AttributeError, match="first"):
        meet(env, [(exploring, exploring)])


@pytest.mark.parametrize("tables", [[], [("iggi", "iggi")] * 2, [("iggi",)]])
def test_tables_and_seats_come_out_even(tables):
    with pytest.raises(UsageError, match="equal shares"):
        meet(envs.make("hanabi-small", 9), [[bot(name) for name in seats] for seats in tables])
