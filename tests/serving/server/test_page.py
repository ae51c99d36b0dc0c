"""The playground, in a real browser on a real server."""

import base64
import contextlib
import io
import itertools
import json
import os
import re
import shutil
import subprocess

import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common import contract
from common.images import to_uint8
from serving.server import flags, page
from serving.server.model_server import ModelServer
from tests.conftest import contrast
from tests.serving.server import saved_models
from tests.serving.server.conftest import free_ports
from trainer import models
from trainer.export import export_generator
from trainer.training_config import make_config

LATENT = 12
SECTIONS = ["draw", "between", "directions", "sheet"]
DIGITS = tuple(map(str, range(10)))
ODD_NAME = "it's one; $(x)"
CLOTHES = ("T-shirt/top", "trouser", "pullover")


def write_generator(folder, *, seed=0, class_names=DIGITS, conditional=True, metadata=None) -> None:
    """A generator as the trainer exports it, untrained; `metadata` as the Pusher adds it."""
    config = make_config(latent_dim=LATENT, generator_channels=4)
    promises = contract.GeneratorContract(
        model="cdcgan",
        latent_dim=LATENT,
        latent_distribution="normal",
        image_shape=(28, 28, 1),
        value_range=(-1.0, 1.0),
        num_classes=len(class_names),
        class_names=class_names,
        classes_present=tuple(range(len(class_names))),
        conditional=conditional,
        training={"data": {"name": "toys"}},
    )
    keras.utils.set_random_seed(seed)
    network = models.float32_generator(config, len(class_names))
    export_generator(network if conditional else _Deaf(network), promises, folder)
    (folder / contract.WARMUP_FILE).unlink()  # a test need not wait for it
    if metadata is not None:
        (folder / "assets.extra" / "metadata.json").write_text(json.dumps(metadata))


class _Deaf:
    """A generator that is told no labels."""

    def __init__(self, network):
        self._network, self.weights = network, network.weights

    def __call__(self, inputs, training):
        labels = tf.zeros(tf.shape(inputs[0])[:1], tf.int64)
        return self._network([inputs[0], labels], training=training)


