"""Types of artifacts that are none of TFX's own; each is named after where it can be imported."""

from tfx.types import artifact


class DataGateReport(artifact.Artifact):
    """A folder with `data_gate.json`: numbers of examples and of labels, split by split."""

    TYPE_NAME = "components.DataGateReport"


class FeatureExtractors(artifact.Artifact):
    """A folder of extractors' weights with their digests, and `extractors.json`."""

    TYPE_NAME = "components.FeatureExtractors"


class InService(artifact.Artifact):
    """The version that a generator is compared with, in its properties; none where it has none."""

    TYPE_NAME = "components.InService"


class SpanDrift(artifact.Artifact):
    """A folder with `drift.json`, also in its properties, and `spans.png`: images of both."""

    TYPE_NAME = "components.SpanDrift"
