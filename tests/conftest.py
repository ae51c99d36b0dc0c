"""Fixtures for all tests."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from datasets import data_config

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

# Quiet C++ logging; TFDS must not look for a cloud that is not there.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("NO_GCE_CHECK", "true")
# Tables are as wide as a test says, whatever terminal the tests are called from.
os.environ.pop("COLUMNS", None)
# Started in the background by a shell, tests and all that they start would not hear Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# As the tests were called; each test itself runs without it (`no_surrounding_workspace`).
_NAMED_FOLDER = os.environ.get("MNIST_GAN_DATA_DIR")


def find_mnist() -> pathlib.Path | None:
    """The folder of the four original MNIST files, where there is one."""
    for folder in (
        _NAMED_FOLDER,
        REPOSITORY / "data" / "mnist",
    ):
        if folder and all(pathlib.Path(folder, name).is_file() for name in MNIST_FILES):
            return pathlib.Path(folder)
    return None


# Each runs whole pipelines, one after the other in one workspace.
IN_ONE_WORKSPACE = ("e2e/test_pipeline.py", "e2e/test_training.py")
# What trains, runs Beam, or loads servers, browsers and disks: `make quick` leaves it out.
SLOW = (
    "benchmarks/",
    "components/",
    "datasets/",
    "docs/",
    "judge/test_evaluate.py",
    "lineage/test_broken_stores.py",
    "lineage/test_servers.py",
    "lineage/test_workspace.py",
    "metrics/test_classifier.py",
    "metrics/test_features.py",
    "pipeline/test_cache.py",
    "pipeline/test_interrupted.py",
    "pipeline/test_upkeep.py",
    "pipeline/test_watch.py",
    "serving/native/",
    "serving/server/test_batching.py",
    "serving/server/test_canary.py",
    "serving/server/test_conformance.py",
    "serving/server/test_fuzz.py",
    "serving/server/test_load.py",
    "serving/server/test_page.py",
    "serving/server/test_process.py",
    "serving/server/test_server.py",
    "serving/test_process.py",
    "trainer/test_export.py",
    "trainer/test_run_fn.py",
    "trainer/test_summaries.py",
    "trainer/test_training.py",
    "trainer/test_variants.py",
)


def pytest_collection_modifyitems(items):
    """The longest files begin first; each file's tests stay in one process."""
    first = (*IN_ONE_WORKSPACE, "test_make.py")
    names = {item: item.path.relative_to(REPOSITORY / "tests").as_posix() for item in items}
    for item, name in names.items():
        if name.startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda i: first.index(names[i]) if names[i] in first else len(first))


@pytest.fixture(scope="session")
def mnist_dir() -> pathlib.Path:
    """Folder of the original MNIST files; the test skips where they are not at hand."""
    folder = find_mnist()
    if folder is None:
        pytest.skip("the original MNIST files are not at hand (MNIST_GAN_DATA_DIR)")
    return folder


@pytest.fixture(autouse=True)
def no_surrounding_workspace(monkeypatch):
    """A developer's own workspace and data folder never leak into a test."""
    monkeypatch.setattr(data_config, "MNIST_FOLDER", pathlib.Path("/nonexistent"))
    monkeypatch.delenv("MNIST_GAN_WORKSPACE", raising=False)
    monkeypatch.delenv("MNIST_GAN_DATA_DIR", raising=False)


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits as uint8 [N, 28, 28, 1], and labels int64 [N]."""
    from sklearn.datasets import load_digits

    data = load_digits()
    large = np.kron(data.images, np.ones((3, 3)))
    images = np.pad(np.rint(large * 255 / 16), [(0, 0), (2, 2), (2, 2)])
    return images.astype(np.uint8)[..., None], data.target.astype(np.int64)


@pytest.fixture(scope="module")
def browser():
    """Chromium; skips where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if program is None:
        pytest.skip("there is no chromium on PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as session:
        found = session.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--headless", "--disable-gpu",
                  "--disable-background-networking", "--no-first-run"],
        )  # fmt: skip
        yield found
        found.close()


def fresh(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def without_tensorflow(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `mnist-gan` in a process of its own, which may import neither TensorFlow nor TFX."""
    code = (
        "import sys; sys.argv[0] = 'mnist-gan'\n"
        "from pipeline.cli import main\n"
        "try: main()\n"
        "finally: assert not {'tensorflow', 'tfx', 'keras', 'apache_beam'} & set(sys.modules)"
    )
    result = fresh(code, *arguments, **environment)
    assert "Traceback" not in result.stderr, result.stderr
    return result


def contrast(page, selector: str) -> float:
    """WCAG's contrast of an element's text against a browser's page."""
    return page.evaluate(
        """(selector) => {
          const light = (colour) => {
            const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
              .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
          };
          const element = document.querySelector(selector);
          const style = getComputedStyle(element);
          const text = light(element instanceof SVGElement ? style.fill : style.color);
          const paper = light(getComputedStyle(document.body).backgroundColor);
          return (Math.max(text, paper) + 0.05) / (Math.min(text, paper) + 0.05);
        }""",
        selector,
    )