PUSHED = {
    "preset": "standard",
    "pushed_at": "2026-01-02T03:04:05Z",
    "data": {"dataset": "toys"},
    "metrics": {"fid": 0.34452, "relative_fid": 2.0985},
    "blessing": {"blessed": True, "forced": False, "reason": "It is good enough."},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders of generators of every kind, to be copied into a base path."""
    root = tmp_path_factory.mktemp("generators")
    write_generator(root / "digits", metadata=PUSHED)
    forced = {"blessed": True, "forced": True, "reason": "<b>Because</b>"}
    spoilt = {**PUSHED, "preset": "smoke", "metrics": {"fid": float("nan")}, "blessing": forced}
    write_generator(root / "clothes", class_names=CLOTHES, metadata=spoilt)
    write_generator(root / "unconditional", conditional=False)
    saved_models.write_half_plus_two(root / "half_plus_two")
    return root


def place(source, base_path, version) -> None:
    """Publishes a copy as the Pusher does: aside, then a rename."""
    shutil.copytree(source, base_path / f".tmp-{version}")
    os.rename(base_path / f".tmp-{version}", base_path / str(version))


@pytest.fixture(scope="module")
def serve():
    """Starts servers: serve(base_path, "--flag=value", ...) -> (server, address)."""
    with contextlib.ExitStack() as stack:

        def starter(base_path, *arguments):
            port = free_ports(1)[0]
            own = [f"--model_base_path={base_path}", "--model_name=m", "--port=0"]
            parsed = flags.parse([*own, f"--rest_api_port={port}", *arguments])
            server = ModelServer(parsed)
            server.core.manager._poll_seconds = 0.05
            server.start()
            stack.callback(server.stop)
            return server, f"http://127.0.0.1:{server.rest_port}/"

        yield starter


@pytest.fixture(scope="module")
def address(made, serve, tmp_path_factory):
    """A server with one pushed generator of digits."""
    base_path = tmp_path_factory.mktemp("m")
    place(made / "digits", base_path, 7)
    return serve(base_path)[1]


MODEL = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" {} }}'


@pytest.fixture(scope="module")
def zoo(made, serve, tmp_path_factory):
    """A server with a model of each kind."""
    folder = tmp_path_factory.mktemp("zoo")
    entries = []
    for kind in made.iterdir():
        (folder / kind.name).mkdir()
        place(kind, folder / kind.name, 1)
        entries.append(MODEL.format(kind.name, folder / kind.name, ""))
    entries.append(MODEL.format(ODD_NAME, folder / "digits", ""))
    (folder / "models.config").write_text(f"model_config_list {{ {' '.join(entries)} }}")
    return serve("", f"--model_config_file={folder / 'models.config'}")[1]


@pytest.fixture
def open_page(browser):
    """Opens a page once it has drawn all; what the console says, and any request to elsewhere,
    fails the test unless `tolerant`."""
    complaints = []
    with contextlib.ExitStack() as stack:

        def opened(address, model=None, tolerant=False, **options):
            context = browser.new_context(**options)
            stack.callback(context.close)
            tab = context.new_page()
            tab.set_default_timeout(20_000)
            if not tolerant:
                tab.on("console", lambda message: complaints.append(message.text))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            elsewhere = lambda r: not r.url.startswith((address, "data:"))  # noqa: E731
            tab.on("request", lambda r: complaints.append(r.url) if elsewhere(r) else None)
            tab.goto(address)
            tab.locator("#facts dd").first.wait_for()
            if model is not None:
                tab.locator("#model").select_option(model)
            settle(tab)
            return tab

        yield opened
    assert complaints == []


def settle(tab) -> None:
    """Waits until nothing is being drawn."""
    tab.wait_for_function("() => !document.querySelector('[aria-busy=true]')")


def pixels(tab, selector: str) -> np.ndarray:
    """What an <img> shows, uint8 [28, 28]."""
    return decode(tab.locator(selector).get_attribute("src"))


def decode(address: str) -> np.ndarray:
    data = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def alts(tab, selector: str) -> list[str]:
    return tab.locator(selector).evaluate_all("images => images.map(image => image.alt)")


def sources(tab, selector: str) -> list[str]:
    return tab.locator(selector).evaluate_all("images => images.map(image => image.src)")


def fill(tab, selector: str, value) -> None:
    tab.locator(selector).fill(str(value))
    settle(tab)


def press(tab, selector: str) -> None:
    tab.locator(selector).click()
    settle(tab)


def facts(tab) -> dict[str, str]:
    names, values = tab.locator("#facts dt"), tab.locator("#facts dd")
    return dict(zip(names.all_inner_texts(), values.all_inner_texts(), strict=True))


# --- what it says


def test_it_shows_model_version_fid_and_blessing_as_they_were_pushed(open_page, address):
    tab = open_page(address)
    assert facts(tab) == {
        "Model": "m",
        "Version": "7",
        "Trained on": "toys",
        "FID": "0.345",
        "Relative FID": "2.10",
        "Blessing": "blessed",
        "Pushed": "2026-01-02 03:04:05 UTC",
    }
    tab.get_by_text("What the judge said").click()
    assert tab.locator("#verdict p").inner_text() == "It is good enough."
    # One model in one version: nothing to switch.
    assert not tab.locator("#model-switch").is_visible()
    assert tab.locator("#version option").all_inner_texts() == ["newest (7)"]


def test_other_classes_force_smoke_and_a_fid_that_could_not_be_had_are_told(open_page, zoo):
    tab = open_page(zoo, "clothes")
    assert "FID" not in facts(tab)
    assert facts(tab)["Blessing"] == "by force"
    tab.get_by_text("What the judge said").click()
    # What papers say is text, whatever it looks like.
    assert tab.locator("#verdict p").inner_text().endswith("nothing to use. <b>Because</b>")
    assert tab.locator(".chips label").all_inner_texts() == [*CLOTHES, "any class"]
    assert tab.locator("#drawn h3").inner_text() == "pullover"
    assert tab.locator("#to-class option").all_inner_texts() == list(CLOTHES)
    assert tab.locator("#sheet-picture").get_attribute("aria-label").endswith("seeds 0 to 29")


def test_a_generator_that_is_unconditional_is_drawn_without_classes(open_page, zoo):
    tab = open_page(zoo, "unconditional")
    for control in ("#draw-classes", "#from-class", "#to-class", "#directions-class"):
        assert not tab.locator(control).is_visible(), control
    assert len(sources(tab, "#drawn img")) == 16
    assert "class switches" not in tab.locator("#between-text").inner_text()
    press(tab, "#picked-from")
    fill(tab, "#way", 0)
    assert difference(pixels(tab, "#between-picture"), pixels(tab, "#picked img")) <= 1
    assert tab.locator("#sheet-title").inner_text() == "A hundred images"
    assert tab.locator(".problem:visible").count() == 0
    assert facts(tab) == {"Model": "unconditional", "Version": "1", "Trained on": "toys"}


def test_a_model_of_someone_else_is_told_kindly(open_page, zoo):
    tab = open_page(zoo, "half_plus_two")
    assert tab.locator("#nothing h2").inner_text() == "Nothing to draw"
    assert "serving_default(x) -> y" in tab.locator("#signatures li").all_inner_texts()
    for name in SECTIONS:
        assert not tab.locator(f"#{name}").is_visible()
    assert not tab.locator("nav").is_visible()
    assert command(tab, "#nothing") == f"curl {zoo}v1/models/half_plus_two/metadata"
    assert facts(tab) == {"Model": "half_plus_two", "Version": "1"}


# --- what it draws


def test_classes_seeds_and_counts_are_drawn_at_once(open_page, address):
    tab = open_page(address)
    assert alts(tab, "#drawn img") == [f"7, seed {i}" for i in range(16)]
    before = sources(tab, "#drawn img")
    fill(tab, "#draw-count", 3)
    assert sources(tab, "#drawn img") == before[:3]
    fill(tab, "#draw-seed", 2)
    assert sources(tab, "#drawn img")[0] == before[2]
    press(tab, ".chips label:has-text('3')")
    assert tab.locator("#drawn h3").all_inner_texts() == ["3", "7"]
    assert alts(tab, "#drawn img") == [f"{c}, seed {s}" for c in (3, 7) for s in (2, 3, 4)]
    press(tab, ".chips label:has-text('3')")
    press(tab, ".chips label:has-text('7')")
    assert tab.locator("#drawn").inner_text() == "Choose a class."
    assert not tab.locator("#picked").is_visible()
    press(tab, ".chips label:has-text('any class')")
    assert alts(tab, "#drawn img") == [f"any class, seed {i}" for i in (2, 3, 4)]
    drawn = sources(tab, "#drawn img")
    fill(tab, "#draw-count", 5000)
    assert sources(tab, "#drawn img") == drawn, "a value that does not fit is not asked for"
    assert tab.locator("#draw-count:invalid").count() == 1
    assert tab.locator("#draw .problem").is_hidden()
    fill(tab, "#draw-count", 3)
    tab.locator("#draw-signature").select_option("generate")
    settle(tab)
    assert '"signature_name":"generate",' in command(tab, "#draw-request")
    for one, other in zip(drawn, sources(tab, "#drawn img"), strict=True):
        assert difference(decode(one), decode(other)) <= 1
    drawn = sources(tab, "#drawn img")
    press(tab, "#draw-other")
    assert sources(tab, "#drawn img") != drawn


def test_an_image_can_be_picked_by_keyboard_saved_and_walked_from(open_page, address, tmp_path):
    tab = open_page(address)
    press(tab, ".chips label:has-text('any class')")
    tab.locator("#drawn input").first.focus()
    tab.keyboard.press("ArrowLeft")  # around to the last, of any class
    settle(tab)
    caption = tab.locator("#picked figcaption").inner_text()
    label = re.fullmatch(r"(\d), seed 15", caption)[1]
    picked = pixels(tab, "#picked img")
    assert sources(tab, "#picked img")[0] == sources(tab, "#drawn img")[-1]
    with tab.expect_download() as download:
        tab.locator("#picked-save").click()
    assert download.value.suggested_filename == f"seed-15-class-{label}.png"
    download.value.save_as(tmp_path / "one.png")
    assert (np.asarray(Image.open(tmp_path / "one.png")) == picked).all()

    # The page's own latent of a seed is the graph's: the same digit comes by `serving_default`.
    press(tab, "#picked-from")
    fill(tab, "#way", 0)
    assert (tab.input_value("#from-class"), tab.input_value("#from-seed")) == (label, "15")
    assert difference(pixels(tab, "#between-picture"), picked) <= 1
    press(tab, "#picked-to")
    fill(tab, "#way", 100)
    assert difference(pixels(tab, "#between-picture"), picked) <= 1
    press(tab, "#picked-directions")
    assert difference(pixels(tab, "#directions-picture"), picked) <= 1


def test_latents_and_the_ways_between_them_are_right(open_page, address):
    tab = open_page(address)
    for seed in (0, 1, 2**31, 12345678901, 2**53 - 1):
        ours = tab.evaluate(
            "async (seed) => { const l = await import('/page/latents.js'); return ["
            "l.latentOf(seed, 9, 'normal'), l.latentOf(seed, 9, 'uniform'), "
            "l.classOf(seed, [2, 3, 5, 7, 11])]; }",
            seed,
        )
        key, other = (tf.constant([seed, stream], tf.int64) for stream in (0, 1))
        normal = tf.random.stateless_normal([9], key, alg="philox")
        uniform = tf.random.stateless_uniform([9], key, -1.0, 1.0, alg="philox")
        index = tf.random.stateless_uniform([], other, 0, 5, tf.int32, alg="philox")
        np.testing.assert_allclose(ours[0], normal, atol=2e-6)
        np.testing.assert_allclose(ours[1], uniform, atol=1e-6)
        assert ours[2] == (2, 3, 5, 7, 11)[index]
    # The way between two normal latents keeps their length.
    ways = tab.evaluate(
        "async () => { const l = await import('/page/latents.js'); const [a, b] = [[3, 0], [0, 3]];"
        "return [l.interpolate(a, b, 0.5, 'normal'), l.interpolate(a, b, 0.5, 'uniform'),"
        " l.interpolate(a, a, 0.3, 'normal')]; }"
    )
    np.testing.assert_allclose(ways, [[3 * 0.5**0.5] * 2, [1.5, 1.5], [3, 0]], atol=1e-9)


def test_the_slider_walks_from_one_digit_to_another(open_page, address):
    tab = open_page(address)
    assert len(sources(tab, "#between-strip img")) == 9
    assert alts(tab, "#between-strip img")[3:5] == [
        "38 % of the way: 3",
        "50 % of the way: 8",  # the class switches halfway
    ]
    assert tab.locator("#way").get_attribute("aria-valuetext") == "50 % of the way: 8"
    tab.locator("#way").focus()
    tab.keyboard.press("Home")
    settle(tab)
    first = pixels(tab, "#between-picture")
    assert difference(first, decode(sources(tab, "#between-strip img")[0])) == 0
    tab.keyboard.press("ArrowRight")
    settle(tab)
    assert tab.locator("#way").get_attribute("aria-valuetext") == "1 % of the way: 3"
    assert 0 < difference(pixels(tab, "#between-picture"), first) < 64
    tab.locator("#to-class").select_option("3")
    settle(tab)
    assert {alt[-1] for alt in alts(tab, "#between-strip img")} == {"3"}
    strip = sources(tab, "#between-strip img")
    fill(tab, "#to-seed", 99)
    assert sources(tab, "#between-strip img")[0] == strip[0]
    assert sources(tab, "#between-strip img")[-1] != strip[-1]
    press(tab, "#between-other")
    assert sources(tab, "#between-strip img")[0] != strip[0]


def test_a_slider_can_be_dragged_faster_than_the_server_draws(open_page, address):
    tab = open_page(address)
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.evaluate(
        """() => { const way = document.getElementById("way");
          for (let i = 1; i <= 100; i++) {
            way.value = i; way.dispatchEvent(new Event("input", { bubbles: true }));
          } }"""
    )
    settle(tab)
    assert tab.locator("#between-picture").get_attribute("alt") == "100 % of the way: 8"
    assert len([url for url in asked if url.endswith(":predict")]) == 2  # the first and the last


def test_single_directions_are_walked_one_by_one(open_page, address):
    tab = open_page(address)
    names = tab.locator(".direction span")
    by_strength = names.all_inner_texts()
    ends = [decode(source) for source in sources(tab, ".direction img")]
    change = [difference(a, b, np.mean) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    # But for what rounding to grey levels hides.
    assert all(one > other - 0.5 for one, other in itertools.pairwise(change))
    assert change[0] > change[-1]
    assert tab.locator("#directions-shown").inner_text() == f"1 to 8 of {LATENT}"
    start = pixels(tab, "#directions-picture")

    slider = tab.locator(".direction input").first
    slider.focus()
    tab.keyboard.press("End")
    settle(tab)
    assert difference(pixels(tab, "#directions-picture"), ends[1]) == 0
    # The others start from where it is now.
    assert difference(decode(sources(tab, ".direction img")[2]), ends[2]) > 0

    press(tab, "#directions-next")
    assert tab.locator("#directions-shown").inner_text() == f"9 to {LATENT} of {LATENT}"
    assert not set(names.all_inner_texts()) & set(by_strength)
    assert tab.locator("#directions-next").is_disabled()
    press(tab, "#directions-previous")
    assert names.all_inner_texts() == by_strength
    assert slider.input_value() == "3"
    press(tab, "#directions-back")
    assert (pixels(tab, "#directions-picture") == start).all()
    tab.locator("#directions-strongest").uncheck()
    settle(tab)
    assert names.all_inner_texts() == [f"z{i}" for i in range(1, 9)]
    tab.locator("#directions-class").select_option("4")
    settle(tab)
    fill(tab, "#directions-seed", 5)
    assert tab.locator("#directions-picture").get_attribute("alt").startswith("4, seed 5")
    assert difference(pixels(tab, "#directions-picture"), start) > 0


def test_the_sheet_holds_ten_of_each(open_page, address, tmp_path):
    tab = open_page(address)
    canvas = tab.locator("#sheet-picture")
    assert canvas.get_attribute("aria-label") == "Ten of each class, seeds 0 to 99"

    def saved() -> np.ndarray:
        with tab.expect_download() as download:
            tab.locator("#sheet-save").click()
        download.value.save_as(tmp_path / "sheet.png")
        return np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))

    sheet = saved()
    assert sheet.shape == (604, 604)
    # The eighth row's first picture has the seed 70, twice as large.
    fill(tab, "#draw-seed", 70)
    assert (sheet[424:480:2, 4:60:2] == decode(sources(tab, "#drawn img")[0])).all()
    fill(tab, "#sheet-seed", 70)
    assert (saved()[4:60, 4:60] != sheet[4:60, 4:60]).any()
    press(tab, "#sheet-other")
    assert not canvas.get_attribute("aria-label").endswith("seeds 70 to 169")


def difference(one: np.ndarray, other: np.ndarray, reduce=np.max) -> float:
    """In grey levels."""
    return float(reduce(np.abs(one.astype(int) - other.astype(int))))


# --- the requests that it shows


def command(tab, section: str) -> str:
    return tab.locator(f"{section} .request code").last.text_content()


def run(text: str, folder) -> bytes:
    """Runs a command as it was copied."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on PATH")
    quiet = text.replace("curl ", "curl -s --noproxy '*' ", 1)
    return subprocess.run(
        quiet, shell=True, cwd=folder, check=True, capture_output=True, timeout=60
    ).stdout


