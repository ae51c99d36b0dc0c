"""The report of a whole workspace, of an incomplete one, and of two runs; in a real browser."""

import json
import os
import pathlib
import re
import shutil

import pytest
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as pb

from benchmarks.lineage import FIRST_VERSION
from lineage.store import open_store
from pipeline.commands.report import report as command
from report import gather, pages
from tests.conftest import contrast, without_tensorflow
from tests.lineage.conftest import writer
from tests.report.conftest import RUNS, add_spans, fail_last_run

SECTIONS = ["verdict", "history", "lineage", "data", "networks", "training", "judge", "serving"]


def text_of(page: pathlib.Path) -> str:
    """The page without its images and tags."""
    text = re.sub(r"<(style|script)>.*?</\1>", "", page.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


def section(page: pathlib.Path, name: str) -> str:
    content = page.read_text()
    found = re.search(rf'<section id="{name}".*?</section>', content, flags=re.DOTALL)
    assert found, f"there is no section {name}"
    return found[0]


def test_every_section_has_something_to_show(made, built):
    assert built == made.report
    for name in SECTIONS:
        assert "Nothing to show" not in section(built, name), name
        assert 'class="note"' not in section(built, name), name


def test_the_verdict_comes_first_with_reason_metrics_interval_and_data(built):
    content = built.read_text()
    assert content.index('id="verdict"') < content.index('id="history"')
    verdict = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", section(built, "verdict")))
    assert f"Blessed, version {FIRST_VERSION + 2}" in verdict
    assert "FID is low enough" in verdict
    assert "2.00 to 3.00" in verdict  # the interval of relative FID
    assert "mnist 3.0.1: 300 train, 30 eval, 30 test" in verdict
    assert f"Served version {FIRST_VERSION + 2}" in verdict


def test_drift_of_every_span_is_shown_beside_its_threshold(workspace, built):
    assert "Spans" not in section(built, "data")
    add_spans(workspace)
    data = section(pages.build(workspace), "data")
    table = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", data[data.index("compared with") :]))
    assert "3 span 2 900 (800) 96.88 % 76.5 % 0.015 0.035 gone: &lt;7&gt;" in table
    assert "2 span 1 900 (800) 60 % 76.5 % 0.015 0.035" in table
    assert data.count("bad-text") == 1
    assert "span 3, images: 126.6" in data  # in the drawing


def test_the_history_shows_every_fid_with_its_interval(built):
    history = section(built, "history")
    table = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", history))
    assert table.count("(1.5 to 2.5)") == 3
    # The drawing has it too.
    assert "blessed, pushed, interval 1.5 to 2.5" in history


def test_what_was_measured_while_training_is_drawn(built):
    training = section(built, "training")
    assert "FID while training (fid_2000_eval)" in training
    assert "relative FID while training (relative_fid_2000_eval)" in training
    assert "lower end of its interval" in training and "_high)" not in training
    assert "nearest real image of the batch" in training
    assert "conditional accuracy" not in training  # it was not measured


def test_nothing_is_loaded_from_elsewhere(built):
    content = built.read_text()
    loaded = re.findall(r'src="([^"]*)"', content)
    assert loaded
    assert all(address.startswith("data:") for address in loaded)
    links = set(re.findall(r'href="([^"#]+)"', content)) - {"data:,"}
    assert links <= {"http://127.0.0.1:8501/", "http://127.0.0.1:6006/"}
    assert "default-src 'none'" in content


def test_what_others_wrote_cannot_become_markup(built):
    content = built.read_text()
    assert "recall is &lt;b&gt;too&lt;/b&gt; low" in content


def test_a_missing_artifact_costs_its_section_and_no_other(workspace):
    shutil.rmtree(workspace.pipeline_root / "Trainer" / "model_run")
    (workspace.pipeline_root / "Transform/transform_graph/0/transform_fn/assets/counts").unlink()
    page = pages.build(workspace)
    for name in ("training", "networks"):
        assert "Nothing to show: the files of ModelRun" in section(page, name)
    assert "Pixels were not counted" in section(page, "data")
    assert "Real training images" in section(page, "data")
    assert "Nothing to show" not in section(page, "judge")


def test_a_damaged_file_costs_its_section_and_no_other(workspace):
    for path in workspace.pipeline_root.glob("Trainer/model_run/*/networks.json"):
        path.write_text("{")
    for path in workspace.pipeline_root.glob("Evaluator/evaluation/*/real_above_fake.png"):
        path.write_bytes(b"torn")
    page = pages.build(workspace)
    assert "JSONDecodeError" in section(page, "networks")
    assert "is no PNG file" in section(page, "judge")
    assert "Losses while training" in section(page, "training")


def test_a_search_for_settings_has_a_section_and_a_damaged_one_has_none(workspace):
    folder = workspace.pipeline_root / "Tuner" / "tuner_results" / "99"
    folder.mkdir(parents=True)
    client = writer(workspace)
    kind = client.put_artifact_type(pb.ArtifactType(name="TunerResults"))
    client.put_artifacts([pb.Artifact(type_id=kind, uri=str(folder), state=pb.Artifact.LIVE)])
    rows = [
        {
            **{"trial_id": str(n), "model": "blocks5", "optimizer": optimizer, "score": fid},
            **{"tuner/number": n, "tuner/round": 0, "tuner/steps": 60, "tuner/cpu_seconds": 7.0},
        }
        for n, (optimizer, fid) in enumerate([("adam", 51.25), ("sgd", float("inf"))])
    ]
    results = folder / "tuner_results.json"
    results.write_text(json.dumps(rows))
    shown = section(pages.build(workspace), "search")
    assert "Of blocks5" in shown and "51.25" in shown and "sgd" in shown
    results.write_text("[{")
    with pytest.raises(gather.MissingError):
        gather.search(open_store(workspace.metadata))


def test_of_a_failed_run_the_error_stands_above_the_last_verdict(workspace):
    fail_last_run(workspace, "the loss is not finite at step 7")
    page = pages.build(workspace)
    verdict = text_of(page)
    assert "The newest run (run-00002) is FAILED: the loss is not finite at step 7" in verdict
    assert f"Blessed, version {FIRST_VERSION + 1}" in verdict


def test_a_workspace_without_a_run_is_refused(tmp_path):
    from common.workspace import Workspace

    empty = Workspace.at(tmp_path)
    with pytest.raises(FileNotFoundError):
        pages.build(empty)
    result = CliRunner().invoke(command, ["--workspace", str(tmp_path)])
    assert result.exit_code == 2
    assert "there was no run in" in result.output


def test_an_old_page_stays_whole_when_a_new_one_cannot_be_written(workspace, monkeypatch):
    page = pages.build(workspace)
    before = page.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        pages.build(workspace)
    assert page.read_bytes() == before
    assert [path.name for path in page.parent.iterdir()] == [page.name]


def test_two_runs_stand_side_by_side_and_the_better_figure_is_named(made):
    page = pages.compare(made, "run-00000", f"version:{FIRST_VERSION + 2}")
    text = text_of(page)
    assert page.name == "compare.html"
    assert "A: run-00000" in text and "B: run-00002" in text
    assert "fid 5 3 B" in text
    assert "relative_fid 2.5 1.5 cas" in text  # neither is better: the intervals meet
    assert re.search(r"seed 0 2", text)
    with pytest.raises(LookupError, match="no run 'nonsense'"):
        pages.compare(made, "run-00000", "nonsense")


def test_the_command_prints_where_the_page_is_and_needs_no_tensorflow(workspace):
    done = without_tensorflow("report", "--workspace", str(workspace.root), "--json")
    assert json.loads(done.stdout) == {"report": str(workspace.report)}
    result = CliRunner().invoke(
        command, ["--workspace", str(workspace.root), "--compare", "run-00000", "nonsense"]
    )
    assert result.exit_code == 2
    assert "there is no run 'nonsense'" in result.output


# --- in a browser


@pytest.fixture
def open_page(browser, built):
    """Opens the report; every message of the console and every request outside fails the test."""
    address = built.as_uri()
    complaints: list[str] = []

    def opened(**options):
        page = browser.new_context(**options).new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "data:")) else complaints.append(r.url),
        )
        page.goto(address)
        return page

    yield opened
    assert complaints == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_it_renders_at_every_width_and_in_both_schemes(open_page, scheme, width):
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in SECTIONS:
        assert page.locator(f"#{name} h1, #{name} h2").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Every image was decoded.
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert page.locator("svg.chart").count() >= 8


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    for selector in ("body", ".soft", "nav a", ".good-text", ".bad-text", "svg.graph .tick"):
        assert contrast(page, selector) >= 4.5, selector


