"""Text of others, made fit for a terminal."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    r"""`text` with each control character but line feed and tab as \xNN: none moves a cursor."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
