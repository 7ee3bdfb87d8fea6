"""The face that RLlib knows: episodes as RLlib records them, and its stock PPO on top."""

import numpy as np
import pytest
import torch

ray = pytest.importorskip("ray")
pytest.importorskip("ray.rllib")

import leavers  # noqa: E402
import nim  # noqa: E402
from ray.rllib.algorithms.ppo import PPOConfig  # noqa: E402
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig  # noqa: E402
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode  # noqa: E402
from ray.rllib.utils.pre_checks.env import check_multiagent_environments  # noqa: E402

from interplay.cluster.rllib import MultiAgentWorld, multi_agent_env  # noqa: E402
from interplay.envs import UsageError, names, registry  # noqa: E402

ROUNDS = 10


def play(env: MultiAgentWorld, choose, seed: int | None = None) -> MultiAgentEpisode:
    """One game, recorded as RLlib's runners do; `choose(agent, info)` acts for those who were given a view."""
    episode = MultiAgentEpisode(observation_space=env.observation_spaces, action_space=env.action_spaces)
    views, infos = env.reset(seed=seed)
    episode.add_env_reset(observations=views, infos=infos)
    while not episode.is_done:
        actions = {agent: choose(agent, infos[agent]) for agent in episode.get_agents_to_act()}
        views, rewards, terminateds, truncateds, infos = env.step(actions)
        assert views.keys() == infos.keys()
        assert all(view in env.observation_spaces[agent] for agent, view in views.items())
        episode.add_env_step(views, actions, rewards, infos, terminateds=terminateds, truncateds=truncateds)
    assert terminateds["__all__"] or truncateds["__all__"]
    return episode


def endings(episode: MultiAgentEpisode) -> dict[str, tuple[int, float, bool, bool]]:
    """Of each agent: its number of moves, its return, whether it was terminated and whether it was truncated."""
    seats = episode.agent_episodes
    return {agent: (len(e), e.get_return(), e.is_terminated, e.is_truncated) for agent, e in seats.items()}


@pytest.mark.parametrize("name", names())
def test_env_check(name):
    """RLlib's own check, of every world in which all moves are legal."""
    env = multi_agent_env(name)
    if "legal" not in env.table.world.optional:
        check_multiagent_environments(env)
    views, infos = env.reset(seed=0)
    for agent, view in views.items():
        assert view.dtype == np.float32 and view in env.get_observation_space(agent)
        assert infos[agent]["action_mask"].dtype == np.int8


def test_games_cut_by_time_are_bootstrapped():
    """A time limit truncates and does not terminate, for the game and for each agent."""
    episode = play(multi_agent_env("ipd", rounds=3), lambda agent, info: int(agent == "player_1"), seed=0)
    assert episode.is_truncated and not episode.is_terminated
    assert endings(episode) == {"player_0": (3, -9.0, False, True), "player_1": (3, 0.0, False, True)}
    assert episode.agent_episodes["player_0"].get_observations(-1).tolist() == [0, 0, 1, 0, 0]  # the last view, not the next game's


def test_games_that_end_by_their_rules_are_terminated():
    episode = play(multi_agent_env("ipd", stop=1.0), lambda agent, info: 1, seed=0)
    assert endings(episode) == dict.fromkeys(["player_0", "player_1"], (1, -2.0, True, False))


def leaving(goes: dict[str, int]):
    """Players of `leavers` who leave in the turn named, or stay."""
    turns = dict.fromkeys(("player_0", "player_1", "player_2"), 0)

    def choose(agent, info):
        turns[agent] += 1
        return leavers.LEAVE if turns[agent] == goes.get(agent) else leavers.STAY

    return choose


def test_some_terminated_and_others_truncated():
    """RLlib's PettingZoo wrapper never ends such an episode. Player 1 leaves in turn 2, the others are cut off after turn 4."""
    episode = play(MultiAgentWorld(leavers.world(rounds=4)), leaving({"player_1": 2}), seed=0)
    assert episode.is_truncated and not episode.is_terminated
    ends = endings(episode)
    assert ends["player_0"] == ends["player_2"] == (4, 4.0, False, True)
    assert ends["player_1"] == (2, 6.0, True, False)


