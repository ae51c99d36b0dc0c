"""Packaging of mnist-gan. `make setup` installs the exact versions of requirements.lock."""

import pathlib

import setuptools

# The top-level names are plain words, so the packages are listed: find_packages() would also pick
# up whatever folder lies beside them.
ROOMS = ["pipeline", "components", "trainer", "metrics", "serving"]
PACKAGES = ROOMS + [f"{room}.{name}" for room in ROOMS for name in setuptools.find_packages(room)]

setuptools.setup(
    name="mnist-gan",
    version="0.1.0",
    description="A TFX pipeline that trains a GAN on handwritten digits and ships only "
    "generators that deserve it",
    long_description=pathlib.Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.11",
    packages=PACKAGES,
    package_data={
        "metrics": ["weights/*"],
        "serving": ["*.yaml", "*.md", "config/*", "page/static/*"],
        "pipeline": ["report/templates/*"],
    },
    install_requires=[
        "tfx==1.16.0",
        "tensorflow==2.16.2",
        "tensorflow-datasets>=4.9.7",
        # Later Beams drop dill, which tfx-bsl imports; [gcp] is what TFX itself imports.
        "apache-beam[gcp]==2.59.0",
        "ml-metadata==1.16.0",
        "tensorboard",
        "tensorflow-serving-api==2.16.1",
        # Newer ones take 8 s to import and warn about Python 3.10 on every start.
        "google-cloud-aiplatform<1.60",
        # tensorflow-hub, which TFX imports, needs pkg_resources.
        "setuptools<81",
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
        # Unpinned it would bring a protobuf that TFX can't use.
        "grpcio-health-checking==1.48.2",
    ],
    extras_require={
        "dev": ["pytest", "ruff", "hypothesis", "playwright"],
        "notebook": ["ipykernel", "nbconvert", "nbformat"],
        "kubeflow": ["kfp==2.5.0"],
    },
    entry_points={"console_scripts": ["mnist-gan = pipeline.cli:main"]},
)
