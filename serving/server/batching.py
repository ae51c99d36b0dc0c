"""Requests that arrive together are computed together, as TF Serving's batching session does it.

Threads that answer requests hand their arrays to a `BatchScheduler` and wait. Its own threads put
the rows of several requests together along the first dimension, run the model once and give each
request its rows back. Parameters, limits and errors are TF Serving's; two things are kinder: where
a batch fails, its requests are run one by one, so that nobody gets an error for another's request,
and requests whose shapes differ beyond the first dimension go into different batches. Needs no
TensorFlow.
"""

import concurrent.futures
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from serving.server import text_protos
from serving.server.errors import Code, ServingError, failed_precondition, invalid_argument

MAX_THREADS = 1024
# Computes tensors: arrays by tensor name, names of what to compute, seconds -> one array for each.
Compute = Callable[[Mapping[str, np.ndarray], Sequence[str], float | None], list[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Parameters:
    """TF Serving's BatchingParameters with its defaults.

    Attributes:
      max_batch_size: rows of the largest request, and of the largest batch where none is split.
      batch_timeout_micros: longest time that a request waits for others.
      max_enqueued_batches: batches that may wait for a thread, for each signature.
      num_batch_threads: batches computed at once.
      allowed_batch_sizes: ascending; a batch is padded to the next of them. Empty allows all.
      enable_large_batch_splitting: a request may be spread over several batches.
      max_execution_batch_size: rows of the largest batch, where requests are split.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    def __post_init__(self):
        """Raises ValueError where parameters contradict each other or are out of range."""
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; was {getattr(self, name)}")
        for name in ("batch_timeout_micros", "max_execution_batch_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0; was {getattr(self, name)}")
        if self.num_batch_threads > MAX_THREADS:
            raise ValueError(f"num_batch_threads must be at most {MAX_THREADS}")
        sizes = self.allowed_batch_sizes
        if any(a >= b for a, b in zip((0, *sizes), sizes, strict=False)):
            raise ValueError("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.largest_batch:
            raise ValueError(
                f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.largest_batch}"
            )
        if self.largest_batch > self.max_batch_size:
            raise ValueError(
                f"max_batch_size ({self.max_batch_size}) must be at least "
                f"max_execution_batch_size ({self.max_execution_batch_size})"
            )

    @property
    def largest_batch(self) -> int:
        """Rows of the largest batch."""
        splits = self.enable_large_batch_splitting and self.max_execution_batch_size
        return self.max_execution_batch_size if splits else self.max_batch_size


def read(path: str | os.PathLike) -> Parameters:
    """The parameters in a text BatchingParameters.

    Raises:
      OSError: the file can't be read.
      ValueError: it is no such message, or asks for what is not implemented.
    """
    message = text_protos.read(path, text_protos.BatchingParameters)
    if message.pad_variable_length_inputs:
        raise ValueError(
            f"{path}: pad_variable_length_inputs is not implemented in this local server"
        )
    values = {
        field.name: getattr(message, field.name).value
        for field, _ in message.ListFields()
        if field.name in Parameters.__dataclass_fields__ and field.name != "allowed_batch_sizes"
    }
    try:
        return Parameters(**values, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@dataclasses.dataclass(eq=False)
class _Task:
    """A request, or a part of one."""

    feeds: dict[str, np.ndarray]
    rows: int
    born: float
    deadline: float | None
    answer: concurrent.futures.Future = dataclasses.field(default_factory=concurrent.futures.Future)


class BatchScheduler:
    """The threads and the queues, shared by all models of a server."""

    def __init__(self, parameters: Parameters):
        """Starts the threads."""
        self.parameters = parameters
        self._changed = threading.Condition()
        # What waits, by what is computed: function, inputs, outputs. An empty one is removed.
        self._queues: dict[tuple, list[_Task]] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(
        self,
        compute: Compute,
        feeds: Mapping[str, np.ndarray],
        fetches: Sequence[str],
        timeout: float | None = None,
    ) -> list[np.ndarray]:
        """Computes tensors together with other requests for the same; waits for them.

        Takes what `Engine.run` takes, and `compute`, which gets the rows of several requests.

        Raises:
          ServingError: INVALID_ARGUMENT for arrays that make no batch; UNAVAILABLE where the queue
            is full; RESOURCE_EXHAUSTED where the time was up before a thread was free; else what
            `compute` raises.
        """
        rows = self._rows(feeds)
        if not rows:  # a batch of nothing
            return compute(feeds, fetches, timeout)
        shapes = tuple((name, a.dtype, a.shape[1:]) for name, a in sorted(feeds.items()))
        key = (compute, shapes, tuple(fetches))
        limit, born = self.parameters.largest_batch, time.monotonic()
        deadline = None if timeout is None else born + timeout
        tasks = []
        for start in range(0, rows, limit):
            part = {name: array[start : start + limit] for name, array in feeds.items()}
            tasks.append(_Task(part, min(limit, rows - start), born, deadline))
        with self._changed:
            queue = self._queues.get(key, []) + tasks
            if len(self._batches(queue)) > self.parameters.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"task size is {rows}",
                )
            self._queues[key] = queue
            # A thread is to know of the first task, for its timeout, and of a batch that is full.
            if len(queue) == len(tasks) or self._due(queue) <= born:
                self._changed.notify()
        parts = [task.answer.result() for task in tasks]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def stop(self) -> None:
        """Ends the threads; what waits is computed first."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _rows(self, feeds: Mapping[str, np.ndarray]) -> int:
        if any(not array.ndim for array in feeds.values()):
            raise invalid_argument("Batching input tensors must have at least one dimension")
        sizes = {array.shape[0] for array in feeds.values()}
        if len(sizes) > 1:
            raise invalid_argument(
                "Batching input tensors must have equal 0th-dimension size; "
                f"got {', '.join(map(str, sorted(sizes)))}"
            )
        rows = sizes.pop() if sizes else 0
        limit = self.parameters.max_batch_size
        if rows > limit and not self.parameters.enable_large_batch_splitting:
            raise invalid_argument(
                f"Task size {rows} is larger than maximum input batch size {limit}"
            )
        return rows

    def _batches(self, queue: list[_Task]) -> list[list[_Task]]:
        """The tasks of a queue as they fit into batches, in order."""
        batches: list[list[_Task]] = []
        free = 0
        for task in queue:
            if task.rows > free:
                batches.append([])
                free = self.parameters.largest_batch
            batches[-1].append(task)
            free -= task.rows
        return batches

    def _due(self, queue: list[_Task]) -> float:
        """When the first batch of a queue is to be computed: at once where it is full."""
        if self._stopping or sum(task.rows for task in queue) >= self.parameters.largest_batch:
            return 0.0
        return queue[0].born + self.parameters.batch_timeout_micros / 1e6

    def _next(self) -> tuple[tuple, list[_Task]] | None:
        """The batch to compute now, taken from its queue (lock held); None if none is due."""
        for key, queue in self._queues.items():
            if self._due(queue) <= time.monotonic():
                batch = self._batches(queue)[0]
                # The queue goes to the end, or away: the others have their turn first.
                del self._queues[key]
                if rest := queue[len(batch) :]:
                    self._queues[key] = rest
                    self._changed.notify()
                return key, batch
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                while (found := self._next()) is None:
                    if self._stopping and not self._queues:
                        return
                    dues = [self._due(queue) for queue in self._queues.values()]
                    self._changed.wait(max(0.0, min(dues) - time.monotonic()) if dues else None)
            self._process(*found)

    def _process(self, key: tuple, batch: list[_Task]) -> None:
        now, tasks = time.monotonic(), []
        for task in batch:
            if task.deadline is not None and task.deadline <= now:
                message = "Run() timeout exceeded while waiting in batching queue"
                task.answer.set_exception(ServingError(Code.RESOURCE_EXHAUSTED, message))
            else:
                tasks.append(task)
        if tasks:
            self._answer(key, tasks)

    def _answer(self, key: tuple, tasks: list[_Task]) -> None:
        try:
            answers = self._compute(key, tasks)
        except Exception as error:
            if len(tasks) == 1:
                tasks[0].answer.set_exception(error)
                return
            for task in tasks:
                self._answer(key, [task])
        else:
            for task, answer in zip(tasks, answers, strict=True):
                task.answer.set_result(answer)

    def _compute(self, key: tuple, tasks: list[_Task]) -> list[list[np.ndarray]]:
        compute, _, fetches = key
        rows = sum(task.rows for task in tasks)
        padding = next((s for s in self.parameters.allowed_batch_sizes if s >= rows), rows) - rows
        feeds = {}
        for name, first in tasks[0].feeds.items():
            parts = [task.feeds[name] for task in tasks]
            parts += [first[:1]] * padding
            feeds[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        deadlines = [task.deadline for task in tasks if task.deadline is not None]
        whole = len(deadlines) == len(tasks)
        timeout = max(deadlines) - time.monotonic() if whole else None
        outputs = compute(feeds, list(fetches), timeout)
        for output in outputs:
            if not output.ndim:
                raise failed_precondition("Batched output tensor has 0 dimensions")
            if output.shape[0] != rows + padding:
                raise failed_precondition(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors"
                )
        ends = np.cumsum([task.rows for task in tasks]).tolist()
        return [
            [output[end - task.rows : end] for output in outputs]
            for task, end in zip(tasks, ends, strict=True)
        ]
