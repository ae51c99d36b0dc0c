"""`mnist-gan report`: writes the page and says where. Imports what it needs when it runs."""

import json

import click

from pipeline.options import Failure, json_option, no_run, workspace_option


@click.command()
@workspace_option
@click.option(
    "--compare", nargs=2, metavar="A B", help="Two runs side by side (names, or version:N)."
)
@json_option
def report(workspace, compare, as_json) -> None:
    """Write report/index.html: verdict, history, lineage, data, training, judge, on one page."""
    from lineage.documents import NotFoundError
    from lineage.store import StoreError
    from report import pages

    try:
        path = pages.compare(workspace, *compare) if compare else pages.build(workspace)
    except FileNotFoundError:
        raise no_run(workspace) from None
    except (StoreError, NotFoundError) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"the report could not be written: {error}") from None
    if as_json:
        click.echo(json.dumps({"report": str(path)}))
    else:
        click.echo(str(path))