def test_the_commands_give_the_very_images(open_page, address, tmp_path):
    tab = open_page(address)
    drawn = [
        output["b64"] for output in json.loads(run(command(tab, "#draw-request"), "."))["outputs"]
    ]
    assert [f"data:image/png;base64,{b64}" for b64 in drawn] == sources(tab, "#drawn img")

    assert run(command(tab, "#picked"), tmp_path) == b""
    one = Image.open(tmp_path / "seed-0.png")
    assert (np.asarray(one) == pixels(tab, "#picked img")).all()

    for section in ("#between", "#directions"):
        (image,) = json.loads(run(command(tab, section), "."))["outputs"]
        shown = pixels(tab, f"{section}-picture")
        assert difference(to_uint8(np.array(image))[..., 0], shown) <= 1
    assert len(json.loads(run(command(tab, "#sheet"), "."))["outputs"]) == 100


def test_a_request_is_copied_by_one_press(open_page, address):
    tab = open_page(address)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.locator("#draw-request button").click()
    tab.locator("#draw-request button", has_text="Copied").wait_for()
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied == command(tab, "#draw-request")
    assert copied.startswith('curl -d \'{"signature_name":"generate_png"')
    tab.locator("#draw-request button", has_text="Copy").wait_for()
    # Where the browser gives no clipboard, the text is selected.
    tab.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    tab.locator("#draw-request button").click()
    tab.locator("#draw-request button", has_text="Copied").wait_for()
    assert tab.evaluate("getSelection().toString()").startswith("curl -d")


