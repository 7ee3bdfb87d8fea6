"""The faces that other libraries know: their own conformance suites, and every number that the faces show against the batch below them."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import leavers
import nim
import numpy as np
import pytest
import torch
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, render_test, seed_test
from pettingzoo.utils import parallel_to_aec

from interplay.envs import Batch, UsageError, World, aec_env, names, parallel_env, registry, vector_env
from interplay.envs.aec import TurnWorld
from interplay.envs.parallel import ParallelWorld, closing_legal
from interplay.envs.vector import VectorWorld

pytestmark = pytest.mark.filterwarnings("error")


def short(name: str) -> dict[str, Any]:
    """Parameters under which games end within a few steps, where the world has a number of rounds."""
    try:
        registry.world(name, rounds=7)
    except UsageError:
        return {}
    return {"rounds": 7}


# Every registered world; sizes that differ between players, axes or turns; and two worlds of the tests, for what no registered one does:
# turns that are taken and moves that are illegal (Nim), players who leave a game that goes on (leavers).
CASES: dict[str, Callable[[], World]] = {
    **{name: lambda name=name: registry.world(name, **short(name)) for name in names()},
    "matrix 2x3": lambda: registry.world("matrix", payoff=np.arange(12.0).reshape(2, 2, 3), rounds=5, stop=0.3),
    "ipd, stop": lambda: registry.world("ipd", stop=0.3),
    "public-goods of 3": lambda: registry.world("public-goods", players=3, rounds=4),
    "coin 5x5, own view": lambda: registry.world("coin", size=5, egocentric=True, rounds=6),
    "lever of 3, 3 rounds": lambda: registry.world("lever", players=3, rounds=3),
    "nim": nim.world,
    "nim, cut": lambda: nim.world(rounds=2),
    "leavers": leavers.world,
}

SIMULTANEOUS = [name for name, make in CASES.items() if "acting" not in make().optional]
UNMASKED = [name for name, make in CASES.items() if "legal" not in make().optional]

# Warnings of the suites that a legitimate form provokes: (suite, case) -> (the warning, the reason). Any other one is an error, and so
# is one of these that does not come.
LEGITIMATE = {
    ("api_test", "nim"): ("Observation numpy array is all zeros", "an empty board is all zeros, as it should be"),
    **{("check_env", case): ("environment not having a spec", "the test's own Env is not registered") for case in UNMASKED},
}


@pytest.fixture(params=CASES)
def case(request) -> str:
    return request.param


def strictly(suite: Callable[..., Any], case: str, *arguments: Any) -> None:
    """Run a suite; its warnings must be those of the table, all of them and no other."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        suite(*arguments)
    told = {str(warning.message) for warning in caught}
    expected = LEGITIMATE.get((suite.__name__, case))
    if expected is None:
        assert told == set()
    else:
        assert len(told) == 1 and expected[0] in told.pop()


class LegalMoves(Discrete):
    """Draws among the moves that are legal now: PettingZoo's parallel suites draw from the space, and do not look at masks in infos."""

    def __init__(self, env: "Careful", agent: str) -> None:
        super().__init__(env.world.actions)
        self.env, self.agent = env, agent

    def sample(self, mask=None, probability=None):
        return super().sample(self.env.infos[self.agent]["action_mask"])


class Careful(ParallelWorld):
    """A face that only ever draws legal moves."""

    def __init__(self, world: World, *arguments: Any, **options: Any) -> None:
        super().__init__(world, *arguments, **options)
        self.action_spaces = {agent: LegalMoves(self, agent) for agent in self.possible_agents}

    def reset(self, seed=None, options=None):
        views, self.infos = super().reset(seed, options)
        return views, self.infos

    def step(self, actions):
        turn = super().step(actions)
        self.infos = turn[-1]
        return turn


def drawing(case: str) -> ParallelWorld:
    """The parallel face of a case, for suites that draw actions from its spaces."""
    return seeded((ParallelWorld if case in UNMASKED else Careful)(CASES[case]()))


def asking(case: str) -> TurnWorld:
    """The same of the face that asks one after the other; its suites look at masks in infos."""
    return seeded(TurnWorld(CASES[case]()))


def seeded(env: Any) -> Any:
    """The suites draw from the spaces: the same way every time."""
    for number, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(number)
    return env


