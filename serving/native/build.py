"""`make native`: the newest pushed generator as one program that needs no TensorFlow.

    python -m serving.native.build [--workspace DIR] [--model NAME] [--version V] [--out FILE]

The steps, each a function below: the pushed SavedModel gets a signature of fixed size, TensorFlow's
ahead-of-time compiler turns that into an object file, the weights are packed, what the program
should know about itself becomes a header, and CMake puts it together with `src/`. TensorFlow is
imported when something is compiled, not before.
"""

import argparse
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata

import numpy as np

from common.contract import ContractError, GeneratorContract
from common.workspace import Workspace
from serving import versions

HERE = pathlib.Path(__file__).parent
BATCH = 16  # images that the program draws at once
SIGNATURE = "draw"
PROGRAM = "digits"


class BuildError(RuntimeError):
    """The program can't be built; the message says why and what to do."""


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="make native ARGS=...", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--workspace", default=os.environ.get("MNIST_GAN_WORKSPACE") or "workspace")
    parser.add_argument("--model", help="such as mnist_gan; by default the one pushed to last")
    parser.add_argument("--version", type=int, help="a pushed version other than the newest")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("build/native", PROGRAM))
    arguments = parser.parse_args(argv)
    base = Workspace.at(arguments.workspace).of_model(arguments.model).serving
    found = {version.number: version for version in versions.list_versions(base)}
    try:
        if not found:
            raise BuildError(f"nothing was pushed to {base} yet: try `mnist-gan run`")
        number = max(found) if arguments.version is None else arguments.version
        if number not in found:
            raise BuildError(
                f"there is no version {number}; there are {', '.join(map(str, found))}"
            )
        program = build(found[number], arguments.out)
    except (BuildError, ContractError) as error:
        print(f"native: {error}", file=sys.stderr)
        return 2
    print(f"{program}: version {number}, {program.stat().st_size / 1e6:.2f} MB")
    return 0


def build(version: versions.Version, out: pathlib.Path) -> pathlib.Path:
    """Builds the program for a version that this project pushed, at `out`; returns `out`.

    Raises:
      ContractError: the version holds no generator of this project.
      BuildError: a tool is missing or fails.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BuildError("this is written for Linux on x86-64 only")
    if missing := [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]:
        raise BuildError(f"{' and '.join(missing)} missing: install CMake and a C++ compiler")
    contract = GeneratorContract.load(version.path)
    if contract.value_range != (-1.0, 1.0):
        raise BuildError("the program draws images from values in [-1, 1] only")
    tensorflow = _tensorflow_folder()
    runtime = runtime_archive(tensorflow)
    with tempfile.TemporaryDirectory(prefix="native-") as scratch:
        network = pathlib.Path(scratch, "network")
        network.mkdir()
        weights = write_static_model(version.path, contract, network / "static")
        header = compile_network(network)
        (network / "weights.bin").write_bytes(
            b"".join(pack(weights[name]) for name in _fed(header))
        )
        (network / "facts.h").write_text(facts(contract, version, header, weights))
        build_folder = pathlib.Path(scratch, "build")
        _cmake(
            HERE,
            build_folder,
            NETWORK=network,
            RUNTIME=runtime,
            TENSORFLOW=tensorflow,
            BUILD_TESTING="OFF",
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = out.with_name(f".{out.name}.{os.getpid()}")
        shutil.copy(build_folder / PROGRAM, staging)
        os.replace(staging, out)
    return out


def write_static_model(
    model_dir: pathlib.Path, contract: GeneratorContract, folder: pathlib.Path
) -> dict[str, np.ndarray]:
    """Writes a SavedModel with one signature of BATCH rows, which XLA needs to know.

    Returns:
      The weights by the names that the compiler gives them, float32.
    """
    import tensorflow as tf

    loaded = tf.saved_model.load(os.fspath(model_dir))
    decode = loaded.signatures["serving_default"]

    class Static(tf.Module):
        def __init__(self):
            super().__init__()
            self.loaded = loaded  # so that its variables are saved

        @tf.function(
            input_signature=[
                tf.TensorSpec([BATCH, contract.latent_dim], tf.float32, name="latent"),
                tf.TensorSpec([BATCH], tf.int64, name="label"),
            ]
        )
        def draw(self, latent, label):
            return decode(latent=latent, label=label)

    module = Static()
    tf.saved_model.save(module, os.fspath(folder), signatures={SIGNATURE: module.draw})
    names = [re.sub(r"\W", "_", variable.name.split(":")[0]) for variable in decode.variables]
    if len(set(names)) != len(names):
        raise BuildError("two of the network's weights have the same name")
    return dict(zip(names, (v.numpy() for v in decode.variables), strict=True))


def compile_network(network: pathlib.Path) -> str:
    """Compiles `network/static` to compiled.o and compiled.h beside it; returns the header."""
    # The weights stay arguments: as constants in the object code they would take all 32 bits each.
    command = [
        *(sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "aot_compile_cpu"),
        *("--dir", "static", "--tag_set", "serve", "--signature_def_key", SIGNATURE),
        *("--output_prefix", "compiled", "--cpp_class", "compiled::Network"),
        *("--variables_to_feed", "all", "--target_triple", "x86_64-pc-linux"),
    ]
    _run(command, network, "TensorFlow's ahead-of-time compiler")
    return (network / "compiled.h").read_text()


def _fed(header: str) -> dict[str, int]:
    """The weights that a compiled network is fed with: argument numbers by name, in their order."""
    pairs = re.findall(
        r"set_var_param_(\w+)_data\(const float\* data\) \{\s*set_arg_data\((\d+), data\)", header
    )
    return {name: int(number) for name, number in pairs}


def pack(weights: np.ndarray) -> bytes:
    """The three high bytes of each float32, low one first, rounded to nearest.

    The program is a quarter smaller for it. The 16 bits of precision that are left show in one
    pixel of 5,000, by one grey level (1,000 digits of a `standard` run).
    """
    bits = np.ascontiguousarray(weights, "<f4").view("<u4").ravel()
    rounded = bits + np.uint32(0x7F) + ((bits >> np.uint32(8)) & np.uint32(1))
    return rounded.astype("<u4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()


def facts(
    contract: GeneratorContract,
    version: versions.Version,
    header: str,
    weights: dict[str, np.ndarray],
) -> str:
    """The header that tells the program what is compiled in."""
    pushed = version.metadata
    metrics, data = pushed.get("metrics", {}), pushed.get("data", {})
    fid = metrics.get("fid")
    told = {
        "Model": pushed.get("model", {}).get("name", version.path.parent.name),
        "Version": str(version.number),
        "SourceHash": pushed.get("source_hash") or "unknown",
        "Fid": "not measured" if fid is None else f"{fid:.4g} ({metrics.get('protocol')})",
        "Data": " ".join(filter(None, (data.get("dataset"), data.get("dataset_version"))))
        or "unknown",
    }
    height, width, channels = contract.image_shape
    uniform = contract.latent_distribution == "uniform"
    fed = ", ".join(f"{{{number}, {weights[name].size}}}" for name, number in _fed(header).items())
    return "\n".join(
        [
            f"// Version {version.number}, told to the program by serving/native/build.py.",
            "#pragma once",
            '#include "latents.h"',
            "namespace digits::facts {",
            *(f"inline constexpr char k{k}[] = {_literal(v)};" for k, v in told.items()),
            f"inline constexpr int kBatch = {BATCH}, kWidth = {width}, kHeight = {height}, "
            f"kChannels = {channels};",
            f"inline constexpr int kLatentDim = {contract.latent_dim};",
            f"inline constexpr auto kDistribution = Distribution::k"
            f"{'Uniform' if uniform else 'Normal'};",
            f"inline constexpr bool kConditional = {str(contract.conditional).lower()};",
            "inline constexpr const char* kClassNames[] = "
            f"{{{', '.join(map(_literal, contract.class_names))}}};",
            "inline constexpr int kClassesPresent[] = "
            f"{{{', '.join(map(str, contract.classes_present))}}};",
            f"inline constexpr int kLatentArgument = {_argument(header, 'latent')};",
            f"inline constexpr int kLabelArgument = {_argument(header, 'label')};",
            "struct Weights { int argument, count; };",
            f"inline constexpr Weights kWeights[] = {{{fed}}};",
            "}  // namespace digits::facts",
            "",
        ]
    )


def _argument(header: str, feed: str) -> int:
    """The number of an input's argument; -1 where the compiler found no use for it."""
    found = re.search(
        rf"set_arg_feed_{feed}_data\(const void\* data\) \{{\s*set_arg_data\((\d+), data\)", header
    )
    return int(found[1]) if found else -1


