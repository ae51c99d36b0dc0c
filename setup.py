"""Packaging of mnist-gan. `make setup` installs the exact versions of one of the locks."""

import pathlib

import setuptools

# The top-level names are plain words, so the packages are listed: find_packages() would also pick
# up whatever folder lies beside them.
ROOMS = ["pipeline", "components", "trainer", "metrics", "serving"]
PACKAGES = ROOMS + [f"{room}.{name}" for room in ROOMS for name in setuptools.find_packages(room)]

# TFX 1.16 is the last with wheels for glibc 2.36 and older, and the last for Python 3.10 there;
# 1.21 needs glibc 2.39. Python's version tells them apart; nothing is there for 3.11.
OLD, NEW = "; python_version < '3.11'", "; python_version >= '3.12'"
STACK_1_16 = [
    requirement + OLD
    for requirement in (
        "tfx==1.16.0",
        "tensorflow==2.16.2",
        "ml-metadata==1.16.0",
        # Later Beams drop dill, which tfx-bsl imports; [gcp] is what TFX itself imports.
        "apache-beam[gcp]==2.59.0",
        "tensorflow-serving-api==2.16.1",
        # Newer ones take 8 s to import and warn about Python 3.10 on every start.
        "google-cloud-aiplatform<1.60",
        # Unpinned it would bring a protobuf that TFX can't use.
        "grpcio-health-checking==1.48.2",
    )
]
STACK_1_21 = [
    requirement + NEW
    for requirement in (
        "tfx==1.21.0",
        "tensorflow==2.21.0",
        "ml-metadata==1.21.0",
        "apache-beam[gcp]==2.77.0",
        "tensorflow-serving-api>=2.19",
        "grpcio-health-checking",
    )
]

setuptools.setup(
    name="mnist-gan",
    version="0.1.0",
    description="A TFX pipeline that trains a GAN on handwritten digits and ships only "
    "generators that deserve it",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,!=3.11.*,<3.14",
    packages=PACKAGES,
    package_data={
        "metrics": ["weights/*"],
        "serving": ["*.yaml", "*.md", "config/*", "page/static/*"],
        "serving.native": ["CMakeLists.txt", "runtime/*", "src/*"],
        "pipeline": ["report/templates/*"],
    },
    install_requires=[
        "keras>=3",
        "tensorflow-datasets>=4.9.7",
        # tensorflow-datasets 4.9.10 imports it without requiring it.
        "importlib_resources",
        "tensorboard",
        # tensorflow-hub, which TFX imports, needs pkg_resources.
        "setuptools<81",
        *STACK_1_16,
        *STACK_1_21,
        "click>=8.1",
        "rich>=13",
        "pydantic>=2",
        "numpy",
        "scipy",
        "scikit-learn",
        "Pillow",
        "matplotlib",
        "networkx",
        "jinja2",
        "starlette",
        "uvicorn",
        "httpx",
        "prometheus-client",
    ],
    extras_require={
        "dev": ["pytest", "pytest-xdist", "ruff", "hypothesis", "playwright"],
        # What benchmarks/metrics.py sets the metrics beside; in no lock, since torch is large.
        "compare": ["torch-fidelity", "torchmetrics", "prdc", "clean-fid"],
        "notebook": ["ipykernel", "nbconvert", "nbformat"],
        "kubeflow": [f"kfp==2.5.0{OLD}", f"kfp>=2.14{NEW}"],
    },
    entry_points={"console_scripts": ["mnist-gan = pipeline.cli:main"]},
)
