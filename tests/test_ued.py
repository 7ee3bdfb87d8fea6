"""Experiments in environment design: mistakes are told at once, evaluation plays fresh levels, recipes are what they say."""

import dataclasses

import pytest
from runs import experiment, train

from interplay.cluster.evaluate import evaluate
from interplay.cluster.experiment_ued import MakerConfig
from interplay.cluster.recipes import RECIPES
from interplay.cluster.recipes_ued import UED
from interplay.cluster.record import RunFolder
from interplay.envs.core import UsageError
from interplay.learners.teacher import TeacherConfig

MISTAKES = [
    ({"maker": MakerConfig("cluter")}, "generator 'cluter' is unknown; did you mean 'clutter'?"),
    ({"maker": MakerConfig(walls=24)}, "is 24; allowed are whole numbers from 0 to 23"),
    ({"teacher": TeacherConfig("plr", "maxmcc")}, "teacher.score 'maxmcc' is unknown; did you mean 'maxmc'?"),  # type: ignore[arg-type]
    ({"teacher": TeacherConfig("paired"), "students": 1}, "students is 1 with teacher.method paired; allowed are 2"),
    ({"teacher": TeacherConfig("accel", replay=1.5)}, "teacher.replay is 1.5; allowed are numbers from 0 to 1"),
    ({"teacher": TeacherConfig("accel", lanes=True)}, "run.tiles is 4 with teacher.lanes and accel; allowed are multiples of 3"),
    ({"teacher": TeacherConfig("repaired", lanes=True)}, "teacher.lanes is set with teacher.method repaired; allowed is it with plr"),
    ({"teacher": TeacherConfig("sfl", tries=0)}, "teacher.tries is 0; allowed are whole numbers from 1"),
    ({"students": 3}, "run.tile is 8 with 3 students; allowed are multiples of the students"),
]


@pytest.mark.parametrize(("changes", "told"), MISTAKES, ids=[told[:30] for _, told in MISTAKES])
def test_mistakes_are_told_before_anything_runs(changes, told):
    with pytest.raises(UsageError) as error:
        dataclasses.replace(experiment("accel"), **changes).check()
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_game_must_fit_into_a_round():
    made = experiment("accel")
    with pytest.raises(UsageError, match=r"run\.turns is 11 with games of up to 12 moves"):
        dataclasses.replace(made, run=dataclasses.replace(made.run, turns=11)).check()


@pytest.mark.parametrize("name", sorted(UED))
def test_recipes_stand_their_own_check(name):
    RECIPES[name].experiment.check()


def test_evaluation_plays_levels_that_training_has_not_seen(tmp_path):
    """Two seeds of games give different scores of the same students, the same seed the same; the standard error covers their distance."""
    made = experiment("accel")
    train(tmp_path / "run", made)
    folder = RunFolder.open(tmp_path / "run")
    one, again, other = (evaluate(folder, 20, seed)["reward_per_game/player_0"] for seed in (5, 5, 6))
    assert one == again != other
    assert abs(one[0] - other[0]) < 4 * (one[1] ** 2 + other[1] ** 2) ** 0.5