def test_odd_names_are_quoted_for_a_shell(open_page, zoo):
    tab = open_page(zoo, ODD_NAME)
    answer = json.loads(run(command(tab, "#draw-request"), "."))
    assert len(answer["outputs"]) == 16


# --- what happens while it is open


def test_a_server_that_goes_away_and_comes_back(open_page, made, serve, tmp_path):
    place(made / "digits", tmp_path, 1)
    server, url = serve(tmp_path)
    tab = open_page(url, tolerant=True)
    before = sources(tab, "#drawn img")
    server.stop()
    message = tab.locator("#message")
    tab.locator("#message", has_text="does not answer").wait_for()
    assert message.get_attribute("role") == "status"
    fill(tab, "#draw-seed", 40)
    assert sources(tab, "#drawn img") == before
    serve(tmp_path, f"--rest_api_port={server.rest_port}")
    tab.locator("#message", has_text="answers again").wait_for()
    settle(tab)
    assert alts(tab, "#drawn img")[0] == "7, seed 40"


def test_a_version_pushed_while_the_page_is_open_is_drawn(open_page, made, serve, tmp_path):
    place(made / "digits", tmp_path, 1)
    tab = open_page(serve(tmp_path)[1], tolerant=True)
    before = pixels(tab, "#picked img")
    fill(tab, "#draw-count", 5)
    tab.locator("#draw-count").focus()
    write_generator(tmp_path / ".tmp-2", seed=1, metadata=PUSHED | {"metrics": {"fid": 0.2}})
    os.rename(tmp_path / ".tmp-2", tmp_path / "2")
    tab.locator("#message", has_text="Version 2 has taken the place of 1").wait_for()
    settle(tab)
    assert facts(tab)["Version"] == "2"
    assert facts(tab)["FID"] == "0.200"
    assert (pixels(tab, "#picked img") != before).any()
    # Nothing that was set is lost, the place in the page included.
    assert tab.locator("#drawn img").count() == 5
    assert tab.evaluate("document.activeElement.id") == "draw-count"