@pytest.mark.parametrize("width", [390, 1440])
def test_no_text_of_a_chart_is_cut_off(open_page, width):
    page = open_page(viewport={"width": width, "height": 900})
    cut = page.evaluate(
        """() => [...document.querySelectorAll("svg.chart")].flatMap((svg) => {
          const frame = svg.getBoundingClientRect();
          return [...svg.querySelectorAll("text")].filter((text) => {
            const box = text.getBoundingClientRect();
            return box.left < frame.left - 1 || box.right > frame.right + 1
                || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
          }).map((text) => text.textContent);
        })"""
    )
    assert cut == []


def test_a_table_fits_its_column_and_a_command_can_be_copied(open_page):
    page = open_page(viewport={"width": 1440, "height": 900}, permissions=["clipboard-write"])
    assert page.evaluate(
        "[...document.querySelectorAll('#history .scroll')].every("
        "(e) => e.scrollWidth <= e.clientWidth + 1)"
    )
    assert page.locator("button.copy").count() == page.locator("pre").count() > 3
    page.locator("button.copy").first.click()
    page.locator("button.copy", has_text=re.compile("Copied|Selected")).first.wait_for()


def test_a_smoke_run_is_not_praised(workspace):
    client = writer(workspace)
    [run] = [c for c in client.get_contexts() if c.name == f"run-{RUNS - 1:05d}"]
    run.custom_properties["preset"].string_value = "smoke"
    client.put_contexts([run])
    verdict = section(pages.build(workspace), "verdict")
    assert "Smoke test passed, not for use" in verdict
    assert 'class="good-text">Smoke' not in verdict


