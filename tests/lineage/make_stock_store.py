"""Makes `data/stock_tfx.sql`: the ML Metadata of a TFX pipeline that is not this project's.

    python -m tests.lineage.make_stock_store

Stock components (CsvExampleGen, StatisticsGen, SchemaGen, Transform, Resolver, Pusher) and two
function components run under the stock LocalDagRunner: a first run, a second one that takes from
the cache what it can, and a third in which the trainer raises. The store is kept as text, with
its folder renamed to /stock, so that a reader can look into it.
"""

import pathlib
import sqlite3
import tempfile

from tfx import v1 as tfx
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types.standard_artifacts import Examples, Model, ModelBlessing, TransformGraph

ROWS = "a,b,label\n" + "".join(f"{i},{i * i % 7},{i % 2}\n" for i in range(40))
DUMP = pathlib.Path(__file__).parent / "data" / "stock_tfx.sql"


def preprocessing_fn(inputs):
    """Scales nothing: what matters here is what TFX records."""
    return {name: inputs[name] for name in ("a", "b", "label")}


@component
def TinyTrainer(
    examples: InputArtifact[Examples],
    transform_graph: InputArtifact[TransformGraph],
    model: OutputArtifact[Model],
    steps: Parameter[int],
):
    """Writes a file where a model would be; negative steps raise."""
    if steps < 0:
        raise ValueError("steps must not be negative")
    folder = pathlib.Path(model.uri, "Format-Serving")
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"a model")


@component
def TinyJudge(
    model: InputArtifact[Model],
    blessing: OutputArtifact[ModelBlessing],
    baseline_model: InputArtifact[Model] = None,
):
    """Blesses whatever it gets."""
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_string_custom_property("current_model", model.uri)
    blessing.set_int_custom_property("current_model_id", model.id)
    pathlib.Path(blessing.uri, "BLESSED").touch()


def make_pipeline(folder: pathlib.Path, steps: int) -> tfx.dsl.Pipeline:
    """The pipeline, in `folder`."""
    gen = tfx.components.CsvExampleGen(input_base=str(folder / "data"))
    statistics = tfx.components.StatisticsGen(examples=gen.outputs["examples"])
    schema = tfx.components.SchemaGen(statistics=statistics.outputs["statistics"])
    transform = tfx.components.Transform(
        examples=gen.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="tests.lineage.make_stock_store.preprocessing_fn",
    )
    trainer = TinyTrainer(
        examples=transform.outputs["transformed_examples"],
        transform_graph=transform.outputs["transform_graph"],
        steps=steps,
    )
    baseline = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=Model),
        model_blessing=tfx.dsl.Channel(type=ModelBlessing),
    ).with_id("latest_blessed")
    judge = TinyJudge(model=trainer.outputs["model"], baseline_model=baseline.outputs["model"])
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=judge.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(folder / "serving"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(folder / "root"),
        components=[gen, statistics, schema, transform, trainer, baseline, judge, pusher],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folder / "metadata.sqlite")
        ),
    )


def main() -> None:
    """Runs the pipeline three times and writes the dump."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "data").mkdir()
        (folder / "data" / "rows.csv").write_text(ROWS)
        runner = tfx.orchestration.LocalDagRunner()
        for steps in (10, 10, -1):
            try:
                runner.run(make_pipeline(folder, steps))
            except ValueError as error:
                print(f"as wanted: {error}")
        with sqlite3.connect(folder / "metadata.sqlite") as connection:
            dump = "\n".join(connection.iterdump()) + "\n"
    DUMP.parent.mkdir(exist_ok=True)
    DUMP.write_text(dump.replace(name, "/stock"))


if __name__ == "__main__":
    main()
