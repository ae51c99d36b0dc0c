"""Whatever is sent, the answer is an error in TF Serving's form, and the server stays right.

A hundred thousand of them are a benchmark's: `python -m benchmarks.serving --mutations 100000`.
"""

import random

import pytest

from tests.serving.server import fuzz

# protobuf's, about messages that are none
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize("mutate", [fuzz.mutate_rest, fuzz.mutate_grpc])
def test_broken_requests_get_errors_and_the_server_stays_right(limited, mutate):
    mutate(fuzz.OverSockets(limited), random.Random(1), 100)


def test_broken_http_gets_errors_and_the_server_stays_right(limited):
    fuzz.mutate_http(limited, random.Random(1), 60)


@pytest.mark.parametrize("mutate", [fuzz.mutate_rest, fuzz.mutate_grpc])
def test_no_broken_request_is_a_surprise_to_what_answers_it(digits, mutate):
    way = fuzz.InProcess(digits, "--max_batch_rows=64")
    mutate(way, random.Random(2), 1000)
    way.close()