def test_models_versions_and_labels_can_be_switched(open_page, made, serve, tmp_path):
    for name, kind, version in (
        ("first", "digits", 1),
        ("first", "clothes", 2),
        ("second", "unconditional", 5),
    ):
        (tmp_path / name).mkdir(exist_ok=True)
        place(made / kind, tmp_path / name, version)
    labels = (
        'version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 }'
        "model_version_policy { all {} }"
    )
    first = MODEL.format("first", tmp_path / "first", labels)
    second = MODEL.format("second", tmp_path / "second", "")
    (tmp_path / "models.config").write_text(f"model_config_list {{ {first} {second} }}")
    url = serve(
        "",
        f"--model_config_file={tmp_path / 'models.config'}",
        "--allow_version_labels_for_unavailable_models",
    )[1]
    tab = open_page(url, tolerant=True)
    version = tab.locator("#version")
    # The server answers as soon as one version is there; the page shows the other when it comes.
    for text in ("stable (1)", "newest (2)"):
        version.locator("option", has_text=text).wait_for(state="attached")
    assert sorted(tab.locator("#version option").all_inner_texts()) == sorted(
        ["newest (2)", "stable (1)", "canary (2)", "2", "1"]
    )
    assert facts(tab)["Version"] == "2"
    version.select_option(label="stable (1)")
    settle(tab)
    assert facts(tab)["Version"] == "1"
    assert tab.locator(".chips label").first.inner_text() == "0"
    assert "/v1/models/first/labels/stable:predict" in command(tab, "#draw-request")
    version.select_option(label="1")
    settle(tab)
    assert "/v1/models/first/versions/1:predict" in command(tab, "#draw-request")

    # The version that was chosen goes; the newest is shown, and the page says so.
    shutil.rmtree(tmp_path / "first" / "1")
    tab.locator("#message", has_text="Version 1 is served no longer").wait_for()
    settle(tab)
    assert (facts(tab)["Version"], version.input_value()) == ("2", "")

    tab.locator("#model").select_option("second")
    tab.locator("#sheet-title", has_text="A hundred").wait_for()
    settle(tab)
    assert facts(tab)["Model"] == "second"
    assert "/v1/models/second:predict" in command(tab, "#draw-request")
    assert tab.locator(".problem:visible").count() == 0