def legal_moves(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random legal move for each row of a mask `[rows, actions]`, 0 where there is none."""
    return (rng.random(mask.shape) * mask).argmax(-1)


# Conformance


def test_parallel_api(case):
    strictly(parallel_api_test, case, drawing(case), 50)


def test_parallel_seed(case):
    strictly(parallel_seed_test, case, lambda: drawing(case), 50)


def test_aec_api(case):
    strictly(api_test, case, asking(case), 50)


def test_aec_seed(case):
    strictly(seed_test, case, lambda: asking(case), 50)


def test_render(capsys):
    strictly(render_test, "ipd", lambda render_mode: aec_env("ipd", render_mode=render_mode))
    assert "player_0: " in capsys.readouterr().out


@pytest.mark.parametrize("case", SIMULTANEOUS)
def test_parallel_converts_to_aec(case):
    """PettingZoo's own conversion of the parallel face passes its own suite, too, and says the same as ours.

    Not where turns are taken: the conversion asks everybody every turn.
    """
    world = CASES[case]()
    theirs, ours = parallel_to_aec(ParallelWorld(world)), TurnWorld(world)
    strictly(api_test, case, parallel_to_aec(drawing(case)), 20)
    rng = np.random.default_rng(0)
    for game in range(5):
        theirs.reset(seed=game)
        ours.reset(seed=game)
        for agent in ours.agent_iter(60):
            assert agent == theirs.agent_selection and set(ours.agents) == set(theirs.agents)
            mine, other = ours.last(), theirs.last()
            assert_same(mine[0], other[0])
            assert mine[1:4] == other[1:4]
            assert_same(mine[4], other[4])
            move = None if mine[2] or mine[3] else int(legal_moves(mine[4]["action_mask"], rng))
            ours.step(move)
            theirs.step(move)


# The parallel face against the batch


def faces(world: World, first: int = 0, seed: int = 3) -> tuple[ParallelWorld, Batch]:
    """The parallel face of a world, and the same world in the midst of a batch (world 2 of it)."""
    return ParallelWorld(world, first=first), Batch(world, 4, seed=seed, first=first - 2)


def shown(batch: Batch, obs: torch.Tensor) -> np.ndarray:
    """Views as the faces give them: bit k of a packed view is bit k % 8 of byte k // 8."""
    if not batch.world.packed:
        return obs.numpy()
    return np.unpackbits(obs.numpy(), axis=-1, bitorder="little")[..., : batch.world.observation[0]]


def test_parallel_shows_the_batch(case):
    """Views, rewards, masks and endings are those of the world's row in a batch of others, game after game."""
    env, batch = faces(CASES[case](), first=7)
    rng = np.random.default_rng(1)
    views, infos = env.reset(seed=3)
    for _ in range(60):
        out, living = batch.out, env.agents
        assert living == [agent for p, agent in enumerate(env.possible_agents) if out.alive[2, p]]
        for agent in living:
            p = env.possible_agents.index(agent)
            assert_same(views[agent], shown(batch, out.obs)[2, p])
            assert_same(infos[agent]["action_mask"], out.legal[2, p].numpy().astype(np.int8))
            assert infos[agent].get("acting", True) == bool(out.acting[2, p])
        joint = legal_moves(out.legal.numpy(), rng)
        batch.step(torch.from_numpy(joint))
        views, rewards, terminations, truncations, infos = env.step(dict(zip(env.possible_agents, joint[2].tolist(), strict=True)))
        ended = bool(out.terminated[2] or out.truncated[2])
        for agent in living:
            p = env.possible_agents.index(agent)
            assert rewards[agent] == out.reward[2, p]
            assert truncations[agent] is bool(out.truncated[2])
            assert terminations[agent] is bool(out.terminated[2] or not (ended or out.alive[2, p]))
        if ended:
            assert env.agents == []
            for agent in living:
                assert_same(views[agent], shown(batch, out.final_obs)[2, env.possible_agents.index(agent)])
                assert_same(infos[agent]["action_mask"], closing_legal(env.world, (env.world.actions,)))
            views, infos = env.reset()  # the game that the batch has begun by itself


def test_spaces_are_the_same_objects_and_hold_the_views(case):
    env = ParallelWorld(CASES[case]())
    views, _ = env.reset(seed=0)
    for agent in env.agents:
        assert env.observation_space(agent) is env.observation_space(agent)
        assert env.action_space(agent) is env.action_space(agent)
        assert env.observation_space(agent).dtype == np.uint8
        assert views[agent] in env.observation_space(agent)
        assert env.action_space(agent).n == env.world.actions


def test_terminated_or_truncated():
    for params, ends in [({"stop": 1.0}, (True, False)), ({"rounds": 1}, (False, True)), ({"rounds": 1, "stop": 1.0}, (True, False))]:
        env = parallel_env("ipd", **params)
        env.reset(seed=0)
        views, rewards, terminations, truncations, _ = env.step({"player_0": 0, "player_1": 1})
        assert rewards == {"player_0": -3.0, "player_1": 0.0}
        assert terminations == dict.fromkeys(["player_0", "player_1"], ends[0])
        assert truncations == dict.fromkeys(["player_0", "player_1"], ends[1])
        # 1 + own move * 2 + the other's move; the next game's first view would be 0
        assert views["player_0"].tolist() == [0, 0, 1, 0, 0] and views["player_1"].tolist() == [0, 0, 0, 1, 0]
        assert env.agents == []


def test_those_who_leave():
    """Player 1 leaves in the first turn (terminated, 5), the others are cut off after the third (truncated)."""
    env = ParallelWorld(leavers.world(rounds=3))
    env.reset(seed=0)
    turn = env.step({"player_0": leavers.BONUS, "player_1": leavers.LEAVE, "player_2": leavers.STAY})
    assert turn[1] == {"player_0": 2.0, "player_1": 5.0, "player_2": 1.0}
    assert turn[2] == {"player_0": False, "player_1": True, "player_2": False} and not any(turn[3].values())
    assert turn[0]["player_1"][3:].tolist() == [0, 1, 1]  # its last view: itself gone
    assert env.agents == ["player_0", "player_2"]
    env.step({"player_0": 0, "player_2": 0})
    turn = env.step({"player_0": 0, "player_2": 0})
    assert turn[2] == {"player_0": False, "player_2": False} and turn[3] == {"player_0": True, "player_2": True}
    assert env.agents == []
    assert env.reset()[0].keys() == set(env.possible_agents)


def test_views_stay_as_they_were():
    """The batch writes over its tensors; what a caller holds does not change."""
    env = parallel_env("coin")
    views, infos = env.reset(seed=0)
    kept = {agent: view.copy() for agent, view in views.items()}
    for _ in range(5):
        env.step({"player_0": 0, "player_1": 2})
    assert_same(views, kept)
    assert infos["player_0"]["action_mask"].tolist() == [1, 1, 1, 1]


# Seeds


def test_seeds_begin_streams_and_none_goes_on():
    env, twin = parallel_env("coin"), parallel_env("coin")
    first = env.reset(seed=5)[0]
    games = [env.reset()[0] for _ in range(20)]
    assert len({game["player_0"].tobytes() for game in games}) > 5  # new games, not the same one again
    assert_same(twin.reset(seed=5)[0], first)
    assert_same([twin.reset()[0] for _ in range(20)], games)
    assert_same(env.reset(seed=5)[0], first)


def test_without_any_seed_runs_differ():
    runs = {parallel_env("coin", size=8).reset()[0]["player_0"].tobytes() for _ in range(6)}
    assert len(runs) > 1
    rows = {vector_env("coin", 4, size=8).reset()[0].tobytes() for _ in range(3)}
    assert len(rows) == 3


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "a"])
def test_bad_seeds(seed):
    env, rows = parallel_env("ipd"), vector_env("ipd", 2)
    env.reset(seed=1)
    for reset in (lambda: env.reset(seed=seed), lambda: rows.reset(seed=[1, seed])):
        with pytest.raises(UsageError, match="seed is"):
            reset()
    assert env.agents == ["player_0", "player_1"]  # still in the game that was on


