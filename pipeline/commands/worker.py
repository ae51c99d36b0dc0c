"""`mnist-gan worker`: a pool of Beam workers for runs elsewhere. Imports Beam when it runs."""

import re

import click

from pipeline.options import FAILED, Failure, check_tfx

PORT = 50000
_SCHEME = "workers://"


@click.command()
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(1, 65535), help="Port, of all "
    "addresses of this machine. Whoever reaches it can run code here.",
)  # fmt: skip
def worker(port) -> None:
    """Work for `mnist-gan run --engine workers://HOST:PORT` of this or another machine."""
    check_tfx()
    from serving.server.listening import listen

    try:
        listen("::", port, "--port").close()  # Beam would share a port without a word
    except OSError as error:
        raise Failure(str(error), FAILED) from None
    from pipeline import engines

    click.echo(f"works for `mnist-gan run --engine {_SCHEME}HOST:{port}`; Ctrl-C ends it")
    engines.serve_pool(port)


def pools(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """The HOST:PORTs of `--engine`: none for "local"."""
    if value == "local":
        return []
    found = value.removeprefix(_SCHEME).split(",")
    parts = [re.fullmatch(r"[^/,\s]+:([0-9]{1,5})", pool) for pool in found]
    if value.startswith(_SCHEME) and all(part and 0 < int(part[1]) < 65536 for part in parts):
        return found
    raise click.BadParameter(f"{value!r} is neither local nor {_SCHEME}HOST:PORT,HOST:PORT,...")
