"""The ladder as an experiment: learners, checkpoints, recipes."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from interplay.cluster.experiment import RunConfig
from interplay.cluster.experiment_ladder import LadderExperiment
from interplay.cluster.recipes_zsc import ZSC
from interplay.cluster.runner import LocalRunner
from interplay.envs.core import UsageError
from interplay.learners.exact_ladder import GAMES, ClimbConfig, LadderConfig, LadderLearner
from interplay.learners.exact_zsc import cross_play, mean_pair, value
from interplay.learners.tabular_obl import TabularConfig

KINDS = {
    "obl": LadderConfig("pet", "off-belief", 3, levels=3, level_updates=2, table=TabularConfig(games=8, sync=2)),
    "op": LadderConfig("two-stage-lever", "other-play", 3, climb=ClimbConfig(candidates=2)),
    "sp": LadderConfig("hanabi-1-2-2-1-1", "self-play", 3),
}


def run(experiment):
    """As `interplay train --local` does it, without a folder; returns the last row of metrics and the runner."""
    runner, row = LocalRunner(experiment), {}
    runner.restore(None)
    for number in range(experiment.run.updates):
        row, outcomes = runner.learn(number, runner.play(number, number, runner.ask()))
        assert not outcomes
    return experiment.metrics(row, []), runner


@pytest.mark.parametrize("name", ZSC)
@pytest.mark.parametrize("seed", [0, 1])
def test_recipes_reach_what_they_promise(name, seed):
    made = ZSC[name]
    assert isinstance(made.experiment, LadderExperiment) and made.experiment.ladder.teams >= 5
    made.experiment.check()
    row, runner = run(dataclasses.replace(made.experiment, seed=seed))
    assert {key: row[key] for key in made.reference} == pytest.approx(made.reference, abs=0.02)
    weights = runner.weights[made.experiment.run.updates]["policies"]
    assert weights.shape[0] == made.experiment.ladder.teams and weights.sum(-1).max().item() == pytest.approx(1)


@pytest.mark.parametrize("name, alone, met", [("toy-obl", 8.5, 2.5), ("lever-op", 0.97, 0.3)])
def test_self_play_beside_them_does_not(name, alone, met):
    experiment = ZSC[name].experiment
    ladder = dataclasses.replace(experiment.ladder, method="self-play", teams=30)
    row, _ = run(dataclasses.replace(experiment, ladder=ladder, run=dataclasses.replace(experiment.run, updates=200)))
    assert row["self_play"] > alone and abs(row["cross_play"]) < met


def test_metrics_are_of_the_policies():
    learner = LadderLearner(KINDS["sp"], seed=2)
    metrics = [learner.update() for _ in range(30)][-1]
    alone, met = mean_pair(cross_play(learner.tree, learner.policies()))
    assert metrics == {"self_play": alone, "cross_play": met}
    assert alone == pytest.approx(value(learner.tree, learner.policies()).mean()) and alone > met
    assert np.array_equal(learner.policy()["policies"].numpy(), learner.policies())


@pytest.mark.parametrize("kind", KINDS)
def test_resumes_bit_for_bit(kind):
    whole, again = LadderLearner(KINDS[kind], seed=1), LadderLearner(KINDS[kind], seed=9)
    for _ in range(5):
        whole.update()
    saved = {name: x.clone() for name, x in whole.state_dict().items()}
    again.load_state_dict(saved)
    if kind == "obl":
        again.table.seed = whole.table.seed  # a run resumes with its own seed
        assert whole.table.level == 3
    assert [whole.update() for _ in range(4)] == [again.update() for _ in range(4)]
    assert all(torch.equal(x, again.state_dict()[name]) for name, x in whole.state_dict().items())
    assert all(torch.equal(x, saved[name]) for name, x in saved.items()) and int(saved["updates"]) == 5
    assert not all(torch.equal(x, saved[name]) for name, x in whole.state_dict().items())


def test_a_team_is_the_same_in_any_population():
    for kind in ("obl", "op"):
        few, many = (LadderLearner(dataclasses.replace(KINDS[kind], teams=t), seed=4) for t in (2, 5))
        for _ in range(3):
            few.update()
            many.update()
        assert few.policies() == pytest.approx(many.policies()[:2], abs=1e-12)
        assert not np.allclose(many.policies()[0], many.policies()[1])


def test_tie_breaking_teams_agree():
    plain, broken = (LadderConfig("two-stage-lever", "other-play", 20, climb=ClimbConfig(candidates=k)) for k in (1, 8))
    found = []
    for config in (plain, broken):
        learner = LadderLearner(config, seed=0)
        found.append([learner.update() for _ in range(150)][-1])
    assert found[0]["self_play"] == pytest.approx(0.5, abs=0.01) and found[0]["cross_play"] < 0.25
    assert found[1]["self_play"] == pytest.approx(0.5, abs=0.01) and found[1]["cross_play"] == pytest.approx(0.5, abs=0.02)


def test_levels_follow_each_other():
    learner = LadderLearner(KINDS["obl"])
    assert [learner.update()["obl/level"] for _ in range(8)] == [1, 1, 2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize("game", GAMES)
def test_every_game_is_there(game):
    tree = LadderLearner(LadderConfig(game, "self-play", 2)).tree
    assert tree.players == 2 and tree.nodes > 5


@pytest.mark.parametrize(
    "ladder, told",
    [
        (LadderConfig("pets"), "game 'pets' is unknown; did you mean 'pet'?"),
        (LadderConfig(method="otherplay"), "method 'otherplay' is unknown; did you mean 'other-play'?"),
        (LadderConfig(teams=1), "teams is 1; allowed are whole numbers from 2"),
        (
            LadderConfig(method="other-play", climb=ClimbConfig(symmetry="light")),
            "symmetry 'light' is unknown in pet; did you mean 'lights'?",
        ),
        (LadderConfig(climb=ClimbConfig(rate=0.0)), "climb.rate is 0.0"),
        (LadderConfig(table=TabularConfig(temperature=-1.0)), "table.temperature is -1.0"),
        (LadderConfig(table=TabularConfig(power=0.5)), "table.power 0.5"),
        (LadderConfig(table=TabularConfig(explore=1.5)), "table.explore is 1.5"),
    ],
)
def test_mistakes(ladder, told):
    with pytest.raises(UsageError) as error:
        LadderExperiment(run=RunConfig(tiles=0), ladder=ladder).check()
    assert told in str(error.value)
    with pytest.raises(UsageError, match=r"run\.tiles is 4"):
        LadderExperiment().check()


def test_configs_are_plain_data():
    for made in ZSC.values():
        data = json.loads(json.dumps(dataclasses.asdict(made.experiment)))
        assert data["ladder"]["table"]["temperature"] == 0.05 and data["run"]["tiles"] == 0
