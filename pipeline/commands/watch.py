"""`mnist-gan watch`: a live page of a training. Imports what it needs when it runs."""

import click

from pipeline.options import FAILED, Failure, check_tfx, workspace_option

PORT = 8600


@click.command()
@workspace_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=PORT, show_default=True, type=click.IntRange(0, 65535),
    help="Port; 0 takes any that is free.",
)  # fmt: skip
def watch(workspace, host, port) -> None:
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
        page.serve(workspace, listener)
