"""Networks from a file of the user's: used as they are, or refused with one sentence."""

import pathlib

import pytest

import pipeline
from trainer import own_networks
from trainer.training_config import make_config

TEMPLATE = pathlib.Path(pipeline.__file__).parent / "project" / "my_gan" / "networks.py"


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 3)])
def test_the_networks_of_a_new_project_fit_images_of_every_shape(shape):
    architecture, loss = own_networks.load(str(TEMPLATE))
    config = make_config()
    assert architecture.conditional and loss is None
    generator = architecture.build_generator(config, 5, shape)
    assert generator.output_shape == (None, *shape)
    assert architecture.build_discriminator(config, 5, shape).output_shape == (None, 1)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("def build_generator(config, num_classes, shape): ...", "no function build_discriminator"),
        ("LOSS = abs", "LOSS of .* must be a trainer.losses.GanLoss"),
        (
            TEMPLATE.read_text().replace("shape[2], 4", "7, 4"),
            r"build_generator of .* gives \[28, 28, 7\] for each image, not \[28, 28, 1\]",
        ),
        (TEMPLATE.read_text().replace("FEATURES = 128", "FEATURES = None"), "build_discrim.*Error"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path, code, words):
    path = tmp_path / "networks.py"
    path.write_text(code)
    with pytest.raises(own_networks.OwnNetworksError, match=f"(?s)^networks: .*{words}"):
        architecture, _ = own_networks.load(str(path))
        for build in (architecture.build_generator, architecture.build_discriminator):
            build(make_config(), 5, (28, 28, 1))
    with pytest.raises(own_networks.OwnNetworksError, match="there is no file"):
        own_networks.load(str(tmp_path / "missing.py"))
