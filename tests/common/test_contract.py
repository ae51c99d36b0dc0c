"""What a generator promises."""

import dataclasses

import pytest

from common.contract import ContractError
from tests.serving.server.saved_models import CONTRACT


def test_a_class_is_asked_for_by_its_name_and_else_by_its_number():
    words = dataclasses.replace(CONTRACT, class_names=("zero", "2", "two", *"3456789"))
    assert [words.label(wanted) for wanted in ("two", "2", "0", "-1")] == [2, 1, 0, -1]
    with pytest.raises(ContractError, match="no class 'tow': did you mean two"):
        words.label("tow")
