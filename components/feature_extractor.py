"""FeatureExtractor: the networks by whose features generators of the data are judged."""

import json

from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components import artifact_types, dataset_properties, properties, reading
from metrics import own_extractors


@component
def FeatureExtractor(
    examples: InputArtifact[standard_artifacts.Examples],
    extractors: OutputArtifact[artifact_types.FeatureExtractors],
    source_hash: Parameter[str] = "",
) -> None:
    """Trains extractors on the train split of data that none are pinned for.

    Args:
      examples: Examples with the splits `train` and `eval`.
      extractors: gets the folder that `own_extractors.train` writes. Its properties are `accuracy`
        (on the eval split, by extractor) and `digests`.
      source_hash: of the code that runs; another hash is another execution.

    Raises:
      ValueError: the examples lack a split or can't be read.
    """
    data = dataset_properties.read(examples)

    folder = own_extractors.made(
        reading.cache_dir(extractors.uri),
        data.dataset,
        data.fingerprint,
        data.num_classes,
        lambda split: reading.read_split(examples, split).arrays,
    )
    found = own_extractors.copied(folder, extractors.uri)["extractors"]
    columns = {
        name: {kind: one[key] for kind, one in found.items() if one[key] is not None}
        for name, key in (("accuracy", "accuracy"), ("digests", "digest"))
    }
    properties.note(
        extractors, {name: json.dumps(facts, sort_keys=True) for name, facts in columns.items()}
    )
