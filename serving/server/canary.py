"""A share of the requests for a version on trial, and what shows that it is worse than the other.

`canary.json` among a base path's versions says which version is on trial, which one is stable and
how many of a hundred requests that name no version the first one gets. `mnist-gan versions canary`
writes it, the local server follows it; TF Serving ignores it and needs a proxy that shares by label
(`serving/config/envoy.yaml`, `istio.yaml`). Needs no TensorFlow.
"""

import collections
import dataclasses
import json
import logging
import math
import os
import pathlib
import random
import threading
import time

import numpy as np

from common.files import write_atomically
from common.text import parse_json

log = logging.getLogger(__name__)

FILE_NAME = "canary.json"
_LOOK_SECONDS = 0.2  # between two looks at the file
_EVERY = 25  # requests of the canary between two comparisons
_LEAST = 50  # requests of either version before the first one
# Standard deviations: by chance alone once in 30,000 comparisons.
_CREDIBLE = 4.0
_MORE_ERRORS = 0.02  # differences below are let pass, however certain
_SLOWER = 1.5
_REMEMBERED = 500  # latencies of each version


@dataclasses.dataclass(frozen=True)
class Canary:
    """What `canary.json` says.

    Attributes:
      version: the one on trial.
      stable: the one that gets the other requests.
      share: of a hundred requests that name no version, those for the one on trial.
      aborted: why a server stopped the trial, "" while it goes on.
    """

    version: int
    stable: int
    share: float
    aborted: str = ""

    def __post_init__(self):
        """Raises ValueError where a number is out of range."""
        if not 0 <= self.share <= 100:
            raise ValueError(f"the share must be 0 to 100 per cent, not {self.share}")
        if self.version == self.stable:
            raise ValueError(f"version {self.version} can't be the canary and the stable version")

    def write(self, base_path: str | os.PathLike) -> None:
        """Writes it among the versions under `base_path`."""
        content = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        write_atomically(pathlib.Path(base_path, FILE_NAME), content)


def read(base_path: str | os.PathLike) -> Canary | None:
    """The trial under a base path, None where there is none.

    Raises:
      ValueError: the file can't be read as one.
    """
    path = pathlib.Path(base_path, FILE_NAME)
    try:
        return Canary(**parse_json(path.read_text()))
    except FileNotFoundError:
        return None
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not describe a canary: {error}") from None


@dataclasses.dataclass
class _Counts:
    requests: int = 0
    errors: int = 0
    seconds: collections.deque[float] = dataclasses.field(
        default_factory=lambda: collections.deque(maxlen=_REMEMBERED)
    )


class Router:
    """Shares requests between the two versions and ends a trial that goes badly."""

    def __init__(self, base_path: str | os.PathLike, seed: int | None = None):
        """Follows `canary.json` under `base_path`; `seed` makes the shares repeatable."""
        self._base_path = base_path
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._looked = -math.inf
        self._stamp: object = None
        self._canary: Canary | None = None
        self._counts: dict[int, _Counts] = {}

    def choose(self) -> int | None:
        """The version for a request that names none; None where the newest is to answer."""
        with self._lock:
            self._look()
            if self._canary is None:
                return None
            is_canary = 100 * self._random.random() < self._canary.share
            return self._canary.version if is_canary else self._canary.stable

    def record(self, version: int, failed: bool, seconds: float) -> None:
        """Counts an answer of a version that `choose` gave."""
        with self._lock:
            counts = self._counts.get(version)
            if counts is None or self._canary is None:
                return
            counts.requests += 1
            counts.errors += failed
            if not failed:
                counts.seconds.append(seconds)
            canary = self._canary
            if version != canary.version or not canary.share or counts.requests % _EVERY:
                return
            reason = _worse(self._counts[canary.version], self._counts[canary.stable])
            if not reason:
                return
            self._canary = dataclasses.replace(canary, share=0, aborted=reason)
        log.error("version %d gets no further requests: %s", version, reason)
        try:
            self._canary.write(self._base_path)
        except OSError as error:
            log.error("%s can't be written: %s", FILE_NAME, error)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        try:
            status = os.stat(os.path.join(self._base_path, FILE_NAME))
            stamp = (status.st_mtime_ns, status.st_ino)
        except OSError:
            stamp = None
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            found = read(self._base_path)
        except ValueError as error:
            log.error("%s", error)
            return
        before = self._canary
        self._canary = found
        if found is None:
            self._counts = {}
        elif before is None or (before.version, before.stable) != (found.version, found.stable):
            self._counts = {found.version: _Counts(), found.stable: _Counts()}
            log.info("version %d gets %g %% of the requests", found.version, found.share)


def _worse(canary: _Counts, stable: _Counts) -> str:
    """In which way the canary is worse beyond chance; "" if in none."""
    if min(canary.requests, stable.requests) < _LEAST:
        return ""
    failed, usual = canary.errors / canary.requests, stable.errors / stable.requests
    together = (canary.errors + stable.errors) / (canary.requests + stable.requests)
    spread = math.sqrt(together * (1 - together) * (1 / canary.requests + 1 / stable.requests))
    if failed - usual > max(_MORE_ERRORS, _CREDIBLE * spread):
        return f"{failed:.1%} of its requests fail, {usual:.1%} of the stable version's"
    if min(len(canary.seconds), len(stable.seconds)) < _LEAST:
        return ""
    ours, theirs = np.array(canary.seconds), np.array(stable.seconds)
    slower, usual = np.median(ours), np.median(theirs)
    if slower > _SLOWER * usual and _rank_deviation(ours, theirs) > _CREDIBLE:
        return f"its answers take {slower * 1e3:.3g} ms, the stable version's {usual * 1e3:.3g} ms"
    return ""


def _rank_deviation(first: np.ndarray, second: np.ndarray) -> float:
    """Standard deviations by which `first` ranks above `second` (Mann and Whitney 1947)."""
    n, m = len(first), len(second)
    wins = np.searchsorted(np.sort(second), first).sum()
    return (wins - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)
