"""TFX Tuner entry point: a search for better settings by FID on the eval split.

KerasTuner runs the trials and keeps the best, `trainer/halving.py` says which. What a trial came to
lies in a file beside the checkpoints, found by all that decides it. So a search that was
interrupted, is repeated or is made longer takes what is there, and goes on in the midst of a trial.
"""

import hashlib
import json
import logging
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.errors import FatalError

from common.files import write_atomically
from common.text import parse_json
from datasets.info import DatasetInfo
from trainer import halving, run_fn
from trainer.evaluation import make_evaluation
from trainer.training import LOOPS, NonFiniteLossError, train
from trainer.training_config import make_config, resolve_precision

progress = logging.getLogger("mnist_gan.progress")


class TunerFnResult(NamedTuple):
    """As TFX wants it."""

    tuner: BaseTuner
    fit_kwargs: dict[str, Any]


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Makes the search.

    `fn_args` are TFX's FnArgs. Their `custom_config` is the Trainer's, with `trials` (settings that
    are tried at most), `minutes` (after which no training begins; 0 is no limit) and `fixed` (names
    of settings that are not searched).
    """
    custom = fn_args.custom_config
    settings, seed = json.loads(custom["training"]), int(custom["seed"])
    data = DatasetInfo.from_dict(custom["data"])
    splits = [
        run_fn.read_checked(split, files, fn_args.transform_graph_path, data)
        for split, files in (("train", fn_args.train_files), ("eval", fn_args.eval_files))
    ]
    (images, labels), held_out = splits
    config = make_config(**settings)
    evaluate = make_evaluation(
        *held_out,
        data.dataset,
        run_fn.first_extractor(custom, data, *splits),
        config,
        LOOPS[config.model].architecture,
        seed,
    )
    identity = [
        json.dumps([seed, custom["source_hash"], custom["versions"]], sort_keys=True),
        resolve_precision(config.precision),
        *(run_fn.digest_of({"images": x, "labels": y}) for x, y in splits),
    ]

    def run(config: Any, fingerprint: str, name: str) -> list[dict[str, float]]:
        with tempfile.TemporaryDirectory() as folder:  # what TensorBoard has too
            return train(
                images,
                labels,
                config,
                data.num_classes,
                seed,
                checkpoint_dir=pathlib.Path(custom["checkpoint_root"], "tuner"),
                output_dir=folder,
                log_dir=pathlib.Path(custom["tensorboard_root"], "tuner", name),
                fingerprint=fingerprint,
                evaluate=evaluate,
            ).history

    search = Search(
        settings,
        run,
        pathlib.Path(custom["checkpoint_root"], "tuner"),
        working_dir=fn_args.working_dir,
        trials=custom["trials"],
        seconds=60 * custom["minutes"] or float("inf"),
        fixed=custom["fixed"],
        seed=seed,
        identity="\n".join(identity),
    )
    return TunerFnResult(search, {"verbose": 0})


class _Halving(keras_tuner.Oracle):
    """KerasTuner's side of `halving.following`."""

    def __init__(self, drawn: list[dict], plan: list[tuple[int, int]], ends: float, **options: Any):
        super().__init__(**options)
        self._drawn, self._plan, self._ends = drawn, plan, ends

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """What the next trial trains with."""
        fids: list[dict[int, float]] = [{} for _ in self._plan]
        for trial in self.trials.values():
            values = trial.hyperparameters.values
            fids[values["tuner/round"]][values["tuner/number"]] = trial.score
        found = halving.following(self._plan, fids)
        if found is None or time.monotonic() > self._ends:
            return {"status": "STOPPED", "values": None}
        number, of_round = found
        about = {"number": number, "round": of_round, "steps": self._plan[of_round][1]}
        values = self._drawn[number] | {f"tuner/{name}": value for name, value in about.items()}
        return {"status": "RUNNING", "values": values}

    def get_best_trials(self, num_trials: int | None = 1) -> list:
        """Those that trained longest first: FID compares within a round alone."""

        def place(trial: Any) -> tuple:
            finite = np.isfinite(trial.score)
            return not finite, -trial.hyperparameters.values["tuner/steps"], trial.score

        ended = [trial for trial in self.trials.values() if trial.score is not None]
        return sorted(ended, key=place)[:num_trials]