# --- for everyone


@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_it_fits_every_width_and_can_be_read_in_both_schemes(open_page, address, scheme, width):
    tab = open_page(address, color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in SECTIONS:
        assert tab.locator(f"#{name} h2").is_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    for selector in ("body", "nav a", "label", "figcaption", "#facts .good dd", ".chips label"):
        assert contrast(tab, selector) >= 4.5, selector


def test_everything_has_a_name_and_can_be_reached_by_keyboard(open_page, address):
    tab = open_page(address)
    assert tab.evaluate(
        "[...document.querySelectorAll('input, select')]"
        ".every((i) => i.labels.length || i.closest('[hidden]'))"
    )
    unnamed = tab.evaluate(
        "[...document.images].filter((i) => !i.alt && !i.closest('.direction')).length"
    )
    assert unnamed == 0  # those beside a slider only repeat what it is
    names = tab.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(names) == len(set(names))
    wanted = {
        "version", "draw-seed", "draw-count", "draw-signature", "draw-other", "picked-from",
        "picked-to", "picked-directions", "picked-save", "from-class", "from-seed", "to-class",
        "to-seed", "between-other", "way", "directions-class", "directions-seed",
        "directions-strongest", "directions-back", "directions-next", "sheet-seed", "sheet-other",
        "sheet-save",
    }  # fmt: skip
    reached, chips = set(), set()
    for _ in range(70):
        tab.keyboard.press("Tab")
        name, chip = tab.evaluate(
            "[document.activeElement.id, document.activeElement.closest('.chips label')?.innerText]"
        )
        reached.add(name)
        chips.add(chip)
    assert wanted <= reached
    assert {*DIGITS, "any class"} <= chips


def test_without_scripts_it_says_so(browser, address):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(address)
    assert tab.get_by_text("This page draws by JavaScript").is_visible()
    context.close()


# --- the server's side


def test_papers_come_from_a_route_of_our_own(zoo):
    with httpx.Client(base_url=zoo, trust_env=False) as http:
        models = http.get("page/models.json").json()["models"]
        clothes = {model["name"]: model for model in models}["clothes"]
        (version,) = clothes.pop("versions")
        assert clothes == {"name": "clothes", "labels": {}}
        assert version["version"] == "1"
        assert version["contract"]["class_names"] == list(CLOTHES)
        assert version["metadata"]["metrics"] == {"fid": None}
        for path in page.STATIC.iterdir():
            if path.name != "index.html":
                assert http.get(f"page/{path.name}").content == path.read_bytes()
        policy = http.get("").headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        for elsewhere in ("page/", "page/../client.py", "page/%2e%2e/__init__.py", "page/nothing"):
            answer = http.get(elsewhere)
            assert answer.status_code == 404
            assert answer.json()["error"].startswith("Not found")
