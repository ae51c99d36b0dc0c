"""Settings of a run: typed, validated, composed from the modules that use them.

Each module owns its settings (`DataConfig`, `TrainingConfig` and so on); a preset is a named set
of values for them. On the command line every field is reached by its name: `--set steps=500`.
Needs neither TensorFlow nor TFX.
"""

import difflib
import json
import pathlib
import typing
from collections.abc import Iterable, Mapping

import pydantic

from components import validator_config
from datasets import data_config, names
from judge import judge_config
from trainer import training_config

PRESETS = ("smoke", "standard", "quality")
LESSONS: dict[str, dict[str, str]] = {
    # GANs that fail, for a class: what each changes of `smoke`, judged as `standard` is.
    # A slow discriminator never catches a hasty generator: one image per class.
    "collapse": {
        "optimizer": "adam",
        "learning_rate": "0.005",
        "discriminator_rate_ratio": "0.05",
        "r1_weight": "0",
        "strictness": "standard",
    },
    # A fast discriminator that may be as steep as it likes: its advice on pixels is noise.
    "no-penalty": {
        "optimizer": "adam",
        "discriminator_rate_ratio": "10",
        "r1_weight": "0",
        "strictness": "standard",
    },
    # The same with the loss of the first equation: where the discriminator is sure, the
    # generator's gradient is 0.
    "saturating": {
        "optimizer": "adam",
        "discriminator_rate_ratio": "10",
        "r1_weight": "0",
        "loss": "saturating",
        "strictness": "standard",
    },
}


class SettingsError(ValueError):
    """A setting that does not exist or does not take this value; the message says what would do."""


class Settings(pydantic.BaseModel):
    """Everything that decides a run, apart from the code and the data themselves."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    preset: str
    seed: int = pydantic.Field(
        default=0, ge=0, lt=2**31, description="the one number that all randomness comes from"
    )
    data: data_config.DataConfig
    training: training_config.AnyTrainingConfig
    judge: judge_config.JudgeConfig
    validation: validator_config.ValidatorConfig
    given: frozenset[str] = pydantic.Field(
        default=frozenset(), exclude=True, description="names of those that the user set"
    )

    def for_images(self, size: int) -> "Settings":
        """Itself with as many steps as the preset has for images of this size."""
        if "steps" in self.given:
            return self
        steps = max(1, round(self.training.steps * training_config.STEPS_SHARE[size]))
        return self.model_copy(
            update={"training": self.training.model_copy(update={"steps": steps})}
        )


_SECTIONS = ("data", "training", "judge", "validation")


def load(preset: str = "standard", overrides: Mapping[str, str] | None = None) -> Settings:
    """Composes the settings of a run.

    Args:
      preset: one of PRESETS, or of LESSONS.
      overrides: field name to value, the value as a person types it: JSON where it is JSON
        ("3", "0.5", "true", "[1, 2]", "null"), else the string itself.

    Raises:
      SettingsError: unknown preset, unknown field (with the nearest name) or a value that the
        field does not take (with what it does take).
    """
    if preset not in (*PRESETS, *LESSONS):
        raise SettingsError(
            f"there is no preset {preset!r}{_nearest(preset, (*PRESETS, *LESSONS))}"
        )
    base = "smoke" if preset in LESSONS else preset
    overrides = {**LESSONS.get(preset, {}), **(overrides or {})}
    model = _value(overrides.get("model", training_config.DEFAULT_MODEL))
    values: dict[str, dict] = {
        "data": {},
        "training": {"model": model, **training_config.preset(base, model)},
        "judge": dict(judge_config.PRESETS[base]),
        "validation": {},
    }
    dataset = str(_value(overrides.get("dataset", "auto")))
    if problem := names.misspelt(dataset):
        raise SettingsError(problem)
    values["data"]["data_dir"] = data_config.default_data_dir(dataset)
    top: dict[str, object] = {"preset": preset, "given": overrides.keys()}
    home = {name: section for section in _SECTIONS for name in _fields(section)}
    for name, text in overrides.items():
        if name == "seed":
            top["seed"] = _value(text)
        elif name in home:
            values[home[name]][name] = _value(text)
        else:
            raise SettingsError(
                f"there is no setting {name!r}{_nearest(name, ['seed', *home])} "
                "(`mnist-gan run --settings` lists all)"
            )
    try:
        return Settings.model_validate({**top, **values})
    except pydantic.ValidationError as error:
        raise SettingsError("; ".join(_explain(e) for e in error.errors())) from None


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Splits the `KEY=VALUE` of `--set`.

    Raises:
      SettingsError: there is no "=".
    """
    pairs = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set takes KEY=VALUE, not {assignment!r}")
        pairs[name.strip()] = value.strip()
    return pairs


def describe(settings: Settings) -> list[dict[str, str]]:
    """Every setting that the model uses: `section`, `name`, `value`, `takes`, `description`."""
    rows = [_row("", "seed", Settings.model_fields["seed"], settings.seed)]
    for section in _SECTIONS:
        model = getattr(settings, section)
        for name, value in model.model_dump().items():
            rows.append(_row(section, name, type(model).model_fields[name], value))
    return rows


def _row(section: str, name: str, field: pydantic.fields.FieldInfo, value: object) -> dict:
    shown = value if isinstance(value, str | pathlib.Path) else json.dumps(value, default=str)
    return {
        "section": section,
        "name": name,
        "value": str(shown),
        "takes": _takes(field),
        "description": field.description or "",
    }


def _fields(section: str) -> dict[str, pydantic.fields.FieldInfo]:
    """The settings of a section by name; of the training, those of every model."""
    if section == "training":
        models = training_config.MODELS.values()
        return {name: field for model in models for name, field in model.model_fields.items()}
    return typing.get_type_hints(Settings)[section].model_fields


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _takes(field: pydantic.fields.FieldInfo) -> str:
    """The type and the bounds of a field, for people: 'int, at least 1'."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    bounds = [
        f"{words[key]} {getattr(bound, key)}"
        for bound in field.metadata
        for key in words
        if getattr(bound, key, None) is not None
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: object) -> str:
    """'int', 'path or null', '"hinge" or "non_saturating"'."""
    parts = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(map(str, parts))
    if parts:
        return " or ".join(map(_kind, parts))
    name = getattr(annotation, "__name__", str(annotation))
    return {"NoneType": "null", "Path": "path"}.get(name, name)


def _explain(error: Mapping[str, typing.Any]) -> str:
    section, *rest = (str(part) for part in error["loc"])
    owner, value = Settings.model_fields, error["input"]
    name, takes = rest[0] if rest else section, ""
    if error["type"].startswith("union_tag"):
        name, value, takes = "model", value["model"], " or ".join(training_config.MODELS)
    elif section == "training" and rest:
        model, name = rest[:2]
        owner = training_config.MODELS[model].model_fields
        if name not in owner:
            users = [m for m, c in training_config.MODELS.items() if name in c.model_fields]
            return (
                f"setting {name!r} is not used by model {model!r}, only by "
                f"{' and '.join(users)}; {model} takes {', '.join(owner)}"
            )
    elif rest:
        owner = _fields(section)
    if not takes:
        if name not in owner:
            return f"the settings do not fit together: {error['msg']}"
        takes = _takes(owner[name])
    near = difflib.get_close_matches(str(value), takes.split(" or "), n=1)
    hint = f"did you mean {near[0]!r}?" if near else error["msg"]
    return f"setting {name!r} takes {takes}, not {value!r} ({hint})"


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(names)}"
