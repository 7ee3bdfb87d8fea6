"""The parts of learners against closed forms, golden numbers and PyTorch."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from interplay import envs
from interplay.envs.core import Spec
from interplay.learners.chunks import Crew
from interplay.learners.dice import dice_objective, magic_box
from interplay.learners.meta import Transition
from interplay.learners.naive import policy_gradient
from interplay.learners.optim import AdamConfig, MemberAdam
from interplay.learners.ppo import PPO, PPOConfig, normalise, ppo_loss
from interplay.learners.returns import gae, own_turns, vtrace
from interplay.policies import products
from interplay.policies.dense import Activation, perceptron
from interplay.policies.distributions import categorical, categorical_sample, gaussian, masked
from interplay.policies.networks import ActorCritic, NetworkConfig
from interplay.policies.player import NetworkPlayer
from interplay.policies.rollout import rollout
from interplay.policies.seating import fold, unfold, where_moving
from interplay.policies.squash import tanh_
from interplay.policies.trajectory import Trajectory


def test_gae_golden():
    reward, value = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, 1.0, 1.5])
    following, stop = torch.tensor([1.0, 1.5, 2.0]), torch.tensor([False, False, False])
    # deltas 1.4, 2.35, 3.3; gamma * lambda = 0.72
    expected = torch.tensor([1.4 + 0.72 * (2.35 + 0.72 * 3.3), 2.35 + 0.72 * 3.3, 3.3])
    assert torch.allclose(gae(reward, value, following, stop, 0.9, 0.8), expected)


def test_no_trace_crosses_an_end():
    reward, value, following = torch.ones(3), torch.zeros(3), torch.tensor([0.0, 5.0, 0.0])
    got = gae(reward, value, following, torch.tensor([False, True, False]), 0.9, 1.0)
    assert torch.allclose(got, torch.tensor([1 + 0.9 * 5.5, 5.5, 1.0]))  # turn 1 was cut: bootstrapped with 5, and a new game begins


def test_vtrace_is_the_papers_sum():
    torch.manual_seed(0)
    t, gamma, lam = 6, 0.95, 0.9
    reward, value, following, ratio = torch.randn(4, t, 3, dtype=torch.float64).unbind(0)
    following[:-1], ratio = value[1:], ratio.exp() * 1.5
    rho, c = ratio.clamp(max=1), lam * ratio.clamp(max=1)
    delta = rho * (reward + gamma * following - value)
    stop = torch.zeros(t, 3, dtype=torch.bool)
    slow = torch.stack([sum(gamma ** (k - s) * c[s:k].prod(0) * delta[k] for k in range(s, t)) for s in range(t)])
    assert torch.allclose(vtrace(reward, value, following, stop, ratio, gamma, lam), slow)
    assert torch.equal(
        vtrace(reward, value, following, stop, torch.ones_like(ratio), gamma, lam), gae(reward, value, following, stop, gamma, lam)
    )


def test_ppo_loss_golden():
    ratio, advantage = torch.tensor([1.0, 1.5, 0.5, 1.5, 0.5]), torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
    got = ppo_loss(ratio.log(), torch.zeros(5), advantage, 0.2)
    assert torch.allclose(got, torch.tensor([-1.0, -1.2, -0.5, 1.5, 0.8]))


def test_adam_is_pytorchs():
    torch.manual_seed(1)
    flat = torch.randn(2, 5)
    ours, theirs = flat.clone(), torch.nn.Parameter(flat.clone())
    adam, oracle = MemberAdam(ours, AdamConfig(lr=0.01, max_norm=0.0)), torch.optim.Adam([theirs], lr=0.01, eps=1e-5)
    for _ in range(20):
        gradient = torch.randn(2, 5)
        adam.step(gradient)
        theirs.grad = gradient
        oracle.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_clipping_is_per_member():
    flat = torch.zeros(2, 4)
    adam = MemberAdam(flat, AdamConfig(lr=0.1, max_norm=1.0))
    norm = adam.step(torch.tensor([[3.0, 4.0, 0, 0], [0.1, 0, 0, 0]]))
    assert torch.allclose(norm, torch.tensor([5.0, 0.1]))
    assert torch.allclose(adam.moments[0], 0.1 * torch.tensor([[0.6, 0.8, 0, 0], [0.1, 0, 0, 0]]))


@pytest.mark.parametrize("independent", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_fold_and_unfold(groups, independent):
    x = torch.arange(2 * 6 * 2 * 5).view(2, 6, 2, 5)
    y = fold(x, groups, independent)
    assert y.shape[0] == groups * (2 if independent else 1)
    assert torch.equal(unfold(y, groups, 2, independent), x)
    if independent:  # member (group 1, agent 1) sees agent 1 of the second third of the worlds
        member = 3 if groups == 3 else 1
        assert torch.equal(y[member], x[:, 6 // groups * (member // 2) : 6 // groups * (member // 2 + 1), 1])


def test_categorical_against_pytorch():
    torch.manual_seed(0)
    logits, action = torch.randn(7, 4), torch.randint(0, 4, (7,))
    logp, entropy = categorical(logits, action)
    oracle = Categorical(logits=logits)
    assert torch.allclose(logp, oracle.log_prob(action)) and torch.allclose(entropy, oracle.entropy(), atol=1e-6)


def test_gaussian_against_pytorch():
    torch.manual_seed(0)
    mean, log_std, action = torch.randn(3, 7, 4).unbind(0)
    logp, entropy = gaussian(mean, log_std, action)
    oracle = Independent(Normal(mean, log_std.exp()), 1)
    assert torch.allclose(logp, oracle.log_prob(action), atol=1e-5) and torch.allclose(entropy, oracle.entropy(), atol=1e-5)


def test_sampling_follows_the_probabilities_and_the_mask():
    units = (torch.arange(10000) + 0.5) / 10000
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(10000, 4)
    action, logp = categorical_sample(logits, units)
    assert torch.bincount(action).tolist() == pytest.approx([1000, 2000, 3000, 4000], abs=2)
    assert torch.allclose(logp.exp(), torch.tensor([0.1, 0.2, 0.3, 0.4])[action], atol=1e-6)
    legal = torch.tensor([False, True, False, True]).expand(10000, 4)
    action, _ = categorical_sample(masked(logits, legal), units)
    assert set(action.tolist()) == {1, 3}
    action, _ = categorical_sample(masked(logits, legal), torch.full((10000,), 1 - 2**-24))
    assert set(action.tolist()) == {3}


def test_members_are_networks_of_their_own():
    spec, config = Spec((5,), 3), NetworkConfig((8, 8), recurrent=4)
    both = ActorCritic(config, spec, 2, seed=1)
    obs, carry, keep = torch.randint(0, 2, (2, 6, 7, 5), dtype=torch.uint8), torch.zeros(2, 7, 4), torch.rand(2, 6, 7) > 0.2
    out, states = both.actor(obs, carry, keep)
    for m in range(2):
        one = ActorCritic(config, spec, 1)
        one.load(both.flat[m : m + 1])
        alone, remembered = one.actor(obs[m : m + 1], carry[:1], keep[m : m + 1])
        assert torch.allclose(alone[0], out[m], atol=1e-6) and torch.allclose(remembered[0], states[m], atol=1e-6)
    assert not torch.equal(both.flat[0], both.flat[1])
    assert torch.equal(ActorCritic(config, spec, 1, seed=1).flat[0], both.flat[0])


def test_gru_forgets_where_a_game_starts():
    net = ActorCritic(NetworkConfig((8,), recurrent=4), Spec((5,), 3), 1, seed=2)
    torch.manual_seed(0)
    obs, keep = torch.randint(0, 2, (1, 6, 3, 5), dtype=torch.uint8), torch.ones(1, 6, 3, dtype=torch.bool)
    keep[0, 3, 1] = False
    _, states = net.actor(obs, torch.zeros(1, 3, 4), keep)
    _, fresh = net.actor(obs[:, 3:], torch.zeros(1, 3, 4))
    assert torch.allclose(states[0, 3:, 1], fresh[0, :, 1], atol=1e-6)
    assert not torch.allclose(states[0, 3:, 0], fresh[0, :, 0], atol=1e-3)


def play(recurrent=0, world="coin", n=8, turns=7, views=1, **params):
    env = envs.make(world, n, seed=5, **params)
    net = ActorCritic(NetworkConfig((8,), recurrent=recurrent), env.spec, env.agents, seed=1, views=views)
    player = NetworkPlayer(net, True)
    trajectory, _ = rollout(env, player, turns, 0, player.start(env))
    return net, trajectory


def test_bootstrap_values_come_from_the_final_observation():
    net, tr = play(rounds=3)
    rows = (ppo := PPO(net, PPOConfig(gamma=1.0, lam=0.0, normalise=False), AdamConfig())).prepare(tr)
    with torch.no_grad():
        value = net.critic(fold(tr.obs, 1, True))[0]
        final = net.critic(fold(tr.final_obs[:8].unsqueeze(0), 1, True))[0]  # the games cut at turn 2
    assert tr.final_at[:8].tolist() == [[2, b] for b in range(8)]
    reward = fold(tr.reward, 1, True)
    assert torch.allclose(rows.target[:, 2], reward[:, 2] + final[:, 0], atol=1e-6)
    assert torch.allclose(rows.target[:, 1], reward[:, 1] + value[:, 2], atol=1e-6)
    assert ppo.updates == 0


def test_terminated_games_are_not_bootstrapped():
    net, tr = play(world="lever", rounds=2, turns=4)
    rows = PPO(net, PPOConfig(gamma=1.0, lam=0.0, normalise=False), AdamConfig()).prepare(tr)
    assert torch.allclose(rows.target[:, [1, 3]], fold(tr.reward, 1, True)[:, [1, 3]])


def test_central_critics_read_all_views():
    """The targets of every agent, by hand: its critic reads its own view, then the others' in the order of the seats."""
    net, tr = play(world="public-goods", n=6, rounds=3, views=4, players=4)
    rows = PPO(net, PPOConfig(gamma=1.0, lam=0.0, normalise=False), AdamConfig()).prepare(tr)
    for a in range(4):
        read = lambda obs, a=a: torch.cat([obs[..., (a + k) % 4, :] for k in range(4)], -1).float()
        w = [net.weights[f"critic.{k}.{part}"][a] for k in ("0", "head") for part in ("weight", "bias")]
        value = lambda obs, w=w: (torch.tanh(obs @ w[0] + w[1]) @ w[2] + w[3]).squeeze(-1)
        assert torch.allclose(rows.target[a, 1], tr.reward[1, :, a] + value(read(tr.obs[2])), atol=1e-5)
        assert torch.allclose(rows.target[a, 2], tr.reward[2, :, a] + value(read(tr.final_obs[:6])), atol=1e-5)
        assert torch.allclose(rows.target[a, 6], tr.reward[6, :, a] + value(read(tr.last_obs)), atol=1e-5)


