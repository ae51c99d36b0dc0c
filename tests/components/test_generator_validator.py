"""GeneratorValidator through `Do`: who is blessed, and what is told of who is not."""

import contextlib
import functools
import json
import pathlib
import sys
import time
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from tfx.components.util import model_utils
from tfx.types import standard_artifacts

from common.contract import GENERATOR_FILE, WARMUP_FILE
from components import server_checks as checks
from components.generator_validator import GeneratorValidator
from serving import process
from serving.server import flags
from serving.server.errors import ServingError
from serving.server.listening import free_ports
from serving.server.model_server import ModelServer
from tests.fixtures_generators import contract_of
from tests.serving.stand_ins import LIAR, program
from trainer.export import ExportedGenerator, export_generator, write_warmup_requests

LATENT, CLASSES = 8, 4


class Painter:
    """As much of a trained Keras generator as the export looks at: one dense layer."""

    def __init__(self, spoil=lambda images: images, scale: float = 1.0, seed: int = 0):
        chance = np.random.default_rng(seed)
        self.dense = keras.Variable(scale * chance.normal(size=[LATENT + CLASSES, 784]) / 4)
        self.weights = [self.dense]
        self.inputs = ("latent", "label")
        self.spoil = spoil

    def __call__(self, inputs, training: bool) -> tf.Tensor:
        latent, label = inputs
        features = tf.concat([latent, tf.one_hot(label, CLASSES)], axis=1)
        images = tf.tanh(tf.cast(features, self.dense.dtype) @ self.dense.value)
        return self.spoil(tf.reshape(tf.cast(images, tf.float32), [-1, 28, 28, 1]))


contract = functools.partial(contract_of, LATENT, CLASSES, classes_present=(0, 1, 3))


def nan_weights() -> Painter:
    return Painter(scale=float("nan"))


# Faults that a network can have, and a word of what is told of each.
FAULTY = {
    "not finite": nan_weights,
    "outside [-1, 1]": lambda: Painter(lambda images: 3.0 * images),
    "14": lambda: Painter(lambda images: images[:, ::2, ::2]),
    "asked again": lambda: Painter(
        lambda images: tf.clip_by_value(images + tf.random.normal(tf.shape(images)), -1.0, 1.0)
    ),
    "alone than in a batch": lambda: Painter(
        lambda images: images - tf.reduce_mean(images, axis=0, keepdims=True) / 2.0
    ),
}


