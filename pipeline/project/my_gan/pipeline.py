"""The pipeline: the library's, with your settings and networks, and whatever you add to it.

`make run`, or `python -m my_gan.pipeline --preset smoke` and any other option of `mnist-gan run`.
"""

import pathlib
import sys

from my_gan.settings import SETTINGS
from pipeline import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]


def create_pipeline(**options):
    """Images -> statistics -> schema -> gate -> Transform -> Trainer -> judge -> Pusher."""
    from pipeline.pipeline import create_pipeline

    made = create_pipeline(**options)
    # Components of your own read what these made, for instance of the first one:
    #     examples = made.components[0].outputs["examples"]
    #     made.components = [*made.components, YourComponent(examples=examples)]
    return made


if __name__ == "__main__":
    assignments = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    arguments = ["run", "--workspace", str(ROOT / "workspace"), *assignments, *sys.argv[1:]]
    cli.main(arguments, obj=create_pipeline)
