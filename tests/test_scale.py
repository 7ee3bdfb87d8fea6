"""Scaling: the simulation against closed forms and a brute-force clock, the calibration, and the command itself."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import simpy

from interplay.cluster import scale
from interplay.cluster.experiment import RunConfig
from interplay.cluster.recipes import recipe
from interplay.cluster.scale_measure import divided, shares
from interplay.cluster.scale_model import Costs, Shared, Size, ring, simulate, slope
from interplay.envs.core import UsageError

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(240)

PLAIN = Costs(
    steps=1000.0,
    staleness=0,
    act=(0.1, 0.5),
    jitter=(1.0,),
    rest=(0.02, 0.01),
    ask=(0.005, 0.001),
    issue=0.002,
    learn=(0.2, 0.3),
    shared=0.75,
    sums=8,
    trajectory=1e6,
    weights=4e6,
    latency=0.001,
    bandwidth=1e8,
    cores=2.0,
    act_threads=1,
    learn_threads=1,
)


def brute_force(capacity, users, step=1e-4):
    """When each (begin, need, width) is done on something shared evenly: by small steps of time."""
    left, ends, now = [need for _, need, _ in users], [math.inf] * len(users), 0.0
    while math.inf in ends:
        active = [k for k, (begin, _, _) in enumerate(users) if begin <= now + step / 2 and ends[k] == math.inf]
        width = sum(users[k][2] for k in active)
        rate = min(1.0, capacity / width) if width else 1.0
        for k in active:
            left[k] -= rate * step
            if left[k] <= step / 2:
                ends[k] = now + step
        now += step
    return ends


@pytest.mark.parametrize("seed", range(5))
def test_sharing_is_processor_sharing(seed):
    dice = np.random.default_rng(seed)
    users = [(float(dice.uniform(0, 0.5)), float(dice.uniform(0.01, 0.4)), float(dice.integers(1, 4))) for _ in range(8)]
    clock = simpy.Environment()
    cores, ends = Shared(clock, 2.0), [0.0] * len(users)

    def user(k, begin, need, width):
        yield clock.timeout(begin)
        yield cores.use(need, width)
        ends[k] = clock.now

    for k, one in enumerate(users):
        clock.process(user(k, *one))
    clock.run()
    np.testing.assert_allclose(ends, brute_force(2.0, users), atol=2e-3)


def test_one_of_each_is_a_sum():
    found = simulate(PLAIN, Size(1, tiles=4))
    parts = {"meta-learner": 0.005 + 0.004, "env": 0.1 + 2.0, "learner": 0.2 + 1.2, "transport": 0.002 + 0.02 + 0.04}
    whole = sum(parts.values())
    assert found.round == pytest.approx(whole) and found.speed == pytest.approx(4000 / whole)
    assert found.busy == pytest.approx({name: part / whole for name, part in parts.items()})
    assert (found.bottleneck, found.lag) == ("env", 0.0)
    assert found.age == pytest.approx(whole - parts["learner"])


@pytest.mark.parametrize(("actors", "seconds"), [(1, 4.1), (2, 2.1), (4, 2.2), (8, 2.4)])
def test_env_actors_share_the_cores(actors, seconds):
    """8 tiles on two cores: two actors halve the time, more of them only add what each costs."""
    found = simulate(PLAIN, Size(actors, tiles=8))
    rest = 0.02 + 0.01 * 8 / actors
    assert found.round == pytest.approx(0.013 + 0.002 * actors + seconds + rest + 2.6)


@pytest.mark.parametrize("staleness", [1, 2])
def test_rounds_overlap_where_they_may(staleness):
    """One actor and one learner on two cores: the slower of the two sets the pace."""
    found = simulate(replace(PLAIN, staleness=staleness), Size(1, tiles=4), rounds=80)
    assert found.round == pytest.approx(0.1 + 2.0 + 0.02 + 0.04, rel=0.01)
    assert found.lag == pytest.approx(staleness, abs=0.1)


def test_machines_add_links_and_take_away_crowds():
    """Four actors on two machines: nobody waits for a core; two trajectories come in and the weights go out, one after the other."""
    found = simulate(PLAIN, Size(4, nodes=2, machines=2, tiles=8))
    weights, trajectories = 0.001 + 0.04, 0.001 + 4 * 0.01
    assert found.round == pytest.approx(0.013 + 0.008 + weights + 1.1 + 0.04 + trajectories + 2.6)


def test_learners_divide_what_can_be_divided():
    alone, two = (simulate(PLAIN, Size(1, learners, tiles=4)).round for learners in (1, 2))
    update = 1.4
    assert two - alone == pytest.approx(update * (0.25 + 0.75 / 2) - update + ring(PLAIN, 2))
    assert ring(PLAIN, 2) == pytest.approx(8 * 2 * (0.001 + 0.02))
    assert ring(PLAIN, 4) == pytest.approx(8 * 6 * (0.001 + 0.01))


def test_many_wait_for_the_last():
    """Acts that vary: with 200 actors the round waits for one of the slowest kind, with one it takes the mean."""
    wild = replace(PLAIN, jitter=(0.5, 1.0, 1.5), cores=1000.0)
    one, many = simulate(wild, Size(1, tiles=1), rounds=400), simulate(wild, Size(200, tiles=200), rounds=8)
    fixed = 0.006 + 0.002 + 0.03 + 0.5
    assert one.round - fixed == pytest.approx(0.6, abs=0.03)
    assert many.round == pytest.approx(0.205 + 0.4 + 0.03 + 0.9 + 60.2)


def test_the_same_dice_say_the_same():
    wild = replace(PLAIN, jitter=(0.5, 1.0, 1.5))
    assert simulate(wild, Size(3, tiles=3), seed=1) == simulate(wild, Size(3, tiles=3), seed=1)
    assert simulate(wild, Size(3, tiles=3), seed=1) != simulate(wild, Size(3, tiles=3), seed=2)


def test_calibration():
    assert slope((4, 8), (1.0, 1.8)) == pytest.approx((0.2, 0.2))
    assert slope((4, 8), (1.0, 3.0)) == pytest.approx((0.0, 0.375))  # not below 0 without tiles
    assert slope((4, 8), (1.0, 0.9)) == pytest.approx((0.9, 0.0))  # nor falling
    quiet = replace(PLAIN, learn_threads=1)
    assert divided(quiet, 4, 1.4 * (1 - 0.75 / 2)) == pytest.approx(0.75)
    crowded = replace(PLAIN, learn_threads=2)  # two learners of two threads on two cores take turns
    assert divided(crowded, 4, 2 * 1.4 * (1 - 0.75 / 2)) == pytest.approx(0.75)
    assert divided(crowded, 4, 99.0) == 0.0


def test_shares_of_a_round():
    row = {"round": 2.0, "act": 1.0, "learn": 0.6, "ask": 0.1}
    assert shares(row, 0) == pytest.approx({"env": 0.5, "transport": 0.15, "learner": 0.3, "meta-learner": 0.05})
    assert shares(row, 1) == pytest.approx({"env": 0.5, "transport": 0.45, "learner": 0.3, "meta-learner": 0.05})


def refuse(words, match):
    with pytest.raises(UsageError, match=match):
        scale.main(words)


def test_what_is_wrong_is_said_before_anything_starts(tmp_path):
    refuse([], "scale needs a recipe")
    refuse(["coin-pp"], "coin-ppo")
    refuse(["coin-ppo", "--env-actors", "1,x"], r"--env-actors is '1,x'; allowed are whole numbers from 1 with commas")
    refuse(["coin-ppo", "--env-actors", "1,999"], r"--env-actors up to 999 share run.tiles \d+; .* --run.tiles 999")
    refuse(["coin-ppo", "--env-actors", "1", "--nodes", "2"], "at least one env actor a node")
    refuse(["coin-ppo", "--rounds", "0"], "--rounds is 0")
    refuse(["ipd-lola-exact" if "ipd-lola-exact" in scale.RECIPES else "ipd-nl"], "nothing to scale")
    refuse(["coin-ppo", "--costs", str(tmp_path)], "no readable costs.json")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    refuse(["coin-ppo", "--out", str(tmp_path / "full"), "--costs", str(tmp_path)], "not empty; nothing was written")
    assert not ray.is_initialized()


def test_sizes():
    made = replace(recipe("coin-ppo").experiment, run=RunConfig(tiles=4))
    sizes = scale.wanted(scale.Options(env_actors="1,4", learners="1,2", nodes="1,2"), made)
    strong = [size for mode, size in sizes if mode == "strong"]
    weak = [size for mode, size in sizes if mode == "weak"]
    assert strong == [Size(a, m, n, 4) for n in (1, 2) for m in (1, 2) for a in (1, 4) if n <= a]
    assert weak == [Size(4, m, n, 16) for n in (1, 2) for m in (1, 2)]


def test_a_small_measurement(tmp_path, capsys, monkeypatch):
    """Two env actors and two learners over Ray; then predictions from what was stored."""
    small = ["coin-ppo", "--run.tile", "32", "--run.turns", "8", "--run.tiles", "2", "--run.learn-threads", "1"]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    try:
        ray.init(address="local", num_cpus=1, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        refuse([*small, "--env-actors", "1,9", "--scaling", "weak"], r"--env-actors up to 9 ask for 4\.5 CPUs; allowed are up to 2")
        words = ["--env-actors", "1,2", "--learners", "1,2", "--rounds", "3", "--warmup", "1", "--repeats", "1", "--scaling", "strong"]
        scale.main([*small, *words, "--out", str(tmp_path / "out")])
    finally:
        ray.shutdown()
    rows = pq.read_table(tmp_path / "out" / "measured.parquet").to_pylist()
    assert [(r["scaling"], r["learners"], r["env_actors"]) for r in rows] == [
        ("in process", 1, 0),
        ("strong", 1, 1),
        ("strong", 1, 2),
        ("strong", 2, 1),
        ("strong", 2, 2),
    ]
    for row in rows:
        assert row["speed"] == pytest.approx(32 * 8 * 2 / row["seconds/round"])
        busy = [row[f"busy/{who}"] for who in ("env", "transport", "learner", "meta-learner")]
        assert sum(busy) == pytest.approx(1.0, abs=1e-6) and min(busy) >= 0
    assert rows[1]["efficiency"] == 1.0 and rows[2]["efficiency"] == pytest.approx(rows[2]["speed"] / 2 / rows[1]["speed"])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"measured.parquet", "costs.json", "scale.png", "scale.svg"}
    costs = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert costs["recipe"] == "coin-ppo" and costs["steps"] == 32 * 8 and costs["trajectory"] > 32 * 8
    capsys.readouterr()
    scale.main([*small, "--costs", str(tmp_path / "out"), "--simulate", "50", "--out", str(tmp_path / "more")])
    assert "nothing is lost" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "more" / "predicted.parquet").to_pylist()
    assert [(r["actors"], r["tiles"], r["machines"]) for r in rows] == [(1, 2, 1), (10, 20, 1), (50, 100, 4)]
