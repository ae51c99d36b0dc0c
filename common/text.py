"""Text of others: made fit for a terminal, and read as JSON."""

import json
import re
from collections.abc import Callable
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DEEPEST = 100  # lists and objects in one another; what this project writes has less than 30


def plain(text: str) -> str:
    r"""`text` with each control character but line feed and tab as \xNN: none moves a cursor."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def parse_json(text: str | bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """What `json.loads` gives, of a document that anybody may have written.

    Raises:
      ValueError: it is no JSON, or nested so deeply that whoever walks through it would fail.
    """
    try:
        found = json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [found] if isinstance(found, dict | list) else []
    for _ in range(_DEEPEST):
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [item for one in inner for item in one if isinstance(item, dict | list)]
        if not level:
            return found
    raise ValueError("it is nested too deeply")
