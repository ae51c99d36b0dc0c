"""The documentation builds without a warning, says what the code says and loads nothing."""

import json
import re
import subprocess
import sys

import click
import pytest

from judge.registry import METRICS
from pipeline import cli, configs
from tests.conftest import REPOSITORY

pytest.importorskip("material", reason="the extra `docs` is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that a strict build wrote."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder


def text_of(path) -> str:
    return re.sub(r"<[^>]+>", "", path.read_text())


def commands(command: click.Command, path: str):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, f"{path} {name}")


def test_every_command_is_in_the_reference(site):
    text = text_of(site / "reference" / "command-line.html")
    for path in commands(cli.main, "mnist-gan"):
        assert path in text
    assert "--rest_api_port" in text  # a flag of the server, which click does not know


@pytest.mark.parametrize("model", ["cdcgan", "dcgan", "blocks5", "gaussian_mlp"])
def test_every_setting_is_in_the_reference(site, model):
    html = (site / "reference" / "settings.html").read_text()
    for row in configs.describe(configs.load("standard", {"model": model})):
        assert f"<code>{row['name']}</code>" in html


def test_every_metric_is_in_the_reference(site):
    html = (site / "reference" / "metrics.html").read_text()
    for metric in METRICS:
        assert f"<code>{metric.key}</code>" in html


def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        html = page.read_text()
        loaded = re.findall(
            r"<(?:script|img|link|iframe|source)\b[^>]*(?:src|href)=\"([^\"]+)", html
        )
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//", sheet.read_text()), sheet


def test_every_image_has_a_text_for_who_does_not_see_it(site):
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<img\b[^>]*>", page.read_text()):
            assert re.search(r'alt="[^"]{4,}"', tag), (page, tag)


@pytest.mark.parametrize("lesson", configs.LESSONS)
def test_every_gan_that_fails_is_shown(lesson):
    text = (REPOSITORY / "docs" / "how-to" / "teach.md").read_text()
    assert f"**`{lesson}`**" in text and f"](../lessons/{lesson}.png)" in text


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs" / "notebooks").glob("*.md")))
def test_a_notebook_on_a_page_is_the_one_in_the_repository(page):
    """But for what it shows: `python tools/render_notebooks.py NAME` runs it again."""
    notebook = json.loads((REPOSITORY / "notebooks" / f"{page.stem}.ipynb").read_text())
    text, place = page.read_text(), 0
    for cell in notebook["cells"][1:]:
        place = text.find("".join(cell["source"]), place)
        assert place >= 0, "".join(cell["source"])


def test_links_of_the_readme_lead_somewhere():
    text = (REPOSITORY / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        if not target.startswith("http"):
            assert (REPOSITORY / target).exists(), target


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 110
