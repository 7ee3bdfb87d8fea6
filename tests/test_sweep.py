"""Sweeps: the grid, trials that are the runs of `interplay train --local`, what goes on, what fails, and the table."""

import dataclasses
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

from interplay.cluster import checkpoint, training
from interplay.cluster.recipes import recipe
from interplay.cluster.record import RunFolder
from interplay.cluster.sweep import main
from interplay.cluster.sweep_grid import choices, kinds, replaced
from interplay.cluster.sweep_table import Sweep, headline
from interplay.envs.core import UsageError

ray = pytest.importorskip("ray")

SMALL = ["--exact.games", "20", "--run.updates", "6", "--run.checkpoint-every", "2", "--quiet"]
GRID = ["--set", "exact.delta=0.1,1", "--set", "exact.players=naive naive,lola_full naive"]
NAMES = ("exact.delta", "exact.players")
FIGURE = "reward_per_step/player_0"


@pytest.fixture(scope="module", autouse=True)
def a_ray():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        ray.init(address="local", num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Two by two settings of ipd-nl, two seeds of each."""
    path = tmp_path_factory.mktemp("sweep") / "out"
    main(["ipd-nl", "--seeds", "2", "--seed", "5", *GRID, *SMALL, "--out", str(path)])
    return path


def digest(path):
    return checkpoint.digest(checkpoint.load(path / "checkpoints"))


def alone(path, *flags):
    """The same run by `interplay train`."""
    training.main(["ipd-nl", *flags, *SMALL, "--local", "--run-dir", str(path)])
    return digest(path)


def table(path):
    rows = pq.read_table(path / "sweep.parquet").to_pylist()
    return {os.path.basename(row["run"]): row for row in rows}


def test_the_grid_is_the_product_and_every_trial_the_run_that_train_makes(swept, tmp_path):
    settings = list(itertools.product((0.1, 1.0), (("naive", "naive"), ("lola_full", "naive")), (5, 6)))
    assert {p.name for p in swept.iterdir() if p.is_dir()} == {
        f"exact.delta={d},exact.players={a}x{b},seed={s}" for d, (a, b), s in settings
    }
    digests = {}
    for delta, (a, b), seed in settings:
        folder = RunFolder.open(swept / f"exact.delta={delta},exact.players={a}x{b},seed={seed}")
        assert folder.experiment.exact.delta == delta and folder.experiment.exact.players == (a, b) and folder.experiment.seed == seed
        digests[delta, a, seed] = digest(folder.path)
    assert len(set(digests.values())) == 8
    for delta, a, seed in ((0.1, "lola_full", 5), (1.0, "naive", 6)):
        flags = ["--seed", str(seed), "--exact.delta", str(delta), "--exact.players", a, "naive"]
        assert digests[delta, a, seed] == alone(tmp_path / a, *flags)


def test_the_table_holds_means_and_standard_errors_over_seeds(swept, capfd):
    rows = table(swept)
    for name, row in rows.items():
        summary = json.loads((swept / name / "summary.json").read_text())
        assert row["status"] == "finished" and row["update"] == 6 and row["seed"] == summary["seed"]
        assert {metric: row[metric] for metric in summary["metrics"]} == summary["metrics"]
    arguments = ["ipd-nl", "--seeds", "2", "--seed", "5", *GRID, *SMALL, "--no-quiet", "--out", str(swept)]
    for mode, sign in (("max", -1), ("min", 1)):
        sweep = Sweep.open(swept, "ipd-nl", ())
        ranked = sweep.ranked(list(rows.values()), FIGURE, mode)
        expected = {}
        for delta, players in itertools.product((0.1, 1.0), ("naivexnaive", "lola_fullxnaive")):
            values = np.array([rows[f"exact.delta={delta},exact.players={players},seed={seed}"][FIGURE] for seed in (5, 6)])
            expected[delta, players] = values.mean(), math.sqrt(((values - values.mean()) ** 2).sum() / 1 / 2)
        assert [one.setting for one in ranked] == sorted(expected, key=lambda s: sign * expected[s][0])
        for one in ranked:
            assert (one.mean, one.stderr) == pytest.approx(expected[one.setting], rel=1e-12)
        main([*arguments, "--mode", mode])
        printed = capfd.readouterr()
        assert printed.out.splitlines()[-1] == str(swept) and f"best ({mode}) first" in printed.err
        at = [printed.err.index(f"{mean:.4g} ± {error:.2g}") for mean, error in (expected[one.setting] for one in ranked)]
        assert at == sorted(at) and printed.err.count("2/2") == 4


def test_a_setting_without_finished_seeds_has_no_figure():
    row = {"a": 1, "seed": 0, "status": "stopped", "x": 5.0}
    two, one = Sweep(None, "", ("a",)).ranked([row, row | {"a": 2, "status": "finished"}], "x", "max")
    assert (two.setting, two.mean) == ((2,), 5.0) and math.isnan(two.stderr)
    assert one.setting == (1,) and math.isnan(one.mean)


def test_the_metric_that_ranks():
    rows = [{"a": 1, "seed": 0, "loss": 1.0, "reward_per_step/b": 0.0, "reward_per_step/a": 0.0, "main": 2.0}]
    assert headline(rows, ["a"], {"main": 1.0}, None) == "main" and headline(rows, ["a"], {}, None) == "reward_per_step/a"
    assert headline([{"a": 1, "loss": 1.0}], ["a"], {}, None) == "loss" and headline(rows, ["a"], {}, "loss") == "loss"
    with pytest.raises(UsageError, match="did you mean 'loss'"):
        headline(rows, ["a"], {}, "los")


def test_again_skips_goes_on_and_adds_and_one_failure_stops_nobody(swept, capfd):
    cut = swept / "exact.delta=0.1,exact.players=naivexnaive,seed=6"
    before, kept = digest(cut), (cut / "checkpoints" / "00000002").stat().st_mtime_ns
    for name in ("00000004", "00000006"):
        (cut / "checkpoints" / name).rename(cut / "checkpoints" / f".{name}.away")
    (cut / "summary.json").unlink()
    bad = swept / "exact.delta=1.0,exact.players=naivexnaive,seed=7"
    bad.mkdir()
    (bad / "checkpoints").write_text("in the way")
    stamps = {name: (swept / name / "summary.json").stat().st_mtime_ns for name in table(swept) if name != cut.name}
    arguments = ["ipd-nl", "--seeds", "3", "--seed", "5", *GRID, *SMALL, "--out", str(swept)]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    rows, printed = table(swept), capfd.readouterr()
    assert printed.out.splitlines()[-1] == str(swept)
    assert len(rows) == 12 and {name for name, row in rows.items() if row["status"] != "finished"} == {bad.name}
    assert rows[bad.name]["status"] == "failed" and f"{bad} cannot be written" in rows[bad.name]["error"]
    assert f"1 of 12 trials failed; {bad}: {rows[bad.name]['error']}" in printed.err
    assert rows[bad.name]["error"] in (bad / "error.txt").read_text()
    assert digest(cut) == before and (cut / "checkpoints" / "00000002").stat().st_mtime_ns == kept
    assert {name: (swept / name / "summary.json").stat().st_mtime_ns for name in stamps} == stamps
    (bad / "checkpoints").unlink()
    main(arguments)
    assert table(swept)[bad.name]["status"] == "finished" and not (bad / "error.txt").exists()


def test_a_sweep_is_not_mixed_with_another(swept, tmp_path):
    start = ["ipd-nl", *SMALL, "--out", str(swept)]
    one = ["--seed", "5", "--set", "exact.delta=0.1", "--set", "exact.players=naive naive"]
    for flags, says in (
        (["--run.tail", "2", *one], "run.tail"),
        (["--run.updates", "4", *one], "differs in run.updates"),
        (["--exact.gamma", "0.5", "--set", "exact.delta=7"], "exact.gamma"),
    ):
        with pytest.raises(UsageError, match=says):
            main([*start, *flags])
    with pytest.raises(UsageError, match="is a sweep of ipd-nl, not of imp-lola"):
        main(["imp-lola", "--out", str(swept)])
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is there already and no sweep"):
        main(["ipd-nl", "--out", str(tmp_path)])
    assert len(list(swept.glob("*/config.json"))) == len(table(swept))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--set", "exact.delte=1"], "did you mean 'exact.delta'"),
        (["--set", "exact.delta=0.1,much"], "'much' is no value of it; allowed is float"),
        (["--set", "exact.players=naive"], "'naive' is no value of it"),
        (["--set", "exact.games=1.5"], "allowed is int"),
        (["--set", "exact.delta=0.1,0.10"], "given twice"),
        (["--set", "exact.delta=1", "--set", "exact.delta=2"], "names a field twice"),
        (["--set", "exact.delta"], "allowed is FIELD=VALUE"),
        (["--set", "seed=1,2"], "--seeds N"),
        (["--set", "exact.delta=1,-1"], "exact.delta is -1.0"),
        (["--set", "run.learners=2"], "run.learners is 2"),
        (["--set", "run.device=cpu,cuda"], "allowed are cpu with 0, cuda with more"),
        (["--gpus-per-trial", "0.5"], "allowed are cpu with 0, cuda with more"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--seed", str(2**32 - 1), "--seeds", "2"], "--seed is"),
        (["--cpus-per-trial", "64"], "Ray has 2 in all"),
        (["--address", "nowhere"], "no Ray answers"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(flags, says, tmp_path, monkeypatch):
    if "--address" in flags:
        monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(UsageError, match=says.replace("(", r"\(")) as error:
        main(["ipd-nl", *flags, "--out", str(tmp_path / "out")])
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_values_are_read_as_flags_are():
    made = recipe("coin-ppo").experiment
    known = kinds(made)
    assert choices("network.hidden=64 64,8", known) == ("network.hidden", [(64, 64), (8,)])
    assert choices("shared=true,False", known) == ("shared", [True, False])
    assert choices("run.env-actors=1,2", known) == ("run.env_actors", [1, 2])
    assert choices("optim.lr=1e-3,-2", known) == ("optim.lr", [0.001, -2.0])
    changed = replaced(made, "world.transition.over", 9)
    assert changed.world.transition.over == 9
    assert dataclasses.replace(changed, world=made.world) == made


def test_halving_stops_the_worse_whose_run_can_go_on(tmp_path):
    """Naive learners fall into defection the faster the larger their steps, so small steps earn more early on."""
    out, flags = tmp_path / "out", ["--set", "exact.delta=0.01,3", *SMALL]
    main(["ipd-nl", *flags, "--asha", FIGURE, "--grace", "3", "--cpus-per-trial", "2", "--out", str(out)])
    good, poor = (table(out)[f"exact.delta={delta},seed=0"] for delta in (0.01, 3.0))
    assert (good["status"], poor["status"], poor["update"]) == ("finished", "stopped", 3) and poor[FIGURE] < good[FIGURE]
    assert checkpoint.numbers(out / "exact.delta=3.0,seed=0" / "checkpoints") == [0, 2]
    main(["ipd-nl", *flags, "--asha", FIGURE, "--grace", "3", "--cpus-per-trial", "2", "--out", str(out)])
    assert table(out)["exact.delta=3.0,seed=0"]["status"] == "stopped"
    main(["ipd-nl", *flags, "--out", str(out)])
    assert table(out)["exact.delta=3.0,seed=0"]["status"] == "finished"
    assert digest(out / "exact.delta=3.0,seed=0") == alone(tmp_path / "alone", "--exact.delta", "3")


def test_ctrl_c_ends_a_sweep_and_says_how_to_go_on(tmp_path):
    words = ["ipd-nl", "--set", "exact.delta=1", *SMALL[:2], "--run.updates", "1000000", "--run.checkpoint-every", "20"]
    code = "import sys; from interplay.cluster.sweep import main; main(sys.argv[1:])"
    command, pipes = [sys.executable, "-c", code, *words], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = subprocess.Popen(command, cwd=tmp_path, text=True, start_new_session=True, **pipes)
    while not list(tmp_path.glob("sweeps/*/*/checkpoints/00000020")):
        assert started.poll() is None, started.communicate()
        time.sleep(0.2)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does, which tells all of Ray's processes too
    out, err = started.communicate(timeout=60)
    (path,) = tmp_path.glob("sweeps/*")
    assert started.returncode == 130 and out.splitlines()[-1] == str(path.relative_to(tmp_path))
    assert err.splitlines()[-1] == f"stopped; go on with: interplay sweep {' '.join(words)} --out {path.relative_to(tmp_path)}"
    (row,) = table(path).values()
    assert row["status"] == "interrupted" and row["update"] >= 20 and "Traceback" not in err
