"""Drawings are well-formed, to scale, and hold what they were given."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import pytest

from report import drawing


def parsed(picture: drawing.Drawing) -> ElementTree.Element:
    """The SVG; raises where it is not well-formed."""
    return ElementTree.fromstring(str(picture.svg))


def marks(picture: drawing.Drawing, kind: str) -> list[dict]:
    return [e.attrib for e in parsed(picture).iter() if e.get("class") == f"fill {kind}"]


def test_bars_are_as_high_as_their_values():
    picture = drawing.bars("t", ["0", "1"], {"real": [10, 20]}, y_label="n")
    low, high = (float(bar["height"]) for bar in marks(picture, "real"))
    assert high == pytest.approx(2 * low, rel=0.02)


def test_a_missing_value_leaves_a_gap_and_not_a_bar():
    picture = drawing.bars("t", ["0", "1", "2"], {"real": [1, None, 3]}, y_label="n")
    assert len(marks(picture, "real")) == 2


def test_hundreds_of_classes_fit_without_a_label_each():
    picture = drawing.bars("t", [str(i) for i in range(345)], {"x": [1.0] * 345}, y_label="n")
    labels = [e for e in parsed(picture).iter() if e.tag == "text" and e.get("class") == "tick"]
    assert len(marks(picture, "real")) == 345
    assert len(labels) < 40


def test_text_from_outside_cannot_become_markup():
    evil = '</svg><script>alert("x")</script>'
    picture = drawing.bars(evil, [evil], {evil: [1]}, y_label=evil)
    assert not [e for e in parsed(picture).iter() if e.tag == "script"]
    assert "<script>" not in picture.svg


def test_a_line_breaks_at_values_that_are_not_finite():
    points = [(0, 1.0), (1, 2.0), (2, math.nan), (3, math.inf), (4, 1.0), (5, 2.0)]
    picture = drawing.lines("t", {"a": points}, x_label="x", y_label="y")
    [path] = [e.get("d") for e in parsed(picture).iter() if e.tag == "path"]
    assert path.count("M") == 2 and path.count("L") == 2


def test_long_histories_are_thinned_and_keep_their_last_point():
    points = [(step, 1.0 + step) for step in range(36_001)]
    picture = drawing.lines("t", {"a": points}, x_label="x", y_label="y")
    [path] = [e.get("d") for e in parsed(picture).iter() if e.tag == "path"]
    assert path.count("L") < 500
    right = max(float(pair.split()[0]) for pair in path[1:].replace("M", "L").split("L"))
    assert right == pytest.approx(508)


@pytest.mark.parametrize(
    "values", [[], [(1, math.nan)], [(1, 5.0)], [(1, 0.0), (2, 0.0)], [(1, -3.0), (2, -3.0)]]
)
def test_degenerate_series_neither_raise_nor_draw_nonsense(values):
    picture = drawing.lines("t", {"a": values}, x_label="x", y_label="y")
    assert "nan" not in picture.svg and "inf" not in picture.svg
    assert bool(picture) == any(math.isfinite(y) for _, y in values)


def test_history_tells_blessed_from_rejected_and_pushed_from_kept():
    runs = [
        {"name": "a", "value": 20.0, "blessed": False, "pushed": False},
        {"name": "b", "value": None, "blessed": None, "pushed": False},
        {"name": "c", "value": 2.0, "blessed": True, "pushed": True},
    ]
    picture = drawing.history("t", runs, y_label="FID")
    kinds = [e.tag for e in parsed(picture).iter() if e.get("class") in ("fill good", "fill bad")]
    # Two legend entries, then one mark for each run that has a value.
    assert sorted(kinds) == ["circle", "path", "rect", "rect"]
    assert "c: 2, blessed, pushed" in picture.svg


def test_history_draws_intervals_within_the_plot():
    runs = [
        {"name": "a", "value": 2.0, "blessed": True, "pushed": False, "interval": (1.5, 2.75)},
        {"name": "b", "value": 2.1, "blessed": True, "pushed": False, "interval": None},
    ]
    picture = drawing.history("t", runs, y_label="FID")
    (line,) = [e for e in parsed(picture).iter() if e.get("class") == "line good"]
    (circle, _) = [e for e in parsed(picture).iter() if e.tag.endswith("circle")]
    assert float(line.get("y2")) < float(circle.get("cy")) < float(line.get("y1"))
    assert all(float(line.get(end)) > 0 for end in ("y1", "y2"))


def test_the_graph_draws_every_node_and_edge_with_edges_going_down():
    nodes = {
        name: {"lines": [name], "kind": "artifact", "href": f"#node-{name}"} for name in "abcd"
    }
    edges = [("a", "b", "", False), ("b", "c", "", False), ("a", "c", "skips", True),
             ("c", "d", "", False)]  # fmt: skip
    root = parsed(drawing.graph("t", nodes, edges))
    heights = {
        link.get("href"): float(next(e for e in link if e.tag == "rect").get("y"))
        for link in root.iter()
        if link.tag == "a"
    }
    assert heights["#node-a"] < heights["#node-b"] < heights["#node-c"] < heights["#node-d"]
    paths = [e for e in root.iter() if str(e.get("class", "")).startswith("edge")]
    assert len(paths) == len(edges)
    assert [p.get("class") for p in paths].count("edge reference") == 1


def test_nodes_of_a_wide_graph_do_not_overlap():
    nodes = {"top": {"lines": ["top"], "kind": "artifact", "href": "#t"}}
    nodes |= {f"n{i}": {"lines": [f"n{i}"], "kind": "artifact", "href": f"#{i}"} for i in range(9)}
    edges = [("top", f"n{i}", "", False) for i in range(9)]
    root = parsed(drawing.graph("t", nodes, edges))
    lefts = sorted(
        float(e.get("x")) for e in root.iter() if e.get("class") == "shape" and e.get("y") != "4"
    )
    gaps = [right - left for left, right in itertools.pairwise(lefts)]
    assert min(gaps) >= 158
