"""Requests that arrive together are computed together, and each gets its own rows back."""

import concurrent.futures
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.server import batching
from serving.server.errors import Code, ServingError
from serving.server.main import main
from tests.serving.server import saved_models
from tests.serving.server.conftest import eventually


class Doubler:
    """y = 2 x; notes the sizes of its runs, refuses 13, waits where it was told to."""

    def __init__(self):
        self.sizes = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def run(self, feeds, fetches, timeout=None):
        self.entered.set()
        self.gate.wait(10)
        (x,) = feeds.values()
        self.sizes.append(len(x))
        if (x == 13).any():
            raise ServingError(Code.INVALID_ARGUMENT, "no 13")
        if fetches == ["sum"]:
            return [np.array([x.sum()])]
        return [2 * x]


@pytest.fixture
def make():
    schedulers = []

    def start(**parameters):
        schedulers.append(batching.BatchScheduler(batching.Parameters(**parameters)))
        return schedulers[-1]

    yield start
    for scheduler in schedulers:
        scheduler.stop()


def ask(scheduler, model, *values, fetch="y", timeout=None):
    (answer,) = scheduler.run(model.run, {"x": np.array(values, float)}, [fetch], timeout)
    return answer.tolist()


def test_requests_that_wait_are_computed_in_one_run(make):
    model, scheduler = Doubler(), make(num_batch_threads=1, batch_timeout_micros=0)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        first = pool.submit(ask, scheduler, model, 0)
        assert model.entered.wait(5)
        others = [pool.submit(ask, scheduler, model, i, i + 0.5) for i in range(1, 7)]
        queue = scheduler._queues
        eventually(lambda: queue and sum(t.rows for t in next(iter(queue.values()))) == 12)
        model.gate.set()
        assert first.result() == [0]
        assert [other.result() for other in others] == [[2 * i, 2 * i + 1] for i in range(1, 7)]
    assert model.sizes == [1, 12]


def test_a_lone_request_waits_no_longer_than_the_timeout(make):
    model, scheduler = Doubler(), make(batch_timeout_micros=20_000)
    begun = time.monotonic()
    assert ask(scheduler, model, 1) == [2]
    assert 0.02 <= time.monotonic() - begun < 5


def test_a_full_batch_does_not_wait(make):
    model, scheduler = Doubler(), make(batch_timeout_micros=10**9, max_batch_size=4)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(lambda i: ask(scheduler, model, i)[0], range(4))) == [0, 2, 4, 6]
    assert model.sizes == [4]


def test_a_large_request_is_refused_or_split(make):
    model = Doubler()
    with pytest.raises(
        ServingError, match="Task size 10 is larger than maximum input batch size 4"
    ):
        ask(make(max_batch_size=4), model, *range(10))
    scheduler = make(max_batch_size=4, enable_large_batch_splitting=True, num_batch_threads=1)
    assert ask(scheduler, model, *range(10)) == [2 * i for i in range(10)]
    assert model.sizes == [4, 4, 2]


def test_a_full_queue_is_unavailable(make):
    model = Doubler()
    scheduler = make(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = [pool.submit(ask, scheduler, model, 0)]
        assert model.entered.wait(5)
        running += [pool.submit(ask, scheduler, model, i) for i in (1, 2)]
        eventually(lambda: scheduler._queues and len(next(iter(scheduler._queues.values()))) == 2)
        with pytest.raises(ServingError, match="is full") as caught:
            ask(scheduler, model, 3)
        assert caught.value.code is Code.UNAVAILABLE
        model.gate.set()
        assert [future.result() for future in running] == [[0], [2], [4]]


def test_a_request_that_waits_too_long_exhausts_its_time(make):
    model, scheduler = Doubler(), make(num_batch_threads=1)
    model.gate.clear()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        running = pool.submit(ask, scheduler, model, 0)
        assert model.entered.wait(5)
        late = pool.submit(ask, scheduler, model, 1, timeout=0.01)
        time.sleep(0.1)
        model.gate.set()
        assert running.result() == [0]
        with pytest.raises(ServingError, match="timeout exceeded while waiting") as caught:
            late.result()
    assert caught.value.code is Code.RESOURCE_EXHAUSTED


def test_nobody_gets_an_error_for_the_request_of_another(make):
    model, scheduler = Doubler(), make(max_batch_size=3, batch_timeout_micros=10**9)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        good = [pool.submit(ask, scheduler, model, i) for i in (1, 2)]
        bad = pool.submit(ask, scheduler, model, 13)
        assert [future.result() for future in good] == [[2], [4]]
        with pytest.raises(ServingError, match="no 13"):
            bad.result()


def test_allowed_sizes_are_padded_to(make):
    model, scheduler = Doubler(), make(max_batch_size=8, allowed_batch_sizes=(4, 8))
    assert ask(scheduler, model, 1, 2, 3) == [2, 4, 6]
    assert model.sizes == [4]


@pytest.mark.parametrize(
    ("feeds", "fetch", "code", "words"),
    [
        ({"x": np.float32(1)}, "y", Code.INVALID_ARGUMENT, "at least one dimension"),
        ({"x": np.ones(2), "z": np.ones(3)}, "y", Code.INVALID_ARGUMENT, "equal 0th-dimension"),
        ({"x": np.ones(2)}, "sum", Code.FAILED_PRECONDITION, "does not equal the sum"),
    ],
)
def test_what_makes_no_batch_is_refused(make, feeds, fetch, code, words):
    with pytest.raises(ServingError, match=words) as caught:
        make().run(Doubler().run, feeds, [fetch])
    assert caught.value.code is code


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=12),
    st.integers(1, 6),
    st.booleans(),
)
def test_each_request_gets_its_own_rows_whatever_the_batches(sizes, limit, splits):
    parameters = batching.Parameters(
        max_batch_size=limit if splits else 9,
        enable_large_batch_splitting=splits,
        max_enqueued_batches=1000,
        batch_timeout_micros=1000,
    )
    scheduler, model = batching.BatchScheduler(parameters), Doubler()
    try:
        wanted = [[100.0 * i + j for j in range(size)] for i, size in enumerate(sizes)]
        with concurrent.futures.ThreadPoolExecutor(len(sizes)) as pool:
            answers = list(pool.map(lambda values: ask(scheduler, model, *values), wanted))
        assert answers == [[2 * value for value in values] for values in wanted]
        assert max(model.sizes) <= parameters.largest_batch
    finally:
        scheduler.stop()


