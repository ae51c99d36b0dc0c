"""Pause and step, for a class: a file beside the checkpoints says how far a training may go.

The page of `mnist-gan watch` writes it, and the Trainer looks for it where `teaching` is true.
Standard library only.
"""

import json
import pathlib

from common.files import write_atomically
from common.text import parse_json

HOLD_FILE = "hold.json"


class Hold:
    """The file in one training's folder."""

    def __init__(self, training: pathlib.Path):
        self._path = training / HOLD_FILE

    def set(self, step: int | None) -> None:
        """Lets the training go to `step` and wait there; None lets it go on."""
        if step is None:
            self._path.unlink(missing_ok=True)
        else:
            write_atomically(self._path, json.dumps(step))

    @property
    def step(self) -> int | None:
        """Where the training is to wait; None where it is not."""
        try:
            found = parse_json(self._path.read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, int) else None
