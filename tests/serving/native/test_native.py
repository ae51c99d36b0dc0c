"""The stand-alone program: its own C++ tests, and its images against the SavedModel's."""

import dataclasses
import json
import os
import platform
import shutil
import subprocess
from importlib import metadata

import keras
import numpy as np
import pytest
from PIL import Image

from common.images import tile, to_uint8
from judge import local_generator
from serving import versions
from serving.native import build
from tests.serving.server import saved_models
from trainer import models
from trainer.export import export_generator
from trainer.training_config import make_config

RIGHT_MACHINE = (platform.system(), platform.machine()) == ("Linux", "x86_64")
MISSING = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
needs_compiler = pytest.mark.skipif(
    not RIGHT_MACHINE or bool(MISSING),
    reason=f"it is for Linux on x86-64; missing on PATH: {', '.join(MISSING) or 'nothing'}",
)
needs_tensorflow_2_16 = pytest.mark.skipif(
    not metadata.version("tensorflow").startswith("2.16."),
    reason="the ahead-of-time compiler was tried with TensorFlow 2.16 only",
)

PUSHED = {
    "model": {"name": "mnist_gan"},
    "source_hash": "0123456789abcdef",
    "metrics": {"fid": 0.34452, "protocol": "fid_10k_test"},
    "data": {"dataset": "toys", "dataset_version": "1.0.0"},
}


def push(workspace, number=5, *, conditional=True, distribution="normal") -> versions.Version:
    """Pushes a generator with loud random weights: its pixels are anything from black to white."""
    config = make_config(latent_dim=24, generator_channels=16)
    keras.utils.set_random_seed(1)
    network = models.float32_generator(config, 4)
    rng = np.random.default_rng(1)
    for weight in network.weights:
        if weight.path.endswith(("kernel", "embeddings")):
            fan_in = np.prod(weight.shape[:-1])
            weight.assign(rng.normal(size=weight.shape) * (2 / fan_in) ** 0.5)
    contract = dataclasses.replace(
        saved_models.CONTRACT,
        latent_dim=24,
        latent_distribution=distribution,
        num_classes=4,
        class_names=("0", "1", 'a "2"', "3"),
        classes_present=(0, 2, 3),
        conditional=conditional,
    )
    folder = workspace / "serving" / "mnist_gan" / str(number)
    export_generator(network if conditional else Deaf(network), contract, folder)
    (folder / "assets.extra" / "metadata.json").write_text(json.dumps(PUSHED))
    return versions.latest(folder.parent)


