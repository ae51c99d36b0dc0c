"""`mnist-gan watch`: a live page of a training. Imports what it needs when it runs."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import click

from common.workspace import Workspace
from pipeline.options import FAILED, Failure, check_tfx, workspace_option

PORT = 8600


@click.command()
@workspace_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535),
    help="Port; 0 takes any that is free.",
)  # fmt: skip
@click.option("--with-parent", is_flag=True, hidden=True)  # `mnist-gan run --watch` starts it so
def watch(workspace, host, port, with_parent) -> None:
    """Show a running or finished training on a live page: samples, losses, nodes, time left."""
    check_tfx()
    from pipeline import watch as page
    from serving.server.listening import listen

    if not workspace.root.is_dir():
        raise Failure(
            f"there is no workspace at {workspace.root}: `mnist-gan run` makes one, --workspace "
            "names another"
        )
    try:
        listener = listen(host, port, "--port")
    except OSError as error:
        raise Failure(str(error), FAILED) from None
    with listener:
        number = listener.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"http://{shown}:{number}/ shows {workspace.root}; Ctrl-C ends it")
        page.serve(workspace, listener, with_parent=with_parent)


@contextlib.contextmanager
def beside(workspace: Workspace) -> Iterator[str]:
    """Serves the page in a process of its own while the block runs; yields its address.

    On PORT, or where that is taken on one that is free.
    """
    from serving.server.listening import listen

    port = PORT
    try:
        listen("127.0.0.1", PORT, "--port").close()
    except OSError:
        port = 0
    command = [sys.executable, "-m", "pipeline", "watch", "--with-parent", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--workspace", str(workspace.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the run
    ) as process:
        assert process.stdout
        yield process.stdout.readline().partition(" ")[0]