# The file and the server.


def write(tmp_path, text):
    file = tmp_path / "batching.config"
    file.write_text(text)
    return file


def test_the_file_of_parameters_is_tf_servings(tmp_path):
    text = """
      max_batch_size { value: 128 }  # rows
      batch_timeout_micros { value: 0 }
      enable_large_batch_splitting: { value: true }
      max_execution_batch_size { value: 32 }
      thread_pool_name { value: "any" }
      allowed_batch_sizes: 8 allowed_batch_sizes: 32
    """
    parameters = batching.read(write(tmp_path, text))
    assert parameters == batching.Parameters(
        max_batch_size=128,
        enable_large_batch_splitting=True,
        max_execution_batch_size=32,
        allowed_batch_sizes=(8, 32),
    )
    assert batching.read(write(tmp_path, "")) == batching.Parameters()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "Error parsing text-format tensorflow.serving.BatchingParameters"),
        ("max_batch_size { value: 0 }", "max_batch_size must be at least 1; was 0"),
        ("num_batch_threads { value: 100000 }", "num_batch_threads must be at most 1024"),
        ("allowed_batch_sizes: 8", "Last entry in allowed_batch_sizes must match max_batch_size"),
        ("allowed_batch_sizes: 8 allowed_batch_sizes: 8", "monotonically increasing"),
        ("pad_variable_length_inputs: true", "not implemented"),
        (
            "max_batch_size { value: 8 } enable_large_batch_splitting { value: true }"
            " max_execution_batch_size { value: 9 }",
            "must be at least max_execution_batch_size",
        ),
    ],
)
def test_a_file_that_makes_no_sense_ends_the_start(tmp_path, capsys, base_path, text, words):
    file = write(tmp_path, text)
    with pytest.raises(ValueError, match=words):
        batching.read(file)
    arguments = [f"--model_base_path={base_path}", "--port=0", "--grpc_socket_path=/tmp/none"]
    assert main([*arguments, f"--batching_parameters_file={file}"]) == 2
    assert "needs --enable_batching" in capsys.readouterr().err


def test_a_server_that_batches_gives_each_request_its_digit(start, digits, base_path, tmp_path):
    file = write(tmp_path, "max_batch_size { value: 16 } batch_timeout_micros { value: 20000 }")
    running = start(base_path, "--enable_batching", f"--batching_parameters_file={file}")
    sizes = []
    (served,) = running.server.core.manager._models["digits"].servables.values()
    engine = served.loaded
    inner = engine._compute
    engine._compute = lambda feeds, *rest: (
        sizes.append(len(next(iter(feeds.values())))) or inner(feeds, *rest)
    )

    def level(label: int) -> float:
        request = saved_models.generate_request([label], [label], "digits")
        return running.prediction.Predict(request).outputs["image"].float_val[0]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        levels = list(pool.map(level, [i % 10 for i in range(64)]))
        bad = pool.submit(level, 99)
        with pytest.raises(Exception, match="label out of range"):
            bad.result()
    np.testing.assert_allclose(levels, [(i % 10 + 1) / 100 for i in range(64)], rtol=1e-6)
    assert sum(sizes) >= 65
    assert len(sizes) < 40, "requests were computed together"
    seventeen = saved_models.generate_request([1] * 17, [1] * 17, "digits")
    with pytest.raises(Exception, match="larger than maximum input batch size 16"):
        running.prediction.Predict(seventeen)