class Deaf:
    """A generator that is told no labels: it draws class 0."""

    def __init__(self, network):
        self._network, self.weights = network, network.weights
        self.inputs = network.inputs[:1]

    def __call__(self, inputs, training):
        return self._network([inputs[0], 0 * keras.ops.cast(inputs[0][:, 0], "int64")])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(program, pushed version)."""
    root = tmp_path_factory.mktemp("native")
    version = push(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        code = build.main(["--workspace", str(root), "--out", str(root / "out" / "digits")])
    assert code == 0
    return root / "out" / "digits", version


def run(program, *arguments: str, folder=None) -> subprocess.CompletedProcess:
    command = [program, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def differences(program, version, labels, seeds, *arguments: str) -> np.ndarray:
    """Grey levels between the program's sheet and the SavedModel's, pixel by pixel."""
    path = program.with_name("sheet.png")
    done = run(program, *arguments, f"--count={len(seeds)}", f"--seed={seeds[0]}", "--out", path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # As `mnist-gan generate` draws it.
    images = to_uint8(
        local_generator.Generator(version.path).draw(np.array(seeds), np.array(labels))
    )
    assert images.std() > 40, "a grey image would show nothing"
    columns = 10 if len(images) % 10 == 0 else round(len(images) ** 0.5)
    sheet = np.asarray(tile(images, columns)).astype(int)
    ours = np.asarray(Image.open(path)).astype(int)
    assert ours.shape == sheet.shape
    return np.abs(ours - sheet)


@needs_compiler
def test_the_tests_in_cpp_pass(tmp_path):
    configure = ["cmake", "-S", build.HERE, "-B", tmp_path, "-DCMAKE_BUILD_TYPE=Debug"]
    for command in (
        configure,
        ["cmake", "--build", tmp_path, "--parallel"],
        [tmp_path / "digits_tests"],
    ):
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        assert "warning:" not in done.stdout, done.stdout


@pytest.mark.e2e
@needs_compiler
@needs_tensorflow_2_16
class TestProgram:
    def test_a_thousand_digits_are_the_saved_models_within_a_grey_level(self, built):
        seeds = list(range(7, 1007))
        apart = differences(*built, [-1] * 1000, seeds)
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.01

    def test_a_class_of_ones_own_and_a_batch_that_is_not_full(self, built):
        apart = differences(*built, [2] * 23, list(range(2**40, 2**40 + 23)), "--digit", "2")
        assert apart.max() <= 1

    def test_it_is_small_and_needs_nothing_but_the_cpp_library(self, built):
        program, _ = built
        assert program.stat().st_size < 3_000_000
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
        names = {line.split()[0].split("/")[-1] for line in listed.stdout.splitlines()}
        usual = {"linux-vdso.so.1", "libstdc++.so.6", "libm.so.6", "libgcc_s.so.1", "libc.so.6"}
        assert names - usual == {"ld-linux-x86-64.so.2"}

    def test_it_says_which_generator_is_compiled_in_and_what_it_takes(self, built):
        assert '0, 2 (a "2"), 3' in run(built[0], "--help").stdout
        assert run(built[0], "--version").stdout.splitlines() == [
            "digits: mnist_gan, version 5",
            "source hash: 0123456789abcdef",
            "FID: 0.3445 (fid_10k_test)",
            "trained on: toys 1.0.0",
        ]

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            ([], 2, "--out FILE.png is missing"),
            (
                ["--out=x.png", "--digit=1"],
                2,
                'this generator never saw class 1: it draws 0, 2 (a "2"), 3',
            ),
            (
                ["--out=x.png", "--count=0"],
                2,
                "--count takes a whole number from 1 to 10000, not '0'",
            ),
            (["--out=no/x.png"], 1, "no/x.png could not be written: No such file or directory"),
            (["--out=."], 1, ". could not be written: "),
        ],
    )
    def test_what_can_not_be_done_is_told_in_one_line(
        self, built, tmp_path, arguments, code, message
    ):
        done = run(built[0], *arguments, folder=tmp_path)
        assert done.returncode == code
        assert done.stderr.startswith(f"digits: {message}")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []

    def test_the_runtime_is_built_once(self, built, monkeypatch):
        program, _ = built
        monkeypatch.setenv("XDG_CACHE_HOME", str(program.parent.parent / "cache"))
        monkeypatch.setattr(build, "_cmake", lambda *_, **__: pytest.fail("it is there already"))
        archive = build.runtime_archive(program.parent)
        assert [archive] == list(archive.parent.iterdir())

    def test_an_unconditional_generator_and_with_uniform_latents(
        self, built, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", str(built[0].parent.parent / "cache"))
        version = push(tmp_path, conditional=False, distribution="uniform")
        program = build.build(version, tmp_path / "digits")
        apart = differences(program, version, [-1] * 40, list(range(40)))
        assert apart.max() <= 1
        assert "is unconditional" in run(program, "--digit=0", "--out=x.png").stderr


def test_packed_weights_are_floats_without_their_last_eight_bits():
    weights = np.array([1.0, -2.5, 3e-7, 0.1, 1 / 3, 0.0], np.float32)
    packed = np.frombuffer(build.pack(weights), np.uint8).reshape(-1, 3)
    bits = np.pad(packed, [(0, 0), (1, 0)]).copy().view("<u4")[:, 0]
    unpacked = bits.view(np.float32)
    assert (unpacked[[0, 1, 5]] == weights[[0, 1, 5]]).all()
    np.testing.assert_allclose(unpacked, weights, rtol=2**-17)


@pytest.mark.parametrize(
    ("machine", "tools", "arguments", "words"),
    [
        ("x86_64", [], ["--version=4"], "there is no version 4; there are 3\n"),
        ("x86_64", [], ["--model=digits_gan"], "nothing was pushed to"),
        ("x86_64", [], [], "cmake and c++ missing"),
        ("x86_64", ["cmake", "c++"], [], "it was not exported by this project"),
        ("riscv64", ["cmake", "c++"], [], "Linux on x86-64 only"),
    ],
)
def test_what_can_not_be_built_is_told(
    tmp_path, capsys, monkeypatch, machine, tools, arguments, words
):
    (tmp_path / "serving" / "mnist_gan" / "3").mkdir(parents=True)
    for tool in tools:
        (tmp_path / tool).touch(0o755)
    monkeypatch.setattr(build.platform, "system", lambda: "Linux")
    monkeypatch.setattr(build.platform, "machine", lambda: machine)
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert build.main(["--workspace", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err
