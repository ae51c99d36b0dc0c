"""Counters, histograms and the page that Prometheus reads, under TF Serving's names.

TF Serving's names begin with a colon and its counters do not end in `_total`; prometheus-client
would rename them, so the few lines that write the text format are here. Needs no TensorFlow.
"""

import bisect
import threading
from collections.abc import Sequence

_LATENCY = [10 * 1.8**i for i in range(33)]
_SIZES = [float(2**i) for i in range(15)]


class Metric:
    """A counter, gauge or histogram with labels.

    Attributes:
      name: TF Serving's, with slashes; Prometheus reads it with colons.
    """

    def __init__(self, name: str, kind: str, *labels: str, bounds: Sequence[float] = ()):
        """Makes a metric without values.

        Args:
          name: TF Serving's, without what all begin with.
          kind: counter, gauge or histogram.
          labels: names of the labels.
          bounds: upper bounds of a histogram's buckets, ascending, without infinity.
        """
        self.name = f"/tensorflow/serving/{name}"
        self._kind = kind
        self._labels = labels
        self._bounds = bounds
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], list[float]] = {}

    def add(self, labels: Sequence[str], amount: float = 1) -> None:
        """Counts (counter) or observes (histogram) an amount."""
        with self._lock:
            if self._kind != "histogram":
                self._values.setdefault(tuple(labels), [0])[0] += amount
                return
            # A count for each bucket and one for what is above all bounds, then the sum.
            cell = self._values.setdefault(tuple(labels), [0] * (len(self._bounds) + 2))
            cell[bisect.bisect_right(self._bounds, amount)] += 1
            cell[-1] += amount

    def set(self, labels: Sequence[str], value: float) -> None:
        """Sets a gauge."""
        with self._lock:
            self._values[tuple(labels)] = [value]

    def remove(self, labels: Sequence[str]) -> None:
        """Forgets a gauge's value."""
        with self._lock:
            self._values.pop(tuple(labels), None)

    def first_value(self) -> int:
        """The value of the first combination of labels; 0 for a histogram and for none."""
        with self._lock:
            return int(next(iter(self._values.values()), [0])[0]) if not self._bounds else 0

    def lines(self) -> list[str]:
        """The metric in Prometheus' text format."""
        with self._lock:
            values = {key: list(cell) for key, cell in self._values.items()}
        shown = self.name.replace("/", ":")
        lines = [f"# TYPE {shown} {self._kind}"]
        for key, cell in values.items():
            pairs = [f'{n}="{_escape(v)}"' for n, v in zip(self._labels, key, strict=True)]
            labels = ",".join(pairs)
            if self._kind != "histogram":
                lines.append(f"{shown}{{{labels}}} {cell[0]:.15g}")
                continue
            count = 0.0
            for bound, in_bucket in zip([*self._bounds, None], cell[:-1], strict=True):
                count += in_bucket
                le = "+Inf" if bound is None else f"{bound:.6g}"
                limits = ",".join([*pairs, f'le="{le}"'])
                lines.append(f"{shown}_bucket{{{limits}}} {count:.15g}")
            lines.append(f"{shown}_sum{{{labels}}} {cell[-1]:.15g}")
            lines.append(f"{shown}_count{{{labels}}} {count:.15g}")
        return lines


class Metrics:
    """TF Serving's metrics that have a meaning here."""

    def __init__(self):
        self.request_count = Metric("request_count", "counter", "model_name", "status")
        self.request_latency = Metric(
            "request_latency", "histogram", "model_name", "API", "entrypoint", bounds=_LATENCY
        )
        self.runtime_latency = Metric(
            "runtime_latency", "histogram", "model_name", "API", "runtime", bounds=_LATENCY
        )
        self.request_example_counts = Metric(
            "request_example_counts", "histogram", "model", bounds=_SIZES
        )
        self.request_example_count_total = Metric("request_example_count_total", "counter", "model")
        self.model_warmup_latency = Metric(
            "model_warmup_latency", "histogram", "model_path", "status", bounds=_LATENCY
        )
        # TF Serving's page can't print the text of this gauge; here it is a label.
        self.mlmd_map = Metric("mlmd_map", "gauge", "model_name", "version", "mlmd_uuid")

    def first_value(self, name: str) -> int:
        """The first value of the counter with TF Serving's name `name`; 0 where there is none."""
        return next((m.first_value() for m in vars(self).values() if m.name == name), 0)

    def page(self) -> str:
        """What `/monitoring/prometheus/metrics` answers."""
        lines = [line for metric in vars(self).values() for line in metric.lines()]
        return "\n".join(lines) + "\n"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