# Mistakes


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({"player_0": 2, "player_1": 0}, "agent 0: action 2 is not legal; allowed are [0, 1]"),
        ({"player_0": 0, "player_1": 3}, "agent 1: action 3 is not legal; allowed are [0, 1, 2]"),
        ({"player_0": -1, "player_1": 0}, "agent 0: action -1 is not legal"),
        ({"player_0": 1.0, "player_1": 0}, "player_0: action 1.0 is not legal; allowed are whole numbers"),
        ({"player_0": None, "player_1": 0}, "player_0: action None is not legal"),
        ({"player_0": "cooperate", "player_1": 0}, "player_0: action 'cooperate' is not legal"),
        ({"player_0": 2**70, "player_1": 0}, "is not legal; allowed are whole numbers"),
        ({"player_0": np.array([1]), "player_1": 0}, "player_0: action array([1]) is not legal"),
        ({"player_0": 0}, "no action for player_1"),
        ({}, "no action for player_0, player_1"),
        ({"player_0": 0, "player_1": 0, "player_7": 0}, "agent 'player_7' is unknown"),
    ],
)
def test_mistakes_change_nothing(actions, message):
    env = ParallelWorld(CASES["matrix 2x3"]())
    env.reset(seed=0)
    env.step({"player_0": 1, "player_1": np.int32(2)})
    assert env._batch is not None
    before, shown = env._batch.memory.clone(), [x.clone() for x in env._batch.out]
    with pytest.raises(UsageError, match=re.escape(message)):
        env.step(actions)
    assert torch.equal(env._batch.memory, before)
    assert all(torch.equal(a, b) for a, b in zip(env._batch.out, shown, strict=True))
    assert env.agents == ["player_0", "player_1"]
    env.step({"player_0": np.array(1), "player_1": True})  # whole numbers in other clothes


