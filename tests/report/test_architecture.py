"""Drawings of networks: complete, to scale, and true about branches."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

from report.architecture import draw_network
from tests.trainer.conftest import TINY
from trainer import models
from trainer.networks import network_table
from trainer.training_config import make_config


def parsed(layers) -> ElementTree.Element:
    return ElementTree.fromstring(str(draw_network("t", layers).svg))


def boxes(root) -> list[dict]:
    return [e.attrib for e in root.iter() if str(e.get("class", "")).startswith("layer ")]


def layer(name, *inputs, kind="Dense", shape=(None, 8), parameters=1):
    return {"name": name, "type": kind, "inputs": list(inputs), "output_shape": list(shape),
            "parameters": parameters, "trainable_parameters": parameters}  # fmt: skip


def test_an_image_shows_each_layer_and_its_parameters():
    drawing = parsed(
        [
            layer("latent", kind="InputLayer", shape=(None, 64), parameters=0),
            layer("up", "latent", kind="Conv2DTranspose", shape=(None, 14, 14, 32),
                  parameters=32_768),
        ]
    )  # fmt: skip
    texts = [e.text for e in drawing.iter() if e.tag == "text"]
    assert texts == ["latent", "InputLayer", "64", "up", "Conv2DTranspose", "14×14×32", "32,768"]


def test_a_chain_stays_in_its_column_and_a_branch_has_one_of_its_own():
    chain = [layer("a"), layer("b", "a"), layer("c", "b")]
    branch = [layer("x"), layer("sum", "c", "x"), layer("end", "sum")]
    found = [float(box["x"]) for box in boxes(parsed(chain + branch))]
    a, b, c, x, total, end = found
    assert a == b == c == total == end < x


def test_every_connection_is_drawn_once_and_crosses_no_box():
    networks = models.build_networks(make_config(**TINY), 4, "float32")
    for network in (networks.generator, networks.discriminator):
        table = network_table(network)
        root = parsed(table["layers"])
        ways = [e.get("d") for e in root.iter() if e.get("class") == "flow"]
        assert len(ways) == sum(len(row["inputs"]) for row in table["layers"])
        for way in ways:
            points = [tuple(map(float, pair.split())) for pair in re.findall(r"[\d.]+ [\d.]+", way)]
            # Straight pieces between the curves, in the rows that the way only passes.
            for (x, y), (to_x, to_y) in itertools.pairwise(points):
                if x != to_x:
                    continue
                for box in boxes(root):
                    left, top = float(box["x"]), float(box["y"])
                    inside = left < x < left + float(box["width"])
                    assert not (inside and y < top + 1 and to_y > top + float(box["height"]) - 1)


def test_layers_of_runs_that_recorded_no_inputs_are_a_chain():
    layers = [layer("a", kind="InputLayer"), layer("b"), layer("c")]
    for row in layers:
        del row["inputs"]
    ways = [e for e in parsed(layers).iter() if e.get("class") == "flow"]
    assert len(ways) == 2
