"""The packages and their data files; everything else that packaging asks is in pyproject.toml."""

import setuptools

# The top-level names are plain words, so the packages are listed: find_packages() would also pick
# up whatever folder lies beside them.
TOP_LEVEL = [
    *("common", "components", "datasets", "judge", "lineage"),
    *("metrics", "pipeline", "report", "serving", "trainer"),
]

setuptools.setup(
    packages=TOP_LEVEL
    + [f"{top}.{name}" for top in TOP_LEVEL for name in setuptools.find_packages(top)],
    package_data={
        "": ["py.typed"],
        "metrics": ["weights/*"],
        "serving": ["*.yaml", "*.md", "config/*", "kubernetes/*", "monitoring/*", "monitoring/*/*"],
        "serving.server": ["page/static/*"],
        "serving.native": ["CMakeLists.txt", "runtime/*", "src/*"],
        "report": ["templates/*"],
        "pipeline": ["project/*", "project/*/*.py"],
        "pipeline.watch": ["static/*"],
    },
)