def test_a_node_of_the_graph_opens_its_properties(open_page):
    page = open_page()
    page.locator("svg.graph a.execution", has_text="Trainer").click()
    panel = page.locator(".panels details[open]")
    assert panel.count() == 1
    assert panel.locator("summary").inner_text().startswith("Trainer")
    assert "0123456789abcdef" in panel.inner_text()


def test_the_graph_can_be_walked_by_keyboard(open_page):
    page = open_page()
    page.locator("svg.graph a").first.focus()
    page.keyboard.press("Tab")
    name = page.evaluate("document.activeElement.getAttribute('href')")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.parentElement.id") == name.removeprefix("#")
    assert page.locator(".panels details[open]").get_attribute("id") == name.removeprefix("#")


def test_training_can_be_watched_step_by_step(open_page):
    page = open_page()
    shown = page.locator(".frames figure.shown figcaption")
    assert shown.inner_text() == "step 100"
    page.locator("#frame").focus()
    page.keyboard.press("ArrowLeft")
    assert shown.inner_text() == "step 50"
    page.get_by_role("button", name="Play").click()
    page.locator(".frames figure.shown figcaption", has_text="step 100").wait_for()
    page.get_by_role("button", name="Play").wait_for()


def test_values_of_a_line_are_read_with_a_cross_hair_by_pointer_and_keys(open_page):
    page = open_page(viewport={"width": 390, "height": 800})
    figure = page.locator("figure", has_text="Losses while training").first
    figure.locator("svg").hover(position={"x": 40, "y": 60})
    assert re.fullmatch(r"step 10 · .*generator 0\.2.*", figure.locator(".reading").inner_text())
    figure.locator("svg").focus()
    page.keyboard.press("End")
    assert figure.locator(".reading").inner_text().startswith("step 100 · ")
    page.keyboard.press("ArrowLeft")
    assert figure.locator(".reading").inner_text().startswith("step 90 · ")
    assert figure.locator("svg line.hair").count() == 1


def test_of_a_moved_workspace_files_are_named_by_where_they_are_now(workspace, made):
    lineage = section(pages.build(workspace), "lineage")
    assert str(made.root) not in lineage
    assert "pipeline_root/Trainer/model/" in lineage


def test_everything_has_a_name_for_screen_readers(open_page):
    page = open_page()
    assert page.evaluate("[...document.images].every((image) => image.alt.length > 5)")
    assert page.evaluate(
        "[...document.querySelectorAll('svg')].every("
        "(svg) => document.getElementById(svg.getAttribute('aria-labelledby')))"
    )
    assert page.evaluate("[...document.querySelectorAll('input')].every((i) => i.labels.length)")
    names = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(names) == len(set(names))
    assert page.locator("h1").count() == 1


def test_it_shows_everything_without_scripts(open_page):
    page = open_page(java_script_enabled=False)
    assert page.locator(".frames img:visible").count() == 3
    assert page.locator(".panels summary:visible").count() > 10
    assert not page.locator(".player").is_visible()


def test_it_prints_on_a4(open_page, tmp_path):
    page = open_page(viewport={"width": 688, "height": 1000})  # A4 between its margins
    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    # What is wider would make the browser print everything smaller.
    assert page.evaluate("document.documentElement.scrollWidth") <= 688
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), format="A4", print_background=True)
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 40
    # A4 in points.
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12]", content)


def test_two_runs_side_by_side_render_too(browser, made):
    page = browser.new_page(viewport={"width": 360, "height": 800})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(pages.compare(made, "run-00000", "run-00002").as_uri())
    assert page.locator("svg.chart").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert complaints == []
