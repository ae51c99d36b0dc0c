"""The search around the trainings: what it keeps, what it goes on from, what it refuses."""

import json

import pytest

from trainer import tuning
from trainer.checkpoints import TrainingInterrupted
from trainer.training import NonFiniteLossError
from trainer.training_config import make_config

SETTINGS = json.loads(make_config(model="blocks5", steps=9).model_dump_json())


class Trainings:
    """Stands for the training: FID falls with the steps; the one after `lasts` is stopped."""

    def __init__(self, lasts: int = 100) -> None:
        self.made: list = []
        self.lasts = lasts

    def __call__(self, config, fingerprint, name):
        self.made.append(config)
        if len(self.made) > self.lasts:
            raise TrainingInterrupted("SIGTERM stopped the training")
        if config.optimizer == "sgd":
            raise NonFiniteLossError("a loss is not finite")
        fid = (2 if config.normalization == "batch" else 1) + 1000 * config.learning_rate
        return [{"step": config.steps, "fid_100_eval": fid / config.steps}]


def search(folder, run, trials=9, seconds=1e9, **settings) -> list[tuple]:
    """Searches; the trainings, the best first: settings, steps and FID."""
    made = tuning.Search(
        {**SETTINGS, **settings},
        run,
        folder,
        working_dir=str(folder / "temporary"),
        trials=trials,
        seconds=seconds,
        fixed=[],
        seed=0,
        identity="",
    )
    made.search(verbose=0)
    best = made.oracle.get_best_trials(None)
    assert made.get_best_hyperparameters()[0].values == best[0].hyperparameters.values
    rows = [(trial.hyperparameters.values, trial.score) for trial in best]
    return [
        ({k: v for k, v in values.items() if "/" not in k}, values["tuner/steps"], fid)
        for values, fid in rows
    ]


def test_an_interrupted_search_goes_on_and_finds_the_same(tmp_path):
    whole = search(tmp_path / "a", Trainings())
    assert [steps for _, steps, _ in whole[:4]] == [9, 3, 3, 3]
    assert whole[0][0]["optimizer"] == "adam"  # what diverged is last
    with pytest.raises(Exception, match="SIGTERM") as stopped:
        search(tmp_path / "b", Trainings(lasts=5))
    assert isinstance(stopped.value.__cause__, TrainingInterrupted)
    rest = Trainings()
    assert search(tmp_path / "b", rest) == whole
    assert len(rest.made) == len(whole) - 5
    # So does a longer one; what was trained for as many steps is not trained again.
    longer = Trainings()
    search(tmp_path / "b", longer, trials=10)
    assert len(longer.made) == 1


def test_a_damaged_record_of_a_trial_is_named_and_trained_again(tmp_path, caplog):
    whole = search(tmp_path, Trainings())
    [*_, record] = tmp_path.glob("trial-*.json")
    record.write_text('{"fid": ')
    again = Trainings()
    assert search(tmp_path, again) == whole
    assert len(again.made) == 1 and str(record) in caplog.text


def test_nothing_found_is_told_with_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="more minutes"):
        search(tmp_path, Trainings(), seconds=-1)
