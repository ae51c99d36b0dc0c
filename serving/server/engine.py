"""One loaded SavedModel: a graph, a session, and what may be asked of it.

The model is loaded as TF Serving loads it, with TensorFlow 1's loader into one Graph and Session,
and not as a Keras or TensorFlow 2 object: tensor names, feeds that are taken or refused, and error
codes are then the same, and TensorFlow 1 models are served too.
"""

import contextlib
import copy
import gc
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session

from serving.server.batching import BatchScheduler
from serving.server.errors import Code, ServingError, invalid_argument, not_found

DEFAULT_SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


class Engine:
    """A SavedModel, loaded.

    Attributes:
      signatures: its SignatureDefs by name; the loader's own entry is among them, as in TF
        Serving.
      on_close: called when it is closed.
    """

    def __init__(
        self,
        model_dir: str | os.PathLike,
        *,
        tags: Sequence[str] = ("serve",),
        intra_op_threads: int = 0,
        inter_op_threads: int = 0,
        max_rows: int = 0,
        scheduler: BatchScheduler | None = None,
    ):
        """Loads the SavedModel in `model_dir`.

        Where its `variables` are missing it does not load; TF Serving would load it and fail each
        of its requests, which helps nobody.

        Args:
          model_dir: folder with `saved_model.pb`.
          tags: which of its graphs.
          intra_op_threads, inter_op_threads: inside one operation, and operations side by side; 0
            for TensorFlow's choice.
          max_rows: refuse inputs whose 0th dimension is larger; 0 for no limit.
          scheduler: computes requests together that arrive together; None for one by one.

        Raises:
          ServingError: NOT_FOUND where there is no SavedModel or not these tags; else what
            TensorFlow says.
        """
        path = pathlib.Path(model_dir)
        if not any(os.path.isfile(path / name) for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise not_found(
                f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}"
            )
        self.on_close: Callable[[], object] = lambda: None
        self._handles: dict[str, object] = {}
        self._max_rows = max_rows
        self._scheduler = scheduler
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=intra_op_threads,
            inter_op_parallelism_threads=inter_op_threads,
        )
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with _as_serving_errors(), self._graph.as_default():
                meta_graph = tf.compat.v1.saved_model.load(self._session, list(tags), str(path))
            self._graph.finalize()
            # A part would keep the whole MetaGraphDef alive, graph and all.
            self.signatures = {n: copy.deepcopy(s) for n, s in meta_graph.signature_def.items()}
        except BaseException:
            self.close()
            raise

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout: float | None = None
    ) -> list[np.ndarray]:
        """Computes tensors; any number of threads may do so at once.

        Args:
          feeds: arrays by tensor name.
          fetches: names of the tensors to compute.
          timeout: seconds, None for no limit. Operations that run are not interrupted; no
            further ones start.

        Raises:
          ServingError: what TensorFlow says, with its code; DEADLINE_EXCEEDED after `timeout`.
        """
        for name, array in feeds.items():
            if self._max_rows and array.ndim and array.shape[0] > self._max_rows:
                raise invalid_argument(
                    f"input {name} has {array.shape[0]} rows; this server takes at most "
                    f"{self._max_rows} in one request (--max_batch_rows)"
                )
        if self._scheduler is not None:
            return self._scheduler.run(self._compute, feeds, fetches, timeout)
        return self._compute(feeds, fetches, timeout)

    def _compute(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout: float | None
    ) -> list[np.ndarray]:
        options = None
        if timeout is not None:
            milliseconds = max(1, int(timeout * 1000))
            options = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
        # The call below Session.run: that one checks shapes in Python and refuses feeds which the
        # graph, and so TF Serving, takes.
        buffer = pywrap_tf_session.TF_NewBufferFromString(options) if options else None
        try:
            with _as_serving_errors():
                return self._session._call_tf_sessionrun(
                    buffer,
                    {self._handle(name): array for name, array in feeds.items()},
                    [self._handle(name) for name in fetches],
                    [],
                    None,
                )
        finally:
            if buffer is not None:
                pywrap_tf_session.TF_DeleteBuffer(buffer)

    def close(self) -> None:
        """Gives back the memory; it can't be asked any more."""
        self.on_close()
        self._session.close()
        # A graph is full of cycles; its memory would wait for the next full collection.
        del self._session, self._graph, self._handles
        gc.collect()

    def _handle(self, name: str) -> object:
        handle = self._handles.get(name)
        if handle is None:
            try:
                handle = self._graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError) as error:
                raise invalid_argument(f"Tensor {name} is not in the graph: {error}") from None
            self._handles[name] = handle
        return handle


@contextlib.contextmanager
def _as_serving_errors() -> Iterator[None]:
    try:
        yield
    except tf.errors.OpError as error:
        raise ServingError(Code(error.error_code), error.message) from None
    except ServingError:
        raise
    except OSError as error:
        raise not_found(str(error)) from None
    except RuntimeError as error:
        unknown = "MetaGraphDef associated with tags" in str(error)
        raise ServingError(Code.NOT_FOUND if unknown else Code.INTERNAL, str(error)) from None
    except (TypeError, ValueError, UnicodeError) as error:
        raise invalid_argument(str(error)) from None
