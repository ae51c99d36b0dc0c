"""What the files of an artifact were when it was made, kept where its lineage is.

The runner notes it right after a node has ended, before anything reads the artifact: TFX's cache
keys cover the properties of input artifacts, so they must not change later.
"""

import json
import os

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from common.files import combined_digest, file_digests

DIGEST_PROPERTY = "content_sha256"
FILES_PROPERTY = "content_files"

# MySQL keeps a string property in a TEXT of 65,535 bytes. An artifact of more files than that
# holds has its digest alone, and an altered file of it can't be named.
_LONGEST = 60_000


def content_properties(uri: str | os.PathLike) -> dict[str, str]:
    """The custom properties that record what lies at `uri`; {} when that is no local folder."""
    if not os.path.isdir(uri):
        return {}
    files = file_digests(uri)
    properties = {DIGEST_PROPERTY: combined_digest(files)}
    listing = json.dumps(files, sort_keys=True, separators=(",", ":"))
    if len(listing) <= _LONGEST:
        properties[FILES_PROPERTY] = listing
    return properties


def note_digests(client: mlmd.MetadataStore, execution_id: int) -> None:
    """Records the content of every output of an execution that has ended.

    Outputs that have a record (those from the cache) keep it.

    Args:
      client: an ML Metadata store that may be written.
      execution_id: of the execution.
    """
    ids = {
        event.artifact_id
        for event in client.get_events_by_execution_ids([execution_id])
        if event.type == pb.Event.OUTPUT
    }
    noted = []
    for artifact in client.get_artifacts_by_id(sorted(ids)):
        if DIGEST_PROPERTY in artifact.custom_properties:
            continue
        if properties := content_properties(artifact.uri):
            for key, value in properties.items():
                artifact.custom_properties[key].string_value = value
            noted.append(artifact)
    if noted:
        client.put_artifacts(noted)
