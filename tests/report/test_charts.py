"""Charts are well-formed, hold what they were given and take the page's colours."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from report import charts

RUNS = [
    {"name": "a", "value": 20.0, "blessed": False, "pushed": False, "interval": (15.0, 25.0)},
    {"name": "b", "value": None, "blessed": None, "pushed": False},
    {"name": "c", "value": 2.0, "blessed": True, "pushed": True, "interval": (0.0, 3.0)},
]


def parsed(chart) -> ElementTree.Element:
    """The SVG; raises where it is not well-formed."""
    return ElementTree.fromstring(str(chart.svg))


def texts(chart) -> list[str]:
    return [element.text for element in parsed(chart).iter() if element.tag == "text"]


def hints(chart) -> list[str]:
    """The titles of the marks."""
    return [element.text for element in parsed(chart).iter() if element.tag == "title"][1:]


def test_every_bar_says_its_value_and_a_missing_one_leaves_a_gap():
    chart = charts.bars("t", ["x", "y"], {"real": [10, 20], "fake": [None, 30]}, y_label="n")
    assert hints(chart) == ["x, real: 10", "y, real: 20", "y, fake: 30"]
    assert {"x", "y", "real", "fake", "n"} <= set(texts(chart))


def test_hundreds_of_classes_fit_without_a_label_each():
    chart = charts.bars("t", [str(i) for i in range(345)], {"x": [1.0] * 345}, y_label="n")
    assert len(hints(chart)) == 345
    assert len(texts(chart)) < 40


def test_text_from_outside_cannot_become_markup():
    evil = '</svg><script>alert("x")</script>'
    chart = charts.bars(evil, [evil], {evil: [1]}, y_label=evil)
    assert not [e for e in parsed(chart).iter() if e.tag == "script"]
    assert "<script>" not in chart.svg


def test_colours_are_variables_of_the_page_and_no_id_is_used_twice():
    some = [charts.lines("t", {"a": [(0, 1), (1, 2), (2, 3)]}, x_label="x", y_label="y")] * 2
    some.append(charts.history("t", RUNS, y_label="FID", threshold=3.0))
    some.append(charts.bars("t", ["x"], {"a": [1]}, y_label="y"))
    names: list[str] = []
    for chart in [some[0], *some[2:]]:
        assert not re.search(r"#0[0-9]0", chart.svg)
        assert set(re.findall(r"(?:fill|stroke): ([^;\"]+)", chart.svg)) <= {
            "none", *(f"var(--{name})" for name in charts._COLOURS),
        }  # fmt: skip
        names += re.findall(r' id="([^"]+)"', chart.svg)
    assert len(names) == len(set(names))


def test_long_histories_are_thinned_and_keep_their_last_point():
    points = charts._thinned([(step, 1.0 + step) for step in range(36_001)])
    assert len(points) <= 402
    assert points[-1] == (36_000, 36_001.0)


@pytest.mark.parametrize(
    "values", [[], [(1, math.nan)], [(1, 5.0)], [(1, 0.0), (2, 0.0)], [(1, -3.0), (2, -3.0)]]
)
def test_degenerate_series_neither_raise_nor_draw_nonsense(values):
    chart = charts.lines("t", {"a": values}, x_label="x", y_label="y")
    assert "nan" not in chart.svg and "inf" not in chart.svg
    assert bool(chart) == any(math.isfinite(y) for _, y in values)


def test_history_tells_the_verdict_the_interval_and_the_threshold():
    chart = charts.history("t", RUNS, y_label="FID", threshold=3.0)
    assert hints(chart) == [
        "a: 20, not blessed, interval 15 to 25",
        "c: 2, blessed, pushed, interval 0 to 3",
    ]
    assert {"not blessed", "blessed, pushed", "threshold"} <= set(texts(chart))


def test_one_run_alone_is_no_history():
    assert not charts.history("t", RUNS[1:], y_label="FID")


def test_the_timeline_names_each_node_with_its_seconds():
    chart = charts.timeline("t", [("Trainer", 1.0, 30.0, "COMPLETE"), ("Pusher", 31, 0, "FAILED")])
    assert hints(chart) == ["Trainer: 30.0 s, complete", "Pusher: 0.0 s, failed"]


def test_parallel_coordinates_have_a_line_for_each_row_and_name_what_the_axes_hold():
    axes = {
        "learning_rate": [0.001, 0.0001, 0.001],
        "optimizer": ["adam", "sgd", "sgd"],
        "FID": [10.0, 2000.0, 35.5],
    }
    chart = charts.parallel("t", axes, {"up to 3 steps": [1, 2], "up to 9 steps": [0]})
    assert sorted(hints(chart)) == [
        "learning_rate 0.0001, optimizer sgd, FID 2e+03",
        "learning_rate 0.001, optimizer adam, FID 10",
        "learning_rate 0.001, optimizer sgd, FID 35.5",
    ]
    wanted = {"learning", "rate", "adam", "sgd", "0.001", "0.0001", "10", "up to 9 steps"}
    assert wanted <= set(texts(chart))
    assert not re.search(r"#0[0-9]0", chart.svg)


@pytest.mark.parametrize("value", [5.0, "adam"])
def test_parallel_coordinates_take_a_single_row(value):
    assert hints(charts.parallel("t", {"a": [value], "b": [1]}, {"up to 3 steps": [0]}))