def test_what_is_stale_is_told_by_updates_not_by_rounds():
    """Rounds that teach nothing make a version higher than the updates behind it; corrected is what an older policy has played."""
    net, tr = play(0)
    ppo = PPO(net, PPOConfig(), AdamConfig())
    ppo.updates, tr.version = 3, 7
    tr.logp = tr.logp - 0.5  # as if by another policy
    untouched = lambda: torch.equal(ppo.prepare(tr).behaviour.flatten().sort().values, tr.logp.flatten().sort().values)
    assert [untouched() for tr.learned in (None, 3, 2)] == [True, True, False]


def test_who_waits_is_not_asked(monkeypatch):
    """In a game of turns the rows of those who wait change nothing: not the play, and not what is learned, stale or not."""

    def learned(stale):
        env = envs.make("hanabi-small", 12, seed=4)
        net = ActorCritic(NetworkConfig((16,), "relu"), env.spec, 1, seed=2)
        asked = []
        monkeypatch.setattr(net, "_layers", lambda *a, layers=net._layers: (asked.append(a[1].shape[1:3].numel()), layers(*a))[1])
        tr, _ = rollout(env, NetworkPlayer(net, independent=False), 20, 0, None)
        ppo = PPO(net, PPOConfig(epochs=1, minibatches=2), AdamConfig(lr=0.1), independent=False)
        ppo.updates, tr.logp = int(stale), tr.logp * (0.9 if stale else 1)
        ppo.update(tr)
        return tr.action[tr.acting], tr.logp[tr.acting], net.flat.clone(), sum(asked[:20])

    fewer = [learned(stale) for stale in (False, True)]
    for module in ("policies.player", "learners.ppo"):
        monkeypatch.setattr(f"interplay.{module}.where_moving", lambda ask, x, moving: ask(x))
    for few, every in zip(fewer, [learned(stale) for stale in (False, True)], strict=True):
        assert torch.equal(few[0], every[0]) and 2 * few[3] == every[3] == 20 * 24
        for a, b in zip(few[1:3], every[1:3], strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("width", [16, 256])  # of which one is multiplied by another library, where that is faster
def test_where_nobody_moves_nobody_is_asked(width):
    env = envs.make("hanabi-small", 4)
    net = ActorCritic(NetworkConfig((width, width), "relu"), env.spec, 1)
    views = fold(env.out.obs.unsqueeze(0), 1, False)
    with torch.no_grad():
        out = where_moving(lambda x: net.actor(x)[0], views, torch.zeros(1, 1, 8, dtype=torch.bool))
    assert torch.equal(out, torch.zeros(1, 1, 8, env.spec.actions))


@pytest.mark.parametrize("recurrent", [0, 4])
def test_central_critics_play_and_learn_the_same_from_memory(recurrent):
    net, tr = play(recurrent, rounds=3, views=2)
    rows = (ppo := PPO(net, PPOConfig(), AdamConfig())).prepare(tr)
    assert torch.allclose(ppo._log_prob(rows)[0], rows.behaviour, atol=1e-5)
    before = net.flat.clone()
    assert ppo.update(tr)["ppo/value_loss"] > 0 and not torch.equal(before, net.flat)


@pytest.mark.parametrize("recurrent", [0, 4])
def test_behaviour_is_reproduced_by_the_learner(recurrent):
    """The learner's log-probabilities under unchanged weights are those with which the actor acted, memory and resets included."""
    net, tr = play(recurrent, rounds=3)
    rows = (ppo := PPO(net, PPOConfig(), AdamConfig())).prepare(tr)
    assert torch.allclose(ppo._log_prob(rows)[0], rows.behaviour, atol=1e-5)


@pytest.mark.parametrize("recurrent", [0, 4])
def test_threads_do_not_change_an_update(recurrent, monkeypatch):
    monkeypatch.setattr("interplay.learners.ppo.CHUNK", 14)
    found = []
    for threads in (1, 2, 3):
        net, tr = play(recurrent)
        PPO(net, PPOConfig(epochs=2, minibatches=2), AdamConfig(), threads=threads).update(tr)
        found.append(net.flat.clone())
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_entropy_calms_down():
    """Halfway the bonus is half of what it was, at the end nothing: as if that had been asked for."""

    def learned(updates, **config):
        net, tr = play()
        ppo = PPO(net, PPOConfig(**config), AdamConfig())
        ppo.updates, tr.version = updates, updates
        ppo.update(tr)
        return net.flat

    for updates, bonus in ((0, 0.5), (4, 0.25), (8, 0.0), (20, 0.0)):
        assert torch.equal(learned(updates, entropy=0.5, calm=8), learned(updates, entropy=bonus))
    assert not torch.equal(learned(4, entropy=0.5, calm=8), learned(4, entropy=0.5))
    with pytest.raises(envs.UsageError, match=r"ppo\.calm -1; allowed"):
        learned(0, calm=-1)


def test_a_population_learns_as_each_alone():
    net, tr = play(n=16)
    start = net.flat.clone()
    PPO(net, PPOConfig(entropy=0.01), AdamConfig()).update(tr)
    for a in range(2):
        alone = ActorCritic(net.config, net.spec, 1)
        alone.load(start[a : a + 1])
        pick = {k: getattr(tr, k)[:, :, a : a + 1] for k in ("obs", "action", "logp", "reward")}
        part = Trajectory(**(vars(tr) | pick | {"last_obs": tr.last_obs[:, a : a + 1], "final_obs": tr.final_obs[:, a : a + 1]}))
        PPO(alone, PPOConfig(entropy=0.01), AdamConfig()).update(part)
        assert torch.allclose(alone.flat[0], net.flat[a], atol=1e-5)


def test_normalise_minds_the_weights():
    x = torch.tensor([[[1.0, 2.0, 3.0, 99.0]]])
    got = normalise(x, torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]))
    assert torch.allclose(got[0, 0, :3], torch.tensor([-1.0, 0.0, 1.0]) * math.sqrt(1.5))