def test_all_leave_one_by_one():
    goes = {"player_0": 1, "player_1": 2, "player_2": 3}
    episode = play(MultiAgentWorld(leavers.world()), leaving(goes), seed=0)
    assert endings(episode) == {agent: (n, n - 1 + 5.0, True, False) for agent, n in goes.items()}


def test_turns_are_taken():
    """In Nim only the agent to move is given a view, and rewards of the others' moves reach it with its next one."""
    env, rng = MultiAgentWorld(nim.world()), np.random.default_rng(0)
    views, infos = env.reset(seed=1)
    assert list(views) == list(infos) == ["player_0"]
    for seed in range(10):
        moves = []

        def choose(agent, info):
            moves.append(agent)  # noqa: B023
            return int(rng.choice(info["action_mask"].nonzero()[0]))

        ends = endings(play(env, choose, seed=seed))
        assert moves == [f"player_{k % 2}" for k in range(len(moves))]
        if len(moves) > 1:  # else player 1 was never asked, and has no episode
            winner, loser = moves[-1], moves[-2]
            assert ends[winner] == (moves.count(winner), 1.0, True, False)
            assert ends[loser] == (moves.count(loser), -1.0, True, False)


def test_next_reset_begins_the_next_game():
    """RLlib resets in the step after the last one; no game is skipped, none is shown twice."""
    env, table = multi_agent_env("coin", rounds=1), registry.make("coin", seed=4, rounds=1)
    views, _ = env.reset(seed=4)
    for _ in range(10):
        assert np.array_equal(views["player_1"], table.out.obs[0, 1].numpy())
        env.step({"player_0": 0, "player_1": 0})
        table.step(torch.zeros(1, 2, dtype=torch.int64))
        views, _ = env.reset()


def test_illegal_moves_are_told():
    env = MultiAgentWorld(nim.world(heaps=1, most=2))
    env.reset(seed=0)
    with pytest.raises(UsageError, match="player_0"):
        env.step({"player_0": 0.5})


@pytest.fixture
def cluster(monkeypatch):
    """A Ray of two cores in this machine, seen by nobody else, and gone afterwards."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


def test_stock_ppo_trains(cluster):
    """One iteration of RLlib's PPO on the iterated prisoner's dilemma, a policy each."""
    ray.tune.register_env("ipd", lambda config: multi_agent_env("ipd", **config))
    config = (
        PPOConfig()
        .environment("ipd", env_config={"rounds": ROUNDS})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .learners(num_learners=0)
        .multi_agent(policies={"player_0", "player_1"}, policy_mapping_fn=lambda agent, episode, **_: agent)
        .training(train_batch_size_per_learner=400, minibatch_size=200, num_epochs=2)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[16]))
        .debugging(seed=3, log_level="ERROR")
    )
    algorithm = config.build_algo()
    try:
        before = {agent: algorithm.get_module(agent).state_dict() for agent in ("player_0", "player_1")}
        before = {agent: {key: value.clone() for key, value in state.items()} for agent, state in before.items()}
        told = algorithm.train()["env_runners"]
        after = {agent: algorithm.get_module(agent).state_dict() for agent in before}
    finally:
        algorithm.stop()
    assert told["num_env_steps_sampled"] == 400 and told["num_episodes"] == 400 // ROUNDS
    assert told["episode_len_mean"] == ROUNDS
    # a round pays both together -2 (both cooperate), -3 or -4 (both defect), and one of them 0 to -3
    assert -4 * ROUNDS <= told["episode_return_min"] <= told["episode_return_mean"] <= told["episode_return_max"] <= -2 * ROUNDS
    assert all(-3 * ROUNDS <= told["agent_episode_returns_mean"][agent] <= 0 for agent in before)
    assert sum(told["agent_episode_returns_mean"].values()) == pytest.approx(told["episode_return_mean"])
    for agent, state in before.items():
        assert any(not torch.equal(value, after[agent][key]) for key, value in state.items())
        assert all(bool(value.isfinite().all()) for value in after[agent].values())
