"""`mnist-gan report`: writes the page and says where. Imports what it needs when it runs."""

import json

import click

from pipeline.commands.lineage import reading
from pipeline.options import check_tfx, json_option, workspace_option


@click.command()
@workspace_option
@click.option(
    "--compare", nargs=2, metavar="A B", help="Two runs side by side (names, or version:N)."
)
@json_option
def report(workspace, compare, as_json) -> None:
    """Write report/index.html: verdict, history, lineage, data, training, judge, on one page."""
    check_tfx()
    from report import pages

    with reading(workspace, None):
        path = pages.compare(workspace, *compare) if compare else pages.build(workspace)
    if as_json:
        click.echo(json.dumps({"report": str(path)}))
    else:
        click.echo(str(path))
