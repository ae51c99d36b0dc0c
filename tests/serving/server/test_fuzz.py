"""Whatever is sent, the answer is an error in TF Serving's form, and the server stays right.

A hundred thousand of them are a benchmark's: `python -m benchmarks.serving --mutations 100000`.
"""

import random

import pytest

from tests.serving.server import fuzz

# protobuf's, about messages that are none
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.mark.parametrize(
    ("mutate", "count"), [(fuzz.mutate_rest, 300), (fuzz.mutate_grpc, 300), (fuzz.mutate_http, 60)]
)
def test_broken_requests_get_errors_and_the_server_stays_right(limited, mutate, count):
    mutate(limited, random.Random(1), count)
