"""The lineage graph is well-formed and its nodes do not overlap."""

import itertools
import xml.etree.ElementTree as ElementTree

from report import drawing


def parsed(picture: drawing.Drawing) -> ElementTree.Element:
    """The SVG; raises where it is not well-formed."""
    return ElementTree.fromstring(str(picture.svg))


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