class Search(BaseTuner):
    """Trains for each trial, unless a file tells what it came to.

    Args:
      settings: of the training; those that are searched are tried first as they are here.
      run: trains with a config, a fingerprint and a name; gives the history.
      folder: of the files.
      working_dir: a temporary folder, for what KerasTuner writes.
      trials, seconds, fixed, seed: as in `tuner_fn`.
      identity: what else decides a trial.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        run: Callable[[Any, str, str], list[dict[str, float]]],
        folder: pathlib.Path,
        *,
        working_dir: str,
        trials: int,
        seconds: float,
        fixed: list[str],
        seed: int,
        identity: str,
    ) -> None:
        self._settings, self._run, self._folder, self._identity = settings, run, folder, identity
        space = halving.space(settings["model"], fixed)
        drawn = halving.draw(space, {name: settings[name] for name in space}, trials, seed)
        plan = halving.rounds(len(drawn), settings["steps"])
        self._total, self._made = sum(count for count, _ in plan), 0
        searched = keras_tuner.HyperParameters()
        searched.Fixed("model", settings["model"])
        for name, values in space.items():
            if isinstance(values, list):
                searched.Choice(name, values)
            else:
                searched.Float(name, *values, sampling="log")
        oracle = _Halving(
            [{"model": settings["model"], **one} for one in drawn],
            plan,
            time.monotonic() + seconds,
            objective=keras_tuner.Objective("fid", "min"),
            hyperparameters=searched,
        )
        # KerasTuner's own files would not take up a trial in its midst.
        super().__init__(oracle, directory=working_dir, project_name="search", overwrite=True)

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """FID after the trial's steps; infinite where a loss was not finite."""
        values = trial.hyperparameters.values
        self._made += 1
        chosen = {name: value for name, value in values.items() if "/" not in name}
        steps = values["tuner/steps"]
        own = {"steps": steps, "eval_interval": steps, "teaching": False}
        try:
            config = make_config(**{**self._settings, **chosen, **own})
            key = f"{config.model_dump_json()}\n{self._identity}"
            fingerprint = hashlib.sha256(key.encode()).hexdigest()
            path = self._folder / f"trial-{fingerprint[:24]}.json"
            found = _read(path)
            if found is None:
                name = f"{config.model}_{values['tuner/number']:03}_{steps}_steps_{fingerprint[:8]}"
                found = self._train(config, fingerprint, name)
                write_atomically(path, json.dumps(found))
        except Exception as error:  # KerasTuner would go on, and keep it to itself
            raise FatalError(str(error)) from error
        values["tuner/cpu_seconds"] = found["cpu_seconds"]
        return {"fid": found["fid"]}

    def _train(self, config: Any, fingerprint: str, name: str) -> dict[str, float]:
        def number(record: logging.LogRecord) -> bool:
            if facts := getattr(record, "progress", None):
                facts["of"] = f"steps, training {self._made} of at most {self._total}"
            return True

        keras.utils.clear_session()  # names of layers are part of a checkpoint
        began = time.process_time()
        progress.addFilter(number)
        try:
            history = self._run(config, fingerprint, name)
            fid = next(v for k, v in reversed(history[-1].items()) if k.startswith("fid_"))
        except NonFiniteLossError:
            fid = float("inf")
        finally:
            progress.removeFilter(number)
        return {"fid": fid, "cpu_seconds": time.process_time() - began}

    def on_search_end(self) -> None:
        """Refuses to have found nothing.

        Raises:
          ValueError: no trial has ended.
        """
        if not np.isfinite([trial.score for trial in self.oracle.get_best_trials(None)]).any():
            raise ValueError(
                "no training of the search has ended with a finite loss: allow it more minutes, "
                "and it goes on, or other settings"
            )


def _read(path: pathlib.Path) -> dict[str, float] | None:
    """What a trial came to; None where it has to be trained."""
    try:
        found = parse_json(path.read_text())
        return {name: float(found[name]) for name in ("fid", "cpu_seconds")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        progress.warning("%s is damaged (%s): that trial is trained again", path, error)
        return None
