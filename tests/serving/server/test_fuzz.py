"""Whatever is sent, the answer is an error in TF Serving's form, and the server stays right."""

import os
import random

import pytest

from tests.serving.server import fuzz

# protobuf's, about messages that are none
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
MUTATIONS = int(os.environ.get("MNIST_GAN_FUZZ_MUTATIONS") or 400)


@pytest.fixture
def running(start, base_path):
    return start(base_path, "--max_request_bytes=200000", "--max_batch_rows=256")


def test_broken_rest_requests_get_errors_and_the_server_stays_right(running):
    fuzz.mutate_rest(running, random.Random(1), MUTATIONS)


def test_broken_grpc_messages_get_errors_and_the_server_stays_right(running):
    fuzz.mutate_grpc(running, random.Random(2), MUTATIONS)


def test_broken_http_gets_errors_and_the_server_stays_right(running):
    fuzz.mutate_http(running, random.Random(3), MUTATIONS // 4)


@pytest.mark.e2e
def test_ten_thousand_mutations_do_not_bring_it_down(running):
    generator = random.Random(4)
    fuzz.mutate_rest(running, generator, 5000)
    fuzz.mutate_grpc(running, generator, 4000)
    fuzz.mutate_http(running, generator, 1000)
