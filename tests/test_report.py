"""The page about coordination, and who may be asked to sit down."""

import dataclasses
import re

import numpy as np
import pytest
from runs import experiment, train

from interplay.cluster import crossplay, report
from interplay.cluster.entrants import entrant
from interplay.cluster.evaluate import evaluate
from interplay.cluster.plot import thinned
from interplay.cluster.record import RunFolder
from interplay.envs import UsageError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Tiny runs: two of Off-Belief Learning, one whose players see what was meant, one plain."""
    folder = tmp_path_factory.mktemp("runs")
    made = {"obl0": experiment("obl"), "obl1": dataclasses.replace(experiment("obl"), seed=4)}
    plain = experiment("replay")
    made |= {"sad": experiment("sad"), "plain": dataclasses.replace(plain, world=dataclasses.replace(plain.world, bomb="keep"))}
    for name, one in made.items():
        train(folder / name, one)
    return folder


def test_a_report_has_everybody(runs, tmp_path):
    names = [str(runs / "obl0"), f"{runs / 'obl0'}@3", str(runs / "obl1"), str(runs / "plain"), "iggi"]
    report.main([*names, "--games", "20", "--out", str(tmp_path / "a" / "page.html")])
    text = (tmp_path / "a" / "page.html").read_text()
    for words in (
        "self_play",
        "cross_play",
        "convention gap",
        "known both",
        "test x 3",
        "test@3 x 1",
        "iggi",
        "OBL, level 4",
        "Learning curves",
    ):
        assert words in text, words
    assert text.count("data:image/png;base64,") == 1 + 5 + 1 and str(runs) not in text.replace("src=", "")
    with pytest.raises(UsageError, match="already"):
        report.main([*names, "--out", str(tmp_path / "a" / "page.html")])


def test_those_who_see_what_was_meant_play_with_those_who_do_not(runs):
    names = (str(runs / "sad"), str(runs / "plain"), "smartbot")
    options = crossplay.CrossplayArguments(names, games=64)
    mixed = crossplay.make_contest(options)
    assert mixed.params == {"sad": True}
    found = crossplay.play(mixed, [(1, 1), (1, 2), (0, 1)])
    plain = crossplay.make_contest(dataclasses.replace(options, entrants=names[1:]))
    assert plain.params == {}
    assert [row["score"] for row, _ in found[:2]] == [row["score"] for row, _ in crossplay.play(plain, [(0, 0), (0, 1)])]


def test_an_earlier_step_is_another_policy(runs):
    last, early = entrant(str(runs / "obl0")), entrant(f"{runs / 'obl0'}@3")
    assert (last.label, early.label, early.kind) == ("obl0", "obl0@3", "test@3")
    assert not (last.player(False).network.flat == early.player(False).network.flat).all()
    assert (entrant(f"{runs / 'obl0'}@7").player(False).network.flat == last.player(False).network.flat).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [("obl0@2", "no checkpoint 2; allowed are 0, 3, 6, 7"), ("obl9", "neither a run folder"), ("obl9@3", "neither a run")],
)
def test_who_is_not_there_is_told(runs, name, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        entrant(str(runs / name))


def test_reports_are_about_hanabi(tmp_path):
    train(tmp_path / "coin", experiment("coin"))
    with pytest.raises(UsageError, match="about Hanabi"):
        report.main([str(tmp_path / "coin"), "--out", str(tmp_path / "page.html")])


def test_eval_counts_points_of_greedy_games(runs):
    """The same policy in the same worlds as in cross-play with itself, to the errors of both."""
    found = evaluate(RunFolder.open(runs / "plain"), 60, 5)
    mean, error = found["reward_per_game/player_0"]
    alone = crossplay.play(crossplay.make_contest(crossplay.CrossplayArguments((str(runs / "plain"),), games=2000)), [(0, 0)])[0][0]
    assert abs(mean - alone["score"]) < 5 * (error + alone["stderr"])
    assert evaluate(RunFolder.open(runs / "obl0"), 2, 5)["reward_per_step/player_1"][0] >= 0


def test_long_curves_are_drawn_as_means():
    values = np.arange(1000.0).reshape(2, 500)
    found = thinned(values)
    assert found.shape == (2, 200) and found[0, 0] == values[0, :3].mean() and found[1, -1] == values[1, -2:].mean()
    assert np.array_equal(thinned(values[:, :200]), values[:, :200])
