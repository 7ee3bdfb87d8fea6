"""Three hosts whose links are cut and healed, or slow and lossy, while they train: the result is bit-equal to the undisturbed one.

    INTERPLAY_NETNS=1 pytest tests/test_partition.py -s

Needs root and Linux's network namespaces; `-s` shows the measured seconds.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import PORT, Hosts, how_to_slow, names
from runs import experiment, train

pytestmark = [
    pytest.mark.netns,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.environ.get("INTERPLAY_NETNS") != "1", reason="opt-in: INTERPLAY_NETNS=1"),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: needs root"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="makes network namespaces: needs `ip`"),
]

HEALTH = {  # a host that does not answer for about 2 s is dead; by Ray's defaults that takes about a minute
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
ADDRESS = {"head": "10.77.0.1", "left": "10.77.0.2", "right": "10.77.0.3"}
RAYLET = "/raylet/raylet"
UPDATES, STOP, AWAY = 12, 5, 10.0  # of a run; the update after which the link is cut; for so many seconds
RUN = {"updates": UPDATES, "env_actors": 2}  # an env actor takes half a CPU


def drive(folder, kind, place, stop):
    """The driver, a process on the head: trains, and writes a line of JSON for every row, event and result.

    The actors that ask for no CPU (learner, meta-learner, replay) go to `place` while it is there. After update `stop` it tells where
    everybody is, and waits for a line.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from interplay.cluster import checkpoint, connect, streaming

    connect._code = dict  # all hosts see the same files, and the rules that are compiled already
    connect.connect(f"{ADDRESS['head']}:{PORT}")
    while len(ray.nodes()) < len(ADDRESS):
        time.sleep(0.2)
    nodes = {node["NodeManagerAddress"]: node["NodeID"] for node in ray.nodes()}
    host_of = {nodes[address]: name for name, address in ADDRESS.items()}
    named = streaming._named

    def placed(run):
        make, chosen = named(run), nodes[ADDRESS[place]]
        alive = any(node["NodeID"] == chosen and node["Alive"] for node in ray.nodes())
        there = {"scheduling_strategy": NodeAffinitySchedulingStrategy(chosen, soft=False)} if alive else {}
        return lambda kind, name, **options: make(kind, name, **options, **({} if options["num_cpus"] else there))

    streaming._named = placed
    made = experiment(kind, **RUN)
    runner = streaming.RayRunner(made)
    home = lambda actor: host_of[ray.get(actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()))]
    stopped = []

    def watch(row):
        say(**{name: row[name] for name in ("update", "event", "kind") if name in row})
        if row.get("update") == stop and not stopped:
            stopped.append(True)
            say(learner=home(runner.learner), meta=home(runner.meta), envs=[home(host) for host in runner.hosts])
            sys.stdin.readline()

    digest, summary, rows = train(Path(folder), made, runner, watch)
    last = checkpoint.load(Path(folder) / "checkpoints").learner
    say(result=digest, status=summary["status"], rows=[row["update"] for row in rows], learned=int(last["updates"]))
    ray.shutdown()


def say(**what):
    print(json.dumps({"at": time.time()} | what), flush=True)