@pytest.mark.parametrize("make", [parallel_env, aec_env, vector_env])
def test_no_step_without_a_game(make):
    env = make("ipd", rounds=1)
    with pytest.raises(UsageError, match="no game is on; call reset"):
        env.step(0 if make is aec_env else {})


def test_no_step_after_the_game():
    env = parallel_env("ipd", rounds=1)
    env.reset(seed=0)
    env.step({"player_0": 0, "player_1": 0})
    with pytest.raises(UsageError, match="ipd: no game is on"):
        env.step({"player_0": 0, "player_1": 0})


def test_unknown_parameters_are_named():
    for make in (parallel_env, aec_env, vector_env):
        with pytest.raises(UsageError, match="did you mean 'rounds'"):
            make("ipd", round=3)
    with pytest.raises(UsageError, match="did you mean 'human'"):
        parallel_env("ipd", render_mode="humans")
    with pytest.raises(UsageError, match="render_mode is None"):
        parallel_env("ipd").render()


def test_render_says_what_was_done():
    env = ParallelWorld(leavers.world(), render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == "leavers: a new game"
    env.step({"player_0": 2, "player_1": 1, "player_2": 0})
    assert env.render() == "player_0: bonus, reward 2\nplayer_1: leave, reward 5\nplayer_2: stay, reward 1"
    board = ParallelWorld(nim.world(), render_mode="ansi")
    board.reset(seed=0)
    board.step({"player_0": 0})
    assert board.render() == "player_0: move 0, reward 0\nplayer_1: waits, reward 0"


def test_render_appends_the_picture():
    """A line for each agent, then the table; when the game is over the next one is not shown."""
    env = parallel_env("hanabi-very-small", render_mode="ansi")
    _, infos = env.reset(seed=0)
    drawn = env.render().splitlines()
    assert drawn[0] == "hanabi-very-small: a new game"
    assert drawn[1:3] == ["player_0 to move; score 0; fireworks R0; hints 3, lives 1; 6 to draw", "discards  none"]
    while env.agents:
        move = int(infos[env.movers()[0]]["action_mask"].argmax())
        infos = env.step(dict.fromkeys(env.agents, move))[-1]
    assert [line.split()[0] for line in env.render().splitlines()] == ["player_0:", "player_1:"]


# Turns


def test_turns_are_taken():
    """Nim by hand: only the agent to move is asked, illegal moves are refused at once, the loser is told on its way out."""
    env = TurnWorld(nim.world(heaps=1, most=3))
    env.reset(seed=0)
    while env.observe("player_0")[0] != 3:
        env.reset()
    asked = []
    for agent in env.agent_iter():
        view, reward, terminated, truncated, info = env.last()
        asked.append((agent, int(view[0]), reward, terminated))
        assert not truncated
        if terminated:
            assert info["action_mask"].tolist() == [0, 0, 0] and not info["acting"]
            env.step(None)
            continue
        assert info["acting"] and info["action_mask"].tolist() == [k < view[0] for k in range(3)]
        if view[0] < 3:
            with pytest.raises(UsageError, match=r"agent 1: action 2 is not legal; allowed are \[0, 1\]"):
                env.step(2)
            assert env.agent_selection == agent and env.observe(agent)[0] == 2
        env.step(0 if view[0] == 3 else 1)
    assert asked == [("player_0", 3, 0, False), ("player_1", 2, 0, False), ("player_0", 0, -1, True), ("player_1", 0, 1, True)]
    assert env.metadata["is_parallelizable"] is False and aec_env("ipd").metadata["is_parallelizable"] is True


def test_those_who_wait_are_ignored():
    """On the parallel face they may do anything, or nothing; their mask is the world's: no legal move."""
    env, twin = ParallelWorld(nim.world()), ParallelWorld(nim.world())
    _, infos = env.reset(seed=2)
    twin.reset(seed=2)
    assert infos["player_1"]["action_mask"].sum() == 0 and not infos["player_1"]["acting"]
    assert_same(env.step({"player_0": 0, "player_1": "nonsense"}), twin.step({"player_0": 0}))
    with pytest.raises(UsageError, match="no action for player_1"):
        env.step({"player_0": 0})


def test_moves_of_one_turn_are_hidden():
    """Where all move at once, the second sees the last turn, and rewards come when both have moved."""
    env = aec_env("ipd")
    env.reset(seed=0)
    with pytest.raises(UsageError, match="agent 0: action 2 is not legal"):
        env.step(2)  # refused at once, not when the world is played
    assert env.agent_selection == "player_0"
    env.step(1)
    view, reward, *_ = env.last()
    assert env.agent_selection == "player_1" and reward == 0 and view.tolist() == [1, 0, 0, 0, 0]
    env.step(0)
    assert env.last()[1] == 0 and env.rewards == {"player_0": 0.0, "player_1": -3.0}
    assert env.last()[0].tolist() == [0, 0, 0, 1, 0]


# The vector face against Gymnasium's own


class Seat(gymnasium.Env):
    """Agent p of a world of its own, as a single-agent `Env`; what the others do stands in `plan` `[A]`.

    Worlds depend on seed, number and actions alone, so the A seats of a world, each with a copy of it, live through the same game: a
    `SyncVectorEnv` of them is what the vector face claims to be.
    """

    def __init__(self, world: World, number: int, p: int, plan: np.ndarray) -> None:
        self.world, self.number, self.p, self.plan = world, number, p, plan
        space = ParallelWorld(world)
        self.observation_space, self.action_space = space.observation_space("player_0"), space.action_space("player_0")
        self.batch, self.begun = Batch(world, 1, first=number), False

    def info(self) -> dict[str, Any]:
        out = self.batch.out
        told = {name: bool(getattr(out, name)[0, self.p]) for name in ("acting", "alive") if name in self.world.optional}
        return {"action_mask": out.legal[0, self.p].numpy().astype(np.int8), **told}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.batch = Batch(self.world, 1, seed=seed, first=self.number)
        elif not self.begun:
            self.batch.reset()
        self.begun = False
        return shown(self.batch, self.batch.out.obs)[0, self.p].copy(), self.info()

    def step(self, action):
        joint = self.plan.copy()
        joint[self.p] = action
        out = self.batch.step(torch.from_numpy(joint)[None])
        self.begun = bool(out.terminated[0] or out.truncated[0])
        view = shown(self.batch, out.final_obs if self.begun else out.obs)[0, self.p].copy()
        info = {"action_mask": closing_legal(self.world, (self.world.actions,))} if self.begun else self.info()
        return view, float(out.reward[0, self.p]), bool(out.terminated[0]), bool(out.truncated[0]), info


def assert_same(a: Any, b: Any) -> None:
    """Equal in structure, types, shapes and every number."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (tuple, list)) or (isinstance(a, np.ndarray) and a.dtype == object):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


def test_vector_equals_gymnasiums(case):
    """Step for step what Gymnasium makes of single environments: values, dtypes, shapes, final observations and all other infos."""
    world, worlds, first = CASES[case](), 3, 11
    plans = np.zeros((worlds, world.agents), np.int64)
    theirs = SyncVectorEnv(
        [lambda i=i, p=p: Seat(world, first + i, p, plans[i]) for i in range(worlds) for p in range(world.agents)],
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    ours = VectorWorld(world, worlds, first)
    assert ours.num_envs == theirs.num_envs == worlds * world.agents
    for space in ("observation_space", "action_space", "single_observation_space", "single_action_space"):
        assert getattr(ours, space) == getattr(theirs, space)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    rng, ended = np.random.default_rng(2), 0
    seeds = np.array([4, 4, 9])
    for mine, other in [(7, [7] * theirs.num_envs), (None, None), (seeds.tolist(), seeds.repeat(world.agents).tolist()), (None, None)]:
        begun = ours.reset(seed=mine)
        assert_same(begun, theirs.reset(seed=other))
        infos = begun[1]
        for _ in range(25):
            actions = legal_moves(infos["action_mask"], rng)
            plans[:] = actions.reshape(plans.shape)
            turn = ours.step(actions)
            assert_same(turn, theirs.step(actions))
            assert turn[0] in ours.observation_space
            infos = turn[-1]
            ended += "final_obs" in infos
    assert ended or not short(case)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("case", UNMASKED)
def test_seats_are_environments(case):
    """What the vector face is compared with is itself an `Env` by Gymnasium's rules, whose checker draws without a mask."""
    world = CASES[case]()
    strictly(check_env, case, Seat(world, 0, 0, np.zeros(world.agents, np.int64)))


def test_vector_rows_are_worlds_by_agents():
    """ipd, two worlds, one round: row 2 i + p is player p of world i."""
    env = vector_env("ipd", 2, rounds=1)
    env.reset(seed=0)
    obs, reward, terminated, truncated, infos = env.step(np.array([0, 1, 1, 1]))
    assert reward.tolist() == [-3, 0, -2, -2] and reward.dtype == np.float64
    assert truncated.all() and not terminated.any()
    assert obs.argmax(-1).tolist() == [0, 0, 0, 0]
    assert [int(view.argmax()) for view in infos["final_obs"]] == [2, 3, 4, 4]
    assert infos["_final_obs"].all() and infos["final_info"]["action_mask"].tolist() == [[1, 1]] * 4


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 1, 2, 0], "world 6, agent 0: action 2 is not legal; allowed are [0, 1]"),
        ([0, 1], "actions are int64 [2]; allowed are whole numbers [4]"),
        ([[0, 1], [0, 1]], "actions are int64 [2, 2]"),
        ([0.0, 1.0, 0.0, 1.0], "actions are float64 [4]"),
        (["c", "d", "c", "d"], "actions are <U1 [4]"),
    ],
)
def test_vector_mistakes_change_nothing(actions, message):
    env = vector_env("ipd", 2, first=5)
    env.reset(seed=0)
    env.step(np.array([1, 0, 1, 1], np.uint8))
    assert env._batch is not None
    before = env._batch.memory.clone()
    with pytest.raises(UsageError, match=re.escape(message)):
        env.step(actions)
    assert torch.equal(env._batch.memory, before)


def test_vector_reset_mistakes():
    env = vector_env("ipd", 2)
    with pytest.raises(UsageError, match="seed has 4 entries; allowed are one for all, or 2"):
        env.reset(seed=[1, 2, 3, 4])
    with pytest.raises(UsageError, match="reset_mask"):
        env.reset(options={"reset_mask": np.array([True] * 4)})
    with pytest.raises(UsageError, match="num_envs is 0"):
        vector_env("ipd", 0)
    env.reset(seed=8)
    assert env.np_random_seed == 8


def test_gymnasiums_wrappers_take_it():
    """Episode returns as Gymnasium's recorder sums them: two rounds of defection, -2 each."""
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(vector_env("ipd", 3, rounds=2))
    env.reset(seed=0)
    env.step(np.ones(6, int))
    infos = env.step(np.ones(6, int))[-1]
    assert infos["episode"]["r"].tolist() == [-4.0] * 6 and infos["episode"]["l"].tolist() == [2] * 6