def test_crew_keeps_the_order():
    assert list(Crew(3).map(lambda x: x * x, range(50))) == [x * x for x in range(50)]


def test_magic_box_has_all_derivatives():
    x = torch.tensor(0.7, requires_grad=True)
    first = torch.autograd.grad(magic_box(2 * x), x, create_graph=True)[0]
    second = torch.autograd.grad(first, x)[0]
    assert (magic_box(x).item(), first.item(), second.item()) == (1.0, 2.0, 4.0)


@pytest.mark.parametrize("boxed", [True, False])
def test_dice_gradients_estimate_the_exact_ones(boxed):
    """First derivatives of the objective agree with the closed form; mixed second ones with the magic box only."""
    theta = torch.tensor([0.3, -0.2], requires_grad=True)  # one-state game, two turns: each player's logit of move 0
    torch.manual_seed(0)
    n = 200_000
    p = torch.sigmoid(theta.detach())
    action = (torch.rand(2, n, 2) >= p).long()
    logp = torch.where(action == 0, torch.nn.functional.logsigmoid(theta), torch.nn.functional.logsigmoid(-theta))
    reward = (action[..., 0] == action[..., 1]).float()  # both get 1 for equal moves
    objective = dice_objective(logp.sum(-1), reward, 0.5, boxed)
    p = torch.sigmoid(theta)
    exact = 1.5 * (p[0] * p[1] + (1 - p[0]) * (1 - p[1]))
    (got,), (want,) = torch.autograd.grad(objective, theta, create_graph=True), torch.autograd.grad(exact, theta, create_graph=True)
    assert torch.allclose(got, want, atol=0.01)
    if boxed:
        mixed = [torch.autograd.grad(g[0], theta)[0][1] for g in (got, want)]
        assert float(mixed[0]) == pytest.approx(float(mixed[1]), abs=0.02)
        assert abs(float(mixed[1])) > 0.1
    else:
        assert float(torch.autograd.grad(got[0], theta)[0][1]) == pytest.approx(0.0, abs=1e-6)