def _literal(text: str) -> str:
    printable = "".join(c for c in text if c.isprintable())
    return json.dumps(printable, ensure_ascii=False)


def runtime_archive(tensorflow: pathlib.Path) -> pathlib.Path:
    """What compiled networks need of XLA, built once for a TensorFlow and a compiler.

    It is kept in `$XDG_CACHE_HOME/mnist-gan` (`~/.cache/mnist-gan`).
    """
    sources = [HERE / "runtime" / name for name in ("CMakeLists.txt", "kernels.cc")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources))
    compiler = subprocess.run(["c++", "--version"], capture_output=True, check=True).stdout
    digest.update(compiler + metadata.version("tensorflow").encode())
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    archive = cache / "mnist-gan" / f"xla-runtime-{digest.hexdigest()[:16]}.a"
    if not archive.is_file():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
            _cmake(HERE / "runtime", pathlib.Path(folder), TENSORFLOW=tensorflow)
            os.replace(pathlib.Path(folder, "libxla_runtime.a"), archive)
    return archive


def _tensorflow_folder() -> pathlib.Path:
    distribution = metadata.distribution("tensorflow")
    folder = pathlib.Path(str(distribution.locate_file("tensorflow")))
    if not (folder / "xla_aot_runtime_src/tensorflow/compiler/tf2xla").is_dir():
        raise BuildError(
            f"TensorFlow {distribution.version} brings the sources of its ahead-of-time runtime in "
            "another place than TensorFlow 2.16, for which this is written"
        )
    return folder


def _cmake(source: pathlib.Path, folder: pathlib.Path, **settings: object) -> None:
    defined = [f"-D{name}={value}" for name, value in settings.items()]
    configure = ["cmake", "-S", source, "-B", folder, "-DCMAKE_BUILD_TYPE=Release", *defined]
    _run(configure, source, "CMake")
    _run(["cmake", "--build", folder, "--parallel"], source, "the C++ compiler")


def _run(command: list, folder: pathlib.Path, who: str) -> None:
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise BuildError(f"{who} failed:\n{last}")


if __name__ == "__main__":
    sys.exit(main())
