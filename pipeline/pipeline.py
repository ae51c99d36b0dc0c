"""The DAG, on one screen.

    MnistExampleGen -> StatisticsGen -> SchemaGen -> ExampleSchema -> ExampleValidator -> DataGate
          |                                  of spans: SpanDrift ---^            anomalies stop it
          +---> Transform (after DataGate) -> Trainer -+-> GeneratorValidator -+-> Pusher
          |                                            +-> Evaluator ----------+
          |                                                  ^  ^
          +---> FeatureExtractor, of data other than digits -+  Baseline: the version in service

With the setting `base_model`, BaseModel looks up the latest blessed generator for the Trainer; with
`hyperparameters`, BestHyperparameters what `mnist-gan tune` found: a Tuner in the Trainer's place.

`create_pipeline` has pure arguments: no globals, no environment, and nothing runs.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_data_validation as tfdv
from tfx.components import (
    ExampleValidator,
    Pusher,
    SchemaGen,
    StatisticsGen,
    Trainer,
    Transform,
    Tuner,
)
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.dsl.components.base import executor_spec
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.data_types import RuntimeParameter
from tfx.proto import pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import Channel, standard_artifacts

from common.files import combined_digest, file_digest
from common.images import PINNED_FOR
from common.workspace import PIPELINE_NAME
from components import pusher as pusher_node
from components.baseline import Baseline
from components.data_gate import DataGate
from components.evaluator import Evaluator
from components.example_schema import ExampleSchema, statistics_schema
from components.feature_extractor import FeatureExtractor
from components.generator_validator import GeneratorValidator
from components.mnist_example_gen import MnistExampleGen, content_of
from components.span_drift import SpanDrift
from datasets.source import DataSource
from metrics.features import EXTRACTORS
from pipeline import provenance
from pipeline.configs import Settings
from trainer import halving

# Nodes that only look up what is there already; a run's report leaves them out.
LOOKUPS = frozenset({"Baseline", "BaseModel", "BestHyperparameters"})

# What is drawn while a generator trains is no part of it.
NOT_LEARNT = ("trainer.summaries",)

# Named by its path, since Beam's default runner differs from version to version; in this process,
# since starting workers takes longer than all of MNIST. The image is never used by it: any value
# spares TFX packing itself up for workers elsewhere, at each node.
LOCAL_BEAM = (
    "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "--sdk_container_image=none",
)


def create_pipeline(
    *,
    settings: Settings,
    data: DataSource,
    metadata_path: str | os.PathLike,
    pipeline_root: str | os.PathLike,
    serving_base: str | os.PathLike,
    checkpoint_root: str | os.PathLike,
    tensorboard_root: str | os.PathLike,
    beam_args: Sequence[str] = (),
    force_bless: str = "",
    replace: str = "",
    model_server: str = "",
    search: Mapping[str, Any] | None = None,
    run_id: str | None = None,
) -> tfx_pipeline.Pipeline:
    """Puts the nodes together.

    Args:
      settings, data: what to do, and with which data set, found and checked.
      metadata_path: SQLite file of ML Metadata.
      pipeline_root: folder of the artifacts.
      serving_base: TF Serving's base path of the model.
      checkpoint_root: folder of the Trainer's checkpoints, which outlive a failed node.
      tensorboard_root: folder of TensorBoard's logs of all runs.
      beam_args: flags for Beam, after the defaults.
      force_bless, replace: reasons, as the Evaluator takes them; "" is the rule.
      model_server: the program that the generator is tried on, in place of what the settings
        say; "" leaves it to them.
      search: `trials`, `minutes` and `fixed`, as `trainer.tuning.tuner_fn` takes them: a Tuner
        follows the data instead of the Trainer and what judges its model. None is no search.
      run_id: another one for each run, or what the runner puts one in the place of; None is what
        runners of TFX's intermediate representation know.

    Raises:
      ValueError: nothing is left to search, or a setting asks for what only a training can do.
    """
    example_gen = MnistExampleGen(
        data_source=content_of(data),
        source_hash=provenance.source_hash("components.mnist_example_gen"),
    )
    examples = example_gen.outputs["examples"]

    statistics_gen = StatisticsGen(
        examples=examples,
        stats_options=tfdv.StatsOptions(schema=statistics_schema()),
    )
    statistics = statistics_gen.outputs["statistics"]
    schema_gen = SchemaGen(statistics=statistics, infer_feature_shape=True)
    # An inferred schema agrees with any data; this one knows what an example must be.
    example_schema = ExampleSchema(
        inferred_schema=schema_gen.outputs["schema"],
        examples=examples,
        source_hash=provenance.source_hash("components.example_schema"),
    )
    schema = example_schema.outputs["example_schema"]
    example_validator = ExampleValidator(statistics=statistics, schema=schema)
    span_drift = None
    if data.compared:
        newest, before = data.compared
        span_drift = SpanDrift(
            newest=content_of(newest),
            before=content_of(before),
            source_hash=provenance.source_hash("components.span_drift"),
        )
    data_gate = DataGate(
        examples=examples,
        statistics=statistics,
        anomalies=example_validator.outputs["anomalies"],
        drift_report=span_drift.outputs["drift_report"] if span_drift else None,
        max_image_drift=settings.data.max_image_drift,
        max_label_drift=settings.data.max_label_drift,
        source_hash=provenance.source_hash("components.data_gate"),
    )

    # No materialised output: the Trainer maps the graph over PNGs of 300 bytes in a few seconds,
    # where the transformed floats would be 220 MB to write and to read.
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="components.preprocessing.preprocessing_fn",
        splits_config=transform_pb2.SplitsConfig(analyze=["train"]),
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
        custom_config={
            "image_shape": list(data.image_shape),
            "source_hash": provenance.source_hash("components.preprocessing"),
        },
    )
    transform.add_upstream_node(data_gate)

    # The judge's networks; those for digits are pinned.
    feature_extractor = None
    if data.dataset not in PINNED_FOR:
        feature_extractor = FeatureExtractor(
            examples=examples,
            source_hash=provenance.source_hash("components.feature_extractor"),
        )
        feature_extractor.add_upstream_node(data_gate)

    training = {
        "training": settings.training.model_dump_json(),
        "seed": settings.seed,
        "preset": settings.preset,
        "data": data.to_dict(),
        "checkpoint_root": str(checkpoint_root),
        "tensorboard_root": str(tensorboard_root),
        "versions": provenance.library_versions("Trainer"),
    }
    networks = _networks_digest(getattr(settings.training, "networks", None))

    def pipeline(*more: BaseNode) -> tfx_pipeline.Pipeline:
        return tfx_pipeline.Pipeline(
            pipeline_name=PIPELINE_NAME,
            pipeline_root=str(pipeline_root),
            metadata_connection_config=metadata.sqlite_metadata_connection_config(
                str(metadata_path)
            ),
            components=[
                example_gen,
                statistics_gen,
                schema_gen,
                example_schema,
                example_validator,
                *([span_drift] if span_drift else []),
                data_gate,
                transform,
                *([feature_extractor] if feature_extractor else []),
                *more,
            ],
            enable_cache=True,
            beam_pipeline_args=[*LOCAL_BEAM, *beam_args],
        )

    if search is not None:
        if settings.training.base_model or settings.training.hyperparameters:
            raise ValueError("a search takes neither base_model nor hyperparameters: a run does")
        halving.space(settings.training.model, search["fixed"])
        tuner = Tuner(
            tuner_fn="trainer.tuning.tuner_fn",
            examples=examples,
            transform_graph=transform.outputs["transform_graph"],
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
            custom_config={
                **training,
                **search,
                "source_hash": provenance.source_hash("trainer.tuning", without=NOT_LEARNT)
                + networks,
            },
        )
        if feature_extractor:
            tuner.add_upstream_node(feature_extractor)
        return pipeline(tuner)

    base_model = None
    if settings.training.base_model == "latest":
        base_model = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("BaseModel")

    best = None
    if settings.training.hyperparameters == "latest":
        best = Resolver(
            strategy_class=LatestArtifactStrategy,
            hyperparameters=Channel(type=standard_artifacts.HyperParameters),
        ).with_id("BestHyperparameters")

    trainer = Trainer(
        run_fn="trainer.run_fn.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema,
        base_model=base_model.outputs["model"] if base_model else None,
        hyperparameters=best.outputs["hyperparameters"] if best else None,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
        custom_config={
            **training,
            # The user's networks decide the generator too.
            "source_hash": provenance.source_hash("trainer.run_fn", without=NOT_LEARNT) + networks,
        },
    )
    if feature_extractor and settings.training.eval_interval:
        trainer.add_upstream_node(feature_extractor)  # it looks at its features as it trains

    # Before the judge: nobody need wait for its verdict on a generator that no server can serve.
    generator_validator = GeneratorValidator(
        model=trainer.outputs["model"],
        validator_config=settings.validation.model_copy(
            update={"model_server": model_server or settings.validation.model_server}
        ).model_dump_json(),
        # The local server runs in a process of its own, so nothing here imports it.
        source_hash=provenance.source_hash(
            "components.generator_validator", "serving.guard", "serving.server.main"
        ),
    )

    baseline = Baseline(
        candidate=trainer.outputs["model"],
        serving_base=str(serving_base),
        run=run_id or RuntimeParameter(PIPELINE_RUN_ID_PARAMETER_NAME, str),
    )

    evaluator = Evaluator(
        examples=examples,
        model=trainer.outputs["model"],
        in_service=baseline.outputs["in_service"],
        extractors=feature_extractor.outputs["extractors"] if feature_extractor else None,
        serving_base=str(serving_base),
        judge_config=settings.judge.model_dump_json(),
        seed=settings.seed,
        preset=settings.preset,
        extractor_digest=_extractors_digest(),
        force_bless=force_bless,
        replace=replace,
        source_hash=provenance.source_hash("components.evaluator"),
    )

    # Blessings gate the push as an input rather than as a condition: a rejected generator still
    # has a Pusher execution, with the reason.
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        infra_blessing=generator_validator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(serving_base))
        ),
        custom_executor_spec=executor_spec.ExecutorClassSpec(pusher_node.Executor),
        custom_config={"source_hash": provenance.source_hash("components.pusher")},
    )

    return pipeline(
        *([base_model] if base_model else []),
        *([best] if best else []),
        trainer,
        generator_validator,
        baseline,
        evaluator,
        pusher,
    )


def _networks_digest(path: str | None) -> str:
    """Of the user's networks; "" where there are none.

    Raises:
      ValueError: there is no such file.
    """
    if path is None:
        return ""
    if not pathlib.Path(path).is_file():
        raise ValueError(f"networks: there is no file {path}")
    return f"-{file_digest(path)[:16]}"


def _extractors_digest() -> str:
    """SHA-256 of the weights of all pinned feature extractors."""
    return combined_digest({name: file_digest(path) for name, path in EXTRACTORS.items()})