def test_sampled_policy_gradient_is_unbiased():
    """Against the exact gradient of the discounted return, in the prisoner's dilemma."""
    from interplay.envs.exact import values
    from interplay.envs.matrix import CLASSICS
    from interplay.policies.tabular import MemoryOnePlayer, state_of

    theta = torch.tensor([[[0.5, -1.0, 0.2, -0.3, 0.4], [-0.2, 0.7, -0.5, 0.1, 0.3]]])
    env, player = envs.make("ipd", 20000, rounds=200, seed=3), MemoryOnePlayer(20000)
    player.load({"theta": theta})
    tr, _ = rollout(env, player, 60, 0, None)
    got = policy_gradient(theta[0, 1], state_of(tr.obs)[:, :, 1], tr.action[:, :, 1], tr.reward[:, :, 1], 0.8)
    other = theta[0, 1].clone().requires_grad_()
    want = torch.autograd.grad(values(theta[0, 0], other, CLASSICS["ipd"], 0.8)[1] / 0.2, other)[0]
    assert torch.allclose(got.view(-1), want, atol=0.02)
    assert want.abs().min() > 0.1


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("widths", "head"), [((5, 64, 64, 2), True), ((5, 1), True), ((3, 20, 7, 33), True), ((9, 16, 4), False), ((4, 30, 1), True)]
)
def test_perceptron_equals_plain_layers(activation: Activation, widths: tuple[int, ...], head: bool, wide: bool, monkeypatch: Any) -> None:
    """Value, and gradients of input and weights, against float64 autograd of plain layers; lent buffers do not leak between passes.
    Small products, and large ones as for a CPU with AVX-512 that MKL does not use.
    """
    monkeypatch.setattr(products, "WIDE", wide)
    monkeypatch.setattr(products, "LARGE", 64)
    dice = torch.Generator().manual_seed(3)
    draw = lambda *shape: torch.randn(*shape, generator=dice, dtype=torch.float64)
    slope = torch.tanh if activation == "tanh" else torch.relu
    for rows in (1, 37, 37, 2500):
        x = draw(3, rows, widths[0]).requires_grad_()
        weights = [w.requires_grad_() for m, n in pairwise(widths) for w in (draw(3, m, n), draw(3, 1, n))]
        y, last = x, len(widths) - 2
        for k in range(last + 1):
            y = y @ weights[2 * k] + weights[2 * k + 1]
            y = y if head and k == last else slope(y)
        up = draw(*y.shape)
        expected = torch.autograd.grad((y * up).sum(), [x, *weights])
        single = [v.detach().float().requires_grad_() for v in (x, *weights)]
        mine = perceptron(single[0], single[1:], activation, head)
        other = perceptron(single[0] + 1, single[1:], activation, head)  # between a pass and its derivative
        with torch.no_grad():
            assert torch.allclose(perceptron(single[0], single[1:], activation, head), mine, atol=1e-5)
        found = torch.autograd.grad((mine * up.float()).sum(), single)
        del other
        scale = max(float(g.abs().max()) for g in expected)
        assert torch.allclose(mine.double(), y, rtol=1e-4, atol=1e-4 * float(y.detach().abs().max()))
        for f, e in zip(found, expected, strict=True):
            assert torch.allclose(f.double(), e, rtol=1e-3, atol=2e-5 * scale)