class Driver:
    """The driver's process, and what it has said so far."""

    def __init__(self, hosts, folder, kind="gru", place="head", stop=STOP):
        self.said, self.log = [], folder / "driver.log"
        command = [sys.executable, __file__, str(folder / "run"), kind, place, str(stop)]
        with self.log.open("w") as log:
            self.process = hosts.popen("head", *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def until(self, name):
        """Listen until it says this; returns what it said."""
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue  # Ray talks too
            self.said.append(json.loads(line))
            if name in self.said[-1]:
                return self.said[-1]
        raise AssertionError(f"the driver ended without {name!r}: {self.said[-3:]}, {self.log.read_text()[-3000:]}")

    def go(self):
        """Let it go on after `stop`."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def updates(self):
        """(Number, when) of the updates it has reported, also of those that are forgotten later."""
        return [(said["update"], said["at"]) for said in self.said if "update" in said]

    def events(self):
        """What went wrong."""
        return [said["event"] for said in self.said if "event" in said]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Digests of local runs."""
    made = {}

    def digest(kind):
        if kind not in made:
            made[kind], _, _ = train(tmp_path_factory.mktemp(kind), experiment(kind, **RUN))
        return made[kind]

    return digest


def start(hosts, health=None):
    """Ray on a head without CPUs and on two hosts, each of which has room for both env actors; they begin on one each."""
    for name, address in ADDRESS.items():
        hosts.add(name, address)
    hosts.ray("head", "head", 0, *([f"--system-config={json.dumps(health)}"] if health else []))
    for name in ("left", "right"):
        hosts.ray(name, "head", 1)


def disturb(hosts, driver, victim):
    """Cut a host's link after update 5, heal it 10 s later, wait for the end; returns (result, when cut, when healed, who was where)."""
    where = driver.until("learner")
    hosts.cut(victim)
    cut = time.time()
    driver.go()
    time.sleep(AWAY)
    hosts.heal(victim)
    healed = time.time()
    return driver.until("result"), cut, healed, where


def whole(result, digest):
    """The run is at its end, each update is there once and was made once, and the bits are those of the undisturbed run."""
    assert result["status"] == "finished"
    assert result["rows"] == list(range(1, UPDATES + 1))
    assert result["learned"] == UPDATES
    assert result["result"] == digest


def report(name, driver, cut, healed):
    """Print the seconds."""
    after = [at for number, at in driver.updates() if at > cut and number > STOP]
    late = [at for at in after if at > healed]
    first = f"first new update {after[0] - cut:.1f} s after the cut"
    print(f"\n{name}: {first}, {f'{late[0] - healed:.1f} s' if late else 'all done'} after the heal; events: {driver.events()}")


@pytest.mark.parametrize("place", ["head", "left"])
def test_a_link_that_is_cut_for_ten_seconds_only_costs_time(tmp_path, undisturbed, place):
    """With Ray's own health checks the host outlives the cut: nobody is lost. Either it holds env actors only, or the learner too."""
    digest = undisturbed("gru")
    with Hosts(tmp_path / "hosts") as hosts:
        start(hosts)
        driver = Driver(hosts, tmp_path, place=place)
        result, cut, healed, where = disturb(hosts, driver, "left")
        assert (where["learner"], where["meta"]) == (place, place)
        assert sorted(where["envs"]) == ["left", "right"]
        report(f"tolerant, learner on {place}, left cut", driver, cut, healed)
        whole(result, digest)
        assert not [number for number, at in driver.updates() if cut + 1 < at < healed], "an update came through the cut"
        assert not driver.events()
        assert all(hosts.running(name, RAYLET) for name in ADDRESS), "a node did not outlive the cut"


def test_all_workers_lose_the_head_for_ten_seconds(tmp_path, undisturbed):
    """The head holds driver, learner, meta-learner and Ray's own state."""
    digest = undisturbed("gru")
    with Hosts(tmp_path / "hosts") as hosts:
        start(hosts)
        driver = Driver(hosts, tmp_path)
        result, cut, healed, where = disturb(hosts, driver, "head")
        assert where["learner"] == "head"
        report("tolerant, head cut", driver, cut, healed)
        whole(result, digest)
        assert not [number for number, at in driver.updates() if cut + 1 < at < healed], "an update came through the cut"
        assert not driver.events()
        assert all(hosts.running(name, RAYLET) for name in ADDRESS), "a node did not outlive the cut"


@pytest.mark.parametrize("place", ["head", "left"])
def test_a_host_that_is_declared_dead_is_done_without(tmp_path, undisturbed, place):
    """With tight health checks the others go on by themselves, and the lost host's raylet ends when it hears of its death."""
    digest = undisturbed("gru")
    with Hosts(tmp_path / "hosts") as hosts:
        start(hosts, HEALTH)
        driver = Driver(hosts, tmp_path, place=place)
        result, cut, healed, where = disturb(hosts, driver, "left")
        assert where["learner"] == place
        assert sorted(where["envs"]) == ["left", "right"]
        report(f"tight, learner on {place}, left cut", driver, cut, healed)
        whole(result, digest)
        assert driver.events(), "nobody was lost: the test would prove nothing"
        until = time.monotonic() + 30
        while (there := hosts.running("left", RAYLET) + hosts.running("left", "ray::")) and time.monotonic() < until:
            time.sleep(0.2)
        assert not there, "a raylet or its actors go on that were declared dead"
        assert hosts.running("right", RAYLET)


@pytest.mark.parametrize("kind", ["gru", "replay"])
def test_slow_and_lossy_links_only_cost_time(tmp_path, undisturbed, kind):
    """50 ms and 1 % loss for every frame that leaves a host: 100 ms there and back."""
    if (means := how_to_slow()) is None:
        pytest.skip("neither netem nor TAP devices here")
    digest = undisturbed(kind)
    with Hosts(tmp_path / "hosts", delay=0.05, loss=0.01, seed=7) as hosts:
        start(hosts)
        driver = Driver(hosts, tmp_path, kind, "left", stop=0)
        result = driver.until("result")
        whole(result, digest)
        times = [at for _, at in driver.updates()]
        print(f"\nslow by {means}, {kind}: {(times[-1] - times[0]) / (UPDATES - 1):.2f} s an update; events: {driver.events()}")
        assert times[-1] - times[0] > (UPDATES - 1) * 0.1, "faster than light"


def test_nothing_is_left():
    assert not names(f"hosts{os.getpid()}-")


if __name__ == "__main__":
    to, what, at, after = sys.argv[1:]
    drive(to, what, at, int(after))
