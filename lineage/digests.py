"""What the files of an artifact were when it was made, kept where its lineage is.

The runner notes it right after a node has ended, before anything reads the artifact: TFX's cache
keys cover the properties of input artifacts, so they must not change later.
"""

import contextlib
import json
import os
from collections.abc import Mapping

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as pb

from common.files import combined_digest, file_digests, file_sizes
from common.text import parse_json

DIGEST_PROPERTY = "content_sha256"
FILES_PROPERTY = "content_files"
SIZES_PROPERTY = "content_sizes"

# MySQL keeps a string property in a TEXT of 65,535 bytes. An artifact of more files than that
# holds has its digest alone, and an altered file of it can't be named.
_LONGEST = 60_000


def content_properties(uri: str | os.PathLike) -> dict[str, str]:
    """The custom properties that record what lies at `uri`; {} when that is no local folder."""
    if not os.path.isdir(uri):
        return {}
    files = file_digests(uri)
    properties = {DIGEST_PROPERTY: combined_digest(files)}
    for key, facts in ((FILES_PROPERTY, files), (SIZES_PROPERTY, file_sizes(uri))):
        listing = json.dumps(facts, sort_keys=True, separators=(",", ":"))
        if len(listing) <= _LONGEST:
            properties[key] = listing
    return properties


def differences(
    properties: Mapping[str, object], folder: str | os.PathLike, *, full: bool = False
) -> list[str]:
    """What of an artifact is not as it was recorded, such as "Split-train/x.gz is missing".

    Args:
      properties: those of the artifact, parsed or as `content_properties` gave them. Stores of
        older versions have no sizes: names are compared then. Without any record nothing is.
      folder: where its files lie.
      full: compare the digests of all files; without it names and sizes, which takes milliseconds.
    """
    if DIGEST_PROPERTY not in properties:
        return []
    if not os.path.isdir(folder):
        return ["its folder is missing"]
    files, sizes = (_mapping(properties.get(k)) for k in (FILES_PROPERTY, SIZES_PROPERTY))
    now = file_sizes(folder)
    known = sizes if files is None else files
    faults = []
    if known is not None:
        faults += [f"{name} is missing" for name in sorted(known.keys() - now.keys())]
        faults += [f"{name} was added" for name in sorted(now.keys() - known.keys())]
    for name, size in sorted((sizes or {}).items()):
        if isinstance(size, int) and now.get(name, size) != size:
            faults.append(f"{name} has {now[name]:,} bytes and had {size:,}")
    if full and not faults:
        digests = file_digests(folder)
        if files is not None:
            faults += [f"{name} was altered" for name in files if digests[name] != files[name]]
        elif combined_digest(digests) != properties[DIGEST_PROPERTY]:
            faults.append("a file of it was altered")
    return faults


def _mapping(value: object) -> dict | None:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = parse_json(value)
    return value if isinstance(value, dict) else None


def note_digests(client: mlmd.MetadataStore, execution_id: int) -> None:
    """Records the content of every output of an execution that has ended.

    Outputs that have a record (those from the cache) keep it. The client may write.
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