@pytest.fixture
def exported(tmp_path) -> pathlib.Path:
    """A good generator's Model artifact folder; tests spoil it."""
    folder = tmp_path / "model"
    export_generator(Painter(), contract(), folder / "Format-Serving")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Servers in this process: a process of its own takes the seconds that TensorFlow takes."""

    @contextlib.contextmanager
    def running(base_path, *, model, program, arguments, seconds):
        grpc_port, rest_port = free_ports(2)
        settings = [f"--model_base_path={base_path}", f"--model_name={model}", *arguments]
        apis = [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
        server = ModelServer(flags.parse([*settings, *apis]))
        try:
            server.start()
            yield types.SimpleNamespace(
                grpc_url=f"grpc://127.0.0.1:{grpc_port}",
                rest_url=f"http://127.0.0.1:{rest_port}",
                ended=lambda patience: None,
                log=lambda: "",
            )
        except ServingError as error:
            raise process.StartError(str(error), "the log") from None
        finally:
            server.stop()

    monkeypatch.setattr(process, "running", running)
    monkeypatch.delenv(process.VARIABLE, raising=False)


def validate(folder: pathlib.Path, **config) -> standard_artifacts.InfraBlessing:
    model = standard_artifacts.Model()
    model.uri = str(folder)
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(folder.parent / f"blessing-{time.monotonic_ns()}")
    config = {"model_server": "local", **config}
    GeneratorValidator.test_call(
        model=model, blessing=blessing, validator_config=json.dumps(config)
    )
    return blessing


def report(blessing) -> dict:
    return json.loads(pathlib.Path(blessing.uri, "validation.json").read_text())


def reason(blessing) -> str:
    """Why it was not blessed; checks that it says so in every place where it has to."""
    assert not model_utils.is_infra_validated(blessing)
    assert blessing.get_int_custom_property("blessed") == 0
    assert pathlib.Path(blessing.uri, "INFRA_NOT_BLESSED").is_file()
    assert not pathlib.Path(blessing.uri, "INFRA_BLESSED").exists()
    told = blessing.get_string_custom_property("reason")
    assert told.startswith("Not blessed by GeneratorValidator: ")
    assert report(blessing)["reason"] == told and report(blessing)["blessed"] is False
    return told


def test_a_generator_that_keeps_its_promises_is_blessed(quick, exported):
    blessing = validate(exported)
    document = report(blessing)
    assert document["blessed"] is True, document
    assert [check["name"] for check in document["checks"]] == ["load", *checks.CHECKS]
    # TFX's own Pusher reads this.
    assert model_utils.is_infra_validated(blessing)
    assert pathlib.Path(blessing.uri, "INFRA_BLESSED").is_file()
    assert blessing.get_string_custom_property("server") == "the local server"
    assert "all 8 checks" in blessing.get_string_custom_property("reason")


def test_an_unconditional_generator_is_blessed_too(quick, tmp_path):
    folder = tmp_path / "model/Format-Serving"
    export_generator(Painter(), contract(conditional=False), folder)
    assert report(validate(tmp_path / "model"))["blessed"] is True


@pytest.mark.parametrize("words", FAULTY)
def test_a_faulty_network_is_not_blessed_and_the_fault_is_named(quick, tmp_path, words, caplog):
    export_generator(FAULTY[words](), contract(), tmp_path / "model/Format-Serving")
    with caplog.at_level("WARNING", "mnist_gan.progress"):
        told = reason(validate(tmp_path / "model"))
    assert words in told
    assert told in caplog.text  # which the terminal shows


def export_signatures(folder: pathlib.Path, signatures: dict, promised=None) -> None:
    """Exports these functions of modules, with the contract and all warm-up requests."""
    module = tf.Module()
    module.parts = [owner for owner, _ in signatures.values()]
    functions = {name: owner.functions[which] for name, (owner, which) in signatures.items()}
    tf.saved_model.save(module, str(folder), signatures=functions)
    (promised or contract()).write(folder)
    write_warmup_requests(contract(), folder / WARMUP_FILE)


def test_a_signature_that_is_missing_is_named(quick, tmp_path):
    module = ExportedGenerator(Painter(), contract())
    names = ("serving_default", "generate")
    folder = tmp_path / "model/Format-Serving"
    export_signatures(folder, {name: (module, name) for name in names})
    told = reason(validate(tmp_path / "model"))
    assert "load: " in told and "generate_png" in told  # the warm-up fails the load
    # Without warm-up requests for it the server starts; the checks miss it.
    (folder / WARMUP_FILE).unlink()
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)):
        pass
    told = reason(validate(tmp_path / "model"))
    assert "there is no signature generate_png (REST)" in told
    assert "no warm-up request for generate, generate_png, serving_default" in told


def test_an_output_of_another_name_is_told(quick, exported):
    module = tf.saved_model.load(str(exported / "Format-Serving"))
    functions = dict(module.signatures)
    spec = {name: tf.TensorSpec([None], tf.int64, name=name) for name in ("seed", "label")}
    drawn = functions["generate"]

    @tf.function(input_signature=[spec["seed"], spec["label"]])
    def generate(seed, label):
        return {"picture": drawn(seed=seed, label=label)["image"]}

    folder = exported.parent / "renamed/Format-Serving"
    tf.saved_model.save(module, str(folder), signatures=functions | {"generate": generate})
    contract().write(folder)
    write_warmup_requests(contract(), folder / WARMUP_FILE)
    told = reason(validate(folder.parent))
    assert "generate over gRPC has the outputs picture DT_FLOAT" in told
    assert "warm-up: generate over REST, 1 rows: no image among the outputs picture" in told
    assert "seeds: an answer has another form than promised (KeyError('image'))" in told


def test_pngs_of_other_digits_than_the_floats_are_noticed(quick, tmp_path):
    one, other = (ExportedGenerator(Painter(seed=seed), contract()) for seed in (1, 2))
    parts = {"serving_default": one, "generate": one, "generate_png": other}
    export_signatures(
        tmp_path / "model/Format-Serving", {name: (part, name) for name, part in parts.items()}
    )
    assert "png: generate_png over REST differs from generate by" in reason(
        validate(tmp_path / "model")
    )


def test_a_label_that_is_out_of_range_and_gets_an_answer_is_noticed(quick, exported):
    file = exported / "Format-Serving" / GENERATOR_FILE
    facts = json.loads(file.read_text()) | {"num_classes": 3, "classes_present": [0, 1]}
    file.write_text(json.dumps(facts))
    told = reason(validate(exported))
    assert "label 3 got an answer over REST instead of an error" in told
    # The graph's "any" includes class 3, the contract's does not.
    assert "any label: " in told


def test_a_latent_of_another_length_than_promised_is_noticed(quick, exported):
    file = exported / "Format-Serving" / GENERATOR_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"latent_dim": 9}))
    told = reason(validate(exported))
    assert (
        "serving_default over REST has the inputs label DT_INT64 [-1], latent DT_FLOAT [-1, 8]"
        in told
    )


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (GENERATOR_FILE, "contract: "),
        (WARMUP_FILE, "there is no assets.extra/tf_serving_warmup_requests"),
        ("variables/variables.index", "load: "),
    ],
)
def test_a_file_that_is_missing_is_named(quick, exported, file, words):
    (exported / "Format-Serving" / file).unlink()
    assert words in reason(validate(exported))


def test_warm_up_requests_that_are_none_are_told(quick, exported):
    file = exported / "Format-Serving" / WARMUP_FILE
    file.write_bytes(b"no TFRecord" * 10)
    assert "can't be read" in reason(validate(exported))
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"no PredictionLog")
    assert "no Predict request" in reason(validate(exported))


# Servers in processes of their own.


def test_a_server_that_crashes_when_it_is_asked_is_told_with_its_last_words(exported, tmp_path):
    crash = LIAR.format(do_more="os.kill(os.getpid(), signal.SIGSEGV)")
    blessing = validate(exported, model_server=program(tmp_path, crash))
    told = reason(blessing)
    assert "the server ended by SIGSEGV: a bug in the server" in told
    assert report(blessing)["checks"][-1]["name"] == "signatures"  # nobody is left to ask
    assert "a bug in the server" in pathlib.Path(blessing.uri, "server.log").read_text()


def test_a_server_that_falls_silent_does_not_hold_up_the_run(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "_REQUEST_SECONDS", 0.5)
    silent = LIAR.format(do_more="import time; time.sleep(1000)")
    told = reason(validate(exported, model_server=program(tmp_path, silent)))
    assert "DEADLINE_EXCEEDED" in told


def test_a_server_that_ends_at_once_is_told_with_its_last_words(exported, tmp_path):
    body = 'import sys\nprint("no such GPU", file=sys.stderr)\nsys.exit(3)'
    told = reason(validate(exported, model_server=program(tmp_path, body)))
    assert "load: the server ended with exit code 3: no such GPU" in told


def test_a_server_that_does_not_become_ready_is_given_up(exported, tmp_path):
    body = "import time\ntime.sleep(1000)"
    told = reason(validate(exported, model_server=program(tmp_path, body), load_timeout=1.0))
    assert "load: the server was not ready after 1 s" in told


@pytest.mark.e2e
def test_the_local_server_in_its_own_process_blesses_a_good_generator(exported, tmp_path):
    # By a name of TF Serving's, to see that its flags alone are used.
    body = f"""
        import os, sys
        os.execv({sys.executable!r}, [{sys.executable!r}, "-m", "serving.server", *sys.argv[1:]])
    """
    blessing = validate(exported, model_server=program(tmp_path, body))
    assert report(blessing)["blessed"] is True, report(blessing)
    assert blessing.get_string_custom_property("server") == "tensorflow_model_server"