def test_tanh_is_the_function() -> None:
    """To 4e-7 everywhere, odd, at most 1, the same wherever a number stands; not-a-number is kept."""
    x = torch.cat([torch.linspace(-12, 12, 100_003), torch.tensor([0.0, 1e-30, 1e-4, float("inf"), float("-inf")])])
    y = x.clone()
    tanh_(y.numpy())
    assert (y.double() - torch.tanh(x.double())).abs().max() < 4e-7
    assert float(y.abs().max()) == 1
    for k in (1, 2, 3, 7):
        tail = x[k:].clone()
        tanh_(tail.numpy())
        assert torch.equal(tail, y[k:])
    nothing = torch.full((9,), float("nan"))
    tanh_(nothing.numpy())
    assert nothing.isnan().all()


def test_own_turns_equals_estimates_over_moves_alone() -> None:
    """Advantages of an agent that waits between its moves are those of the game in which only its moves exist."""
    dice, gamma, lam = torch.Generator().manual_seed(5), 0.9, 0.7
    for _ in range(30):
        turns = 14
        reward, value = torch.randn(turns, generator=dice), torch.randn(turns, generator=dice)
        moved, stop = torch.rand(turns, generator=dice) < 0.5, torch.rand(turns, generator=dice) < 0.15
        following = torch.where(stop, 0.0, torch.cat([value[1:], torch.randn(1, generator=dice)]))
        v, f, usable = own_turns(reward, value, following, stop, moved, gamma)
        found = vtrace(reward, v, f, stop, None, gamma, torch.where(moved, lam, 1.0))
        at = moved.nonzero().flatten().tolist()
        expected: dict[int, float] = {}
        for k in reversed(range(len(at))):
            t, paid, factor = at[k], 0.0, 1.0
            u = t
            while True:  # what is paid until the game ends or it is the agent's move again
                paid, factor = paid + factor * float(reward[u]), factor * gamma
                if stop[u] or u + 1 == turns or moved[u + 1]:
                    break
                u += 1
            if stop[u]:
                expected[t] = paid - float(value[t])
            elif u + 1 < turns:  # the next move is there
                after = at[k + 1]
                tail = factor * lam * expected.get(after, 0.0)
                expected[t] = paid + factor * float(value[after]) - float(value[t]) + tail
        assert usable.nonzero().flatten().tolist() == sorted(expected)
        for t, a in expected.items():
            assert float(found[t]) == pytest.approx(a, abs=1e-5)


@pytest.mark.parametrize("start", [0, 2])
def test_transition_goes_over_by_degrees(start: int) -> None:
    """After `start` rounds, shares 0, 1/4 ... 1 of the worlds have the new value; it goes on from a saved state."""
    meta = Transition("bomb", 1, 0, 4, start)
    batch = envs.make("hanabi-small", 8, bomb="keep")
    batch.step(batch.random_action(0))
    shares, turn = [], batch.out.obs.clone()
    for _ in range(start + 6):
        state = meta.state_dict()
        meta = Transition("bomb", 1, 0, 4, start)
        meta.load_state_dict(state)
        (task,) = meta.ask(1)
        batch.configure(task.options)
        rows = batch.memory.numpy().view(batch.world.record).reshape(8)
        shares.append(rows["bomb"].tolist())
    assert shares == [[0] * k + [1] * (8 - k) for k in (*[0] * start, 0, 2, 4, 6, 8, 8)]
    assert torch.equal(batch.reset(torch.zeros(8, dtype=torch.bool)).obs, turn)
