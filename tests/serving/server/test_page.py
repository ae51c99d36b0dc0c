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
import sys
from xml.etree import ElementTree

import httpx
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common import contract
from common.images import tile, to_uint8
from serving.server import flags, page
from serving.server.model_server import ModelServer
from tests.serving.server import saved_models
from tests.serving.server.conftest import free_ports
from trainer import models
from trainer.export import export_generator
from trainer.training_config import make_config

LATENT = 12
SECTIONS = ["draw", "between", "directions", "sketch", "quiz", "sheet"]
DIGITS = tuple(map(str, range(10)))
ODD_NAME = "it's one; $(x)"
CLOTHES = ("T-shirt/top", "trouser", "pullover")


def write_generator(
    folder, *, seed=0, class_names=DIGITS, conditional=True, metadata=None, discriminator=False,
    shape=(28, 28, 1),
) -> None:  # fmt: skip
    """A generator as the trainer exports it, untrained; `metadata` as the Pusher adds it."""
    config = make_config(latent_dim=LATENT, generator_channels=4)
    promises = contract.GeneratorContract(
        model="cdcgan",
        latent_dim=LATENT,
        latent_distribution="normal",
        image_shape=shape,
        value_range=(-1.0, 1.0),
        num_classes=len(class_names),
        class_names=class_names,
        classes_present=tuple(range(len(class_names))),
        conditional=conditional,
        training={"data": {"name": "toys"}},
    )
    keras.utils.set_random_seed(seed)
    network = models.float32_generator(config, len(class_names), shape=shape)
    kept = _Brightness() if discriminator else None
    export_generator(network if conditional else _Deaf(network), promises, folder, kept)
    (folder / contract.WARMUP_FILE).unlink()  # a test need not wait for it
    if metadata is not None:
        (folder / "assets.extra" / "metadata.json").write_text(json.dumps(metadata))


class _Deaf:
    """A generator that is told no labels."""

    def __init__(self, network):
        self._network, self.weights = network, network.weights
        self.inputs = network.inputs[:1]

    def __call__(self, inputs, training):
        labels = tf.zeros(tf.shape(inputs[0])[:1], tf.int64)
        return self._network([inputs[0], labels], training=training)


class _Brightness:
    """A discriminator to which an image is the more real the brighter it is."""

    weights: tuple = ()
    inputs = (None, None)

    def __call__(self, inputs, training):
        return tf.reduce_mean(inputs[0], axis=[1, 2])


# What stands for ten real images of each class.
REAL = np.random.default_rng(1).integers(0, 256, [100, 28, 28, 1], np.uint8)
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
    write_generator(root / "digits", metadata=PUSHED, discriminator=True)
    Image.fromarray(tile(REAL, 10, scale=1)).save(root / "digits" / contract.REAL_FILE)
    forced = {"blessed": True, "forced": True, "reason": "<b>Because</b>"}
    spoilt = {**PUSHED, "preset": "smoke", "metrics": {"fid": float("nan")}, "blessing": forced}
    write_generator(root / "clothes", class_names=CLOTHES, metadata=spoilt)
    write_generator(root / "unconditional", conditional=False)
    write_generator(root / "colours", class_names=CLOTHES, metadata=PUSHED, shape=(32, 32, 3))
    real = np.random.default_rng(1).integers(0, 256, [30, 32, 32, 3], np.uint8)
    Image.fromarray(tile(real, 10, scale=1)).save(root / "colours" / contract.REAL_FILE)
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
    return decode(tab.locator(selector).first.get_attribute("src"))


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
    # What documents say is text, whatever it looks like.
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
    assert "class" not in tab.locator("#between-text").inner_text()
    assert tab.locator("#between-pictures img").count() == 1
    assert not tab.locator("#quiz").is_visible()  # it was pushed without real images
    press(tab, "#picked-from")
    fill(tab, "#way", 0)
    assert difference(pixels(tab, "#between-pictures img"), pixels(tab, "#picked img")) <= 1
    assert tab.locator("#sheet-title").inner_text() == "A hundred images"
    assert tab.locator(".problem:visible").count() == 0
    assert facts(tab) == {"Model": "unconditional", "Version": "1", "Trained on": "toys"}


def test_colours_are_drawn_and_what_is_measured_of_ink_is_left_out(open_page, zoo, tmp_path):
    tab = open_page(zoo, "colours")
    fill(tab, "#way", 0)
    sources_of = [
        sources(tab, f"{part} img")[0] for part in ("#drawn", "#between-pictures", "#quiz")
    ]
    for source in sources_of:
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
        assert image.shape == (32, 32, 3) and np.ptp(image, axis=2).max() > 1
    assert not tab.locator("#sketch").is_visible()
    assert tab.locator("#directions-measured-sliders img").count() == 0
    assert tab.locator("#directions-sliders img").count() > 0
    with tab.expect_download() as download:
        tab.locator("#between-gif").click()
    download.value.save_as(tmp_path / "walk.gif")
    with Image.open(tmp_path / "walk.gif") as walk:
        first = np.asarray(walk.convert("RGB"))[::6, ::6].astype(int)
    shown = base64.b64decode(sources_of[1].removeprefix("data:image/png;base64,"))
    shown = np.asarray(Image.open(io.BytesIO(shown)).convert("RGB")).astype(int)
    assert first.shape == (32, 32, 3) and np.abs(first - shown).max() <= 27  # six steps a channel
    for i in range(10):
        tab.locator(f"#quiz-board fieldset:nth-child({i + 1}) input").first.check()
    press(tab, "#quiz-answer")
    told = tab.locator("#quiz-board .told").all_inner_texts()
    assert sum(text.endswith("it is fake.") for text in told) == 5
    assert tab.locator(".problem:visible").count() == 0


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
    assert tab.locator("#draw-count[aria-invalid=true]").count() == 1
    problem = tab.locator("#draw .problem")
    assert problem.inner_text().startswith("Images of each: 5000 is too large, the largest is 40.")
    fill(tab, "#draw-count", 0)
    assert problem.inner_text().startswith("Images of each: 0 is too small, the smallest is 1.")
    fill(tab, "#draw-count", "")
    assert "takes a whole number from 1 to 40" in problem.inner_text()
    fill(tab, "#draw-count", 3)
    assert problem.is_hidden()
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
    assert difference(pixels(tab, "#between-pictures img"), picked) <= 1
    press(tab, "#picked-to")
    fill(tab, "#way", 100)
    assert difference(pixels(tab, "#between-pictures img"), picked) <= 1
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
    start, end = (tab.locator("#between-strips .strip").nth(i).locator("img") for i in (0, 1))
    described = lambda strip: strip.evaluate_all("images => images.map(i => i.alt)")  # noqa: E731
    # No class flips on the way: each row stays in its own.
    assert described(start)[3:5] == ["38 % of the way: 3", "50 % of the way: 3"]
    assert described(end)[3:5] == ["38 % of the way: 8", "50 % of the way: 8"]
    way = tab.locator("#way")
    assert way.get_attribute("aria-valuetext") == "50 % of the way: 3, 50 % of the way: 8"
    way.focus()
    tab.keyboard.press("Home")
    settle(tab)
    first = pixels(tab, "#between-pictures img")
    assert difference(first, decode(sources(tab, ".strip img")[0])) == 0
    tab.keyboard.press("ArrowRight")
    settle(tab)
    assert alts(tab, "#between-pictures img") == ["1 % of the way: 3", "1 % of the way: 8"]
    assert 0 < difference(pixels(tab, "#between-pictures img"), first) < 64
    tab.locator("#to-class").select_option("3")
    settle(tab)
    assert {alt[-1] for alt in alts(tab, ".strip img")} == {"3"}
    assert tab.locator(".strip").count() == 1
    strip = sources(tab, ".strip img")
    fill(tab, "#to-seed", 99)
    assert sources(tab, ".strip img")[0] == strip[0]
    assert sources(tab, ".strip img")[-1] != strip[-1]
    press(tab, "#between-other")
    assert sources(tab, ".strip img")[0] != strip[0]


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
    assert alts(tab, "#between-pictures img")[1] == "100 % of the way: 8"
    assert len([url for url in asked if url.endswith(":predict")]) == 2  # the first and the last


def test_single_directions_are_walked_one_by_one(open_page, address):
    tab = open_page(address)
    names = tab.locator("#directions-sliders .direction span")
    by_strength = names.all_inner_texts()
    ends = [decode(source) for source in sources(tab, "#directions-sliders img")]
    change = [difference(a, b, np.mean) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    # But for what rounding to grey levels hides.
    assert all(one > other - 0.5 for one, other in itertools.pairwise(change))
    assert change[0] > change[-1]
    assert tab.locator("#directions-shown").inner_text() == f"1 to 8 of {LATENT}"
    start = pixels(tab, "#directions-picture")

    slider = tab.locator("#directions-sliders input").first
    slider.focus()
    tab.keyboard.press("End")
    settle(tab)
    assert difference(pixels(tab, "#directions-picture"), ends[1]) == 0
    # The others start from where it is now.
    assert difference(decode(sources(tab, "#directions-sliders img")[2]), ends[2]) > 0

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
        image, *_ = json.loads(run(command(tab, section), "."))["outputs"]
        picture = "#between-pictures img" if section == "#between" else "#directions-picture"
        shown = pixels(tab, picture)
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


def test_python_and_javascript_give_the_very_images_too(open_page, address, tmp_path):
    tab = open_page(address)
    tab.locator("#picked summary").click()
    tab.locator("#picked .request select").select_option("Python")
    program = command(tab, "#picked")
    assert program.startswith("import base64, json, urllib.request")
    run_python(program, tmp_path)
    one = np.asarray(Image.open(tmp_path / "seed-0.png"))
    assert (one == pixels(tab, "#picked img")).all()
    # One choice for all requests; it is in the address, too.
    for section in ("#draw-request", "#between", "#sheet"):
        assert run_python(command(tab, section), tmp_path).strip().isdigit(), section
    tab.locator("#draw-request select").select_option("JavaScript")
    found = tab.evaluate(f"(async () => {{ {command(tab, '#picked')}\n return address; }})()")
    assert found == sources(tab, "#picked img")[0]


def run_python(program: str, folder) -> str:
    environment = {**os.environ, "no_proxy": "*"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder, check=True, capture_output=True, text=True, timeout=60, env=environment,
    ).stdout  # fmt: skip


# --- its address


def reopened(tab):
    """The page again, by the address that it has now."""
    tab.wait_for_timeout(300)
    other = tab.context.new_page()
    other.goto(tab.url)
    other.locator("#facts dd").first.wait_for()
    settle(other)
    return other


def state(tab) -> dict:
    """What can be seen of a page's state."""
    controls = tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('main input[id], main select[id]')]"
        ".map(c => [c.id, c.type === 'checkbox' ? c.checked : c.value]))"
    )
    shown = {name: sources(tab, name) for name in ("#drawn img", "#picked img", ".strip img")}
    shown["directions"] = sources(tab, "#directions img")
    shown["quiz"] = sources(tab, "#quiz img")
    return controls | shown


def test_an_address_without_changes_is_short(open_page, address):
    tab = open_page(address)
    tab.wait_for_timeout(300)
    assert tab.url in (address, f"{address}#")


def test_every_state_survives_a_reload_and_can_be_passed_on(open_page, address):
    tab = open_page(address)
    press(tab, ".chips label:has-text('3')")
    fill(tab, "#draw-seed", 12)
    fill(tab, "#draw-count", 4)
    tab.locator("#drawn input").nth(5).check()
    settle(tab)
    fill(tab, "#from-seed", 99)
    tab.locator("#to-class").select_option("2")
    fill(tab, "#way", 25)
    tab.locator("#directions-class").select_option("4")
    settle(tab)
    tab.locator("#directions-sliders input").nth(2).fill("1.5")
    tab.locator("#directions-strongest").uncheck()
    settle(tab)
    press(tab, "#directions-next")
    fill(tab, "#sheet-seed", 8)
    fill(tab, "#quiz-seed", 5)
    other = reopened(tab)
    assert state(other) == state(tab)
    assert other.url == tab.url
    # It opens where it was left.
    assert other.evaluate("document.activeElement.id") == "quiz"
    other.reload()
    settle(other)
    assert state(other) == state(tab)


def test_a_link_to_the_state_is_copied_by_one_press(open_page, address):
    tab = open_page(address)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    fill(tab, "#draw-seed", 31)
    tab.locator("#link").click()
    tab.locator("#link", has_text="Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == f"{address}#draw?draw-seed=31"
    tab.goto(f"{address}#draw?draw-seed=32")  # pasted into the same tab
    tab.locator("#drawn img[alt='7, seed 32']").wait_for()


def test_a_link_that_makes_no_sense_is_told_or_passed_over(open_page, address):
    nonsense = (
        "draw-count=many&picked=x&directions-latent=%25&sketch=é.A&way=400"
        "&directions-moves=99:1,x,3:1e30&directions-slant=1e300&directions-first=-5"
        "&quiz-said=zz&version=version:5"
    )
    tab = open_page(address).context.new_page()
    tab.goto(f"{address}#nowhere?{nonsense}")
    tab.locator("#message", has_text="asks for").wait_for()
    settle(tab)
    assert "asks for version “5”, which is not served" in tab.locator("#message").inner_text()
    assert "takes a whole number from 1 to 40" in tab.locator("#draw .problem").inner_text()
    assert tab.locator(".problem:visible").count() == 1
    assert tab.input_value("#way") == "100"


# --- what it saves


def test_a_walk_is_saved_as_gif_and_sheets_as_svg(open_page, address, tmp_path):
    tab = open_page(address)

    def saved(button: str):
        with tab.expect_download() as download:
            tab.locator(button).click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
        return tmp_path / download.value.suggested_filename

    with Image.open(saved("#between-gif")) as walk:
        assert (walk.size, walk.n_frames) == ((168, 168), 42)
        first = np.asarray(walk.convert("L"))[::6, ::6]
        walk.seek(41)
        last = np.asarray(walk.convert("L"))[::6, ::6]
    fill(tab, "#way", 0)
    ends = [decode(source) for source in sources(tab, "#between-pictures img")]
    assert difference(first, ends[0]) <= 1
    assert difference(last, ends[1]) <= 1  # back in the class of the end

    for button, count in (("#draw-save", 16), ("#sheet-svg", 100)):
        drawing = ElementTree.parse(saved(button)).getroot()
        images = drawing.findall("{http://www.w3.org/2000/svg}image")
        assert len(images) == count
    assert images[0].get("href").startswith("data:image/png;base64,")
    assert images[70][0].text == "7, seed 70"


def test_grey_levels_of_every_kind_go_through_the_gif(open_page, address, tmp_path):
    tab = open_page(address)
    frames = np.random.default_rng(1).integers(0, 256, [2, 120, 120])
    frames[1, :60] = 7
    data = tab.evaluate(
        "async (frames) => { const { gif } = await import('/page/gif.js');"
        " return Array.from(gif(frames, 120, 120, 5)); }",
        frames.reshape(2, -1).tolist(),
    )
    with Image.open(io.BytesIO(bytes(data))) as image:
        for i, frame in enumerate(frames):
            image.seek(i)
            assert (np.asarray(image.convert("L")) == frame).all()


# --- where an image is handed on to


def test_a_button_says_what_it_did_elsewhere_and_does_not_jump(open_page, address):
    tab = open_page(address, reduced_motion="reduce")
    for button, told in (
        ("#picked-from", "7, seed 0 is now the start of the walk in “Between two”."),
        ("#picked-to", "7, seed 0 is now the end of the walk in “Between two”."),
        ("#picked-directions", "7, seed 0 is now what the sliders change in “Directions”."),
    ):
        tab.locator(button).scroll_into_view_if_needed()
        before = tab.evaluate("scrollY")
        press(tab, button)
        assert tab.locator("#picked-said").inner_text() == told
        assert tab.evaluate("scrollY") == before
    tab.locator("#picked-said a").click()
    assert tab.evaluate("document.activeElement.id") == "directions"
    assert (tab.input_value("#to-class"), tab.input_value("#directions-class")) == ("7", "7")


# --- draw it yourself


def scribble(tab) -> None:
    """A stroke with the mouse, from the upper right to the lower left."""
    tab.locator("#sketch-canvas").scroll_into_view_if_needed()
    box = tab.locator("#sketch-canvas").bounding_box()
    tab.mouse.move(box["x"] + 180, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 100, box["y"] + 220, steps=5)
    tab.mouse.up()
    settle(tab)


def test_a_drawing_leads_to_the_latent_whose_image_is_nearest(open_page, address):
    tab = open_page(address)
    assert not tab.locator("#sketch-result").is_visible()
    scribble(tab)
    own = pixels(tab, "#sketch-own").astype(float)
    # As MNIST's digits are: 20 pixels high, the ink in the middle.
    rows = np.flatnonzero(own.sum(1) > 100)
    assert 18 <= rows[-1] - rows[0] + 1 <= 22
    centre = (own.sum(0) @ np.arange(28), own.sum(1) @ np.arange(28)) / own.sum()
    np.testing.assert_allclose(centre, [13.5, 13.5], atol=0.2)
    words = tab.locator("#sketch-words").inner_text()
    assert re.search(r"\d+ % of the ink of both .* Found in [\d.]+ s by \d+ requests", words)
    # Nearer than every image of the sample that it started from.
    shown = pixels(tab, "#sketch-found")
    sample = tab.evaluate(
        "async () => { const p = await import('/page/pictures.js');"
        " const { predict } = await import('/page/api.js');"
        " const seed = Array.from({ length: 256 }, (_, i) => i);"
        " const inputs = { seed, label: seed.map((i) => i % 10) };"
        " const { outputs } = await predict('v1/models/m', 'generate_png', inputs);"
        " return outputs.map(p.fromPng); }"
    )
    distances = [np.square(decode(one) - own).mean() for one in sample]
    assert np.square(shown - own).mean() < min(distances)

    caption = tab.locator("#sketch-caption").inner_text()
    press(tab, "#sketch-from")
    assert "now the start of the walk" in tab.locator("#sketch-said").inner_text()
    fill(tab, "#way", 0)
    assert difference(pixels(tab, "#between-pictures img"), shown) <= 1
    assert tab.locator("#from-note").is_visible()
    press(tab, "#sketch-directions")
    assert difference(pixels(tab, "#directions-picture"), shown) <= 1
    assert caption == f"nearest, as {tab.input_value('#directions-class')}"
    other = reopened(tab)
    assert state(other) == state(tab)
    assert (pixels(other, "#sketch-found") == shown).all()
    # Another seed takes the drawing's place.
    fill(tab, "#from-seed", 5)
    assert not tab.locator("#from-note").is_visible()
    tab.locator("#sketch-class").select_option("2")
    settle(tab)
    assert tab.locator("#sketch-caption").inner_text() == "nearest, as 2"
    press(tab, "#sketch-clear")
    assert not tab.locator("#sketch-result").is_visible()


def test_a_digit_can_be_drawn_by_keyboard_and_by_finger(open_page, address):
    tab = open_page(address, has_touch=True)
    canvas = tab.locator("#sketch-canvas")
    canvas.focus()
    for key in ("ArrowUp", "Space", *["ArrowDown"] * 6):
        tab.keyboard.press(key)
    assert tab.locator("#sketch-pen").inner_text() == "The pen is down."
    tab.keyboard.press("Space")
    settle(tab)
    by_keyboard = pixels(tab, "#sketch-own")
    assert by_keyboard.sum(0).argmax() in (13, 14)
    press(tab, "#sketch-clear")
    canvas.tap()
    settle(tab)
    assert pixels(tab, "#sketch-own").any()
    assert canvas.evaluate("e => getComputedStyle(e).touchAction") == "none"


# --- directions with a meaning


def test_a_measured_direction_changes_what_it_says_and_tells_by_how_much(open_page, address):
    tab = open_page(address)
    rows = tab.locator("#directions-measured-sliders .direction")
    assert rows.count() + tab.locator("#directions-missing:not(:empty)").count() >= 1
    for i in range(rows.count()):
        says = rows.nth(i).locator(".says span").inner_text()
        low, high = map(float, re.fullmatch(r"(-?[\d.]+)\D* to (-?[\d.]+)\D*", says).groups())
        assert low < high, rows.nth(i).inner_text()
    before = pixels(tab, "#directions-picture")
    rows.first.locator("input").fill("3")
    settle(tab)
    assert (pixels(tab, "#directions-picture") != before).any()
    assert state(reopened(tab)) == state(tab)
    press(tab, "#directions-back")
    assert (pixels(tab, "#directions-picture") == before).all()


# What the page measures of a bar of three pixels that leans to the right by a quarter.
MEASURE = """async () => {
  const { measure, oddities } = await import("/page/ink.js");
  const { regress, apart } = await import("/page/algebra.js");
  const bar = (lean, width) => Array.from({ length: 784 }, (_, i) => {
    const [x, y] = [i % 28 - 13.5, 13.5 - Math.floor(i / 28)];
    return Math.abs(y) < 10 && Math.abs(x - lean * y) < width / 2 ? 255 : 0;
  });
  const real = Array.from({ length: 100 }, (_, i) => measure(bar(i / 1000, 3)));
  const two = bar(0, 3).map((v, i) => (i % 28 < 3 && i < 84 ? 255 : v));
  const random = (i) => Math.sin(12.9898 * (i + 1)) * 43758.5453 % 1;
  const inputs = Array.from({ length: 200 }, (_, i) => [0, 1, 2].map((j) => random(3 * i + j)));
  const fit = regress(inputs, inputs.map(([a, b]) => [2 * a + b, b, random(a)]), 1e-6);
  return { leaning: measure(bar(0.25, 3)), thick: oddities(bar(0.05, 6), real),
           usual: oddities(bar(0.05, 3), real), two: oddities(two, real),
           none: oddities(Array(784).fill(0), real), fit, apart: apart(fit.rows.slice(0, 2)) };
}"""


def test_ink_is_measured_and_told_in_words(open_page, address):
    found = open_page(address).evaluate(MEASURE)
    assert found["leaning"]["slant"] == pytest.approx(14, abs=2)
    assert found["leaning"]["stroke"] == pytest.approx(3, abs=0.6)
    assert found["leaning"]["height"] == pytest.approx(20, abs=0.5)
    assert found["thick"][0] == "its stroke is thicker than 100 of 100 real ones"
    assert "it is in more pieces than 100 of 100 real ones" in found["two"]
    assert found["usual"] == []
    assert found["none"] == ["there is nothing on it"]
    np.testing.assert_allclose(found["fit"]["rows"][:2], [[2, 1, 0], [0, 1, 0]], atol=1e-3)
    assert found["fit"]["explained"][0] > 0.99 > 0.3 > found["fit"]["explained"][2]
    np.testing.assert_allclose(found["apart"], [[0.5, 0, 0], [-0.5, 1, 0]], atol=1e-3)


# --- real or fake


def test_a_quiz_mixes_five_real_images_with_five_fakes_and_says_what_gave_them_away(
    open_page, address
):
    tab = open_page(address)
    known = {one.tobytes() for one in REAL}
    images = [decode(source) for source in sources(tab, "#quiz img")]
    is_real = [image.tobytes() in known for image in images]
    assert sum(is_real) == 5
    answer = tab.locator("#quiz-answer")
    assert answer.is_disabled()
    assert tab.locator("#quiz-left").inner_text() == "10 of 10 are still to be judged."
    fields = tab.locator("#quiz-board fieldset")
    for i in range(10):  # all right but the last
        right = is_real[i] if i < 9 else not is_real[i]
        fields.nth(i).locator(f"input[value={'r' if right else 'f'}]").check()
    answer.click()
    score = tab.locator("#quiz-score", has_text="average")
    score.wait_for()
    text = score.inner_text()
    brightest = np.argsort([-image.mean() for image in images])[:5]
    its = sum(is_real[i] == (i in brightest) for i in range(10))
    assert text.startswith("9 of 10 right. Guessing gives 5. The discriminator that taught this")
    assert f"network has {its}; it took the five that it finds most real." in text
    games = int(re.search(r"over (\d+) game", text)[1])
    for i, real in enumerate(is_real):
        told = fields.nth(i).locator(".told").inner_text()
        assert told.startswith(
            f"{'Right' if i < 9 else 'Wrong'}, it is {'real' if real else 'fake'}"
        )
        word = "real" if i in brightest else "fake"
        assert told.endswith(f" The discriminator says {word}.")
    assert fields.first.locator("input").first.is_disabled()

    other = reopened(tab)
    again = other.locator("#quiz-score").inner_text()
    assert again == text.partition(" The average")[0]
    press(tab, "#quiz-other")
    assert tab.locator("#quiz-score").inner_text() == ""
    with httpx.Client(base_url=address, trust_env=False) as http:  # a reload was no other game
        more = http.post("page/quiz", json={"model": "m", "version": "7", "right": 0}).json()
    assert more["games"] == games + 1


def test_the_quiz_takes_scores_of_its_own_versions_alone(zoo):
    good = {"model": "digits", "version": "1", "right": 7}
    with httpx.Client(base_url=zoo, trust_env=False) as http:
        assert http.post("page/quiz", json=good).json() == {"games": 1, "average": 7}
        assert http.post("page/quiz", json=good | {"right": 2}).json() == {
            "games": 2,
            "average": 4.5,
        }
        for change in ({"right": 11}, {"right": -1}, {"right": True}, {"right": "7"}):
            assert http.post("page/quiz", json=good | change).status_code == 400, change
        for change in ({"model": "none"}, {"version": "01"}, {"version": 1}, {"version": "9" * 30}):
            assert http.post("page/quiz", json=good | change).status_code == 404, change
        for content, status in ((b"[]", 400), (b"{", 400), (b"\xff", 400), (b" " * 2000, 413)):
            sent = http.post(
                "page/quiz", content=content, headers={"Content-Type": "application/json"}
            )
            assert sent.status_code == status, content[:9]
        assert http.post("page/quiz", data=good).status_code == 415
        assert http.get("page/quiz").status_code == 405
        named = {"model": "digits", "version": "1"}
        sheet = Image.open(io.BytesIO(http.get("page/real.png", params=named).content))
        assert (np.asarray(sheet) == tile(REAL, 10, scale=1)).all()
        assert http.get("page/real.png").status_code == 404
        assert http.get("page/real.png", params=named | {"model": "clothes"}).status_code == 404


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


@pytest.mark.parametrize("width", [390, 768, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_and_axe_finds_nothing_in_both_schemes(
    open_page, address, scheme, width
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    tab = open_page(address, color_scheme=scheme, viewport={"width": width, "height": 800})
    for name in SECTIONS:
        assert tab.locator(f"#{name} h2").is_visible()
    for field in tab.locator("#quiz-board fieldset").all():
        field.locator("input").first.check()
    press(tab, "#quiz-answer")
    scribble(tab)
    fill(tab, "#draw-count", 99)  # so that a problem is told
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    shown = "[...document.images].every((i) => i.naturalWidth > 0 || i.closest('[hidden]'))"
    assert tab.evaluate(shown)
    found = axe.Axe().run(tab).response["violations"]
    assert [(one["id"], [node["target"] for node in one["nodes"]]) for one in found] == []


def test_everything_has_a_name_and_can_be_reached_by_keyboard(open_page, address):
    tab = open_page(address)
    assert tab.evaluate(
        "[...document.querySelectorAll('input, select')]"
        ".every((i) => i.labels.length || i.closest('[hidden]'))"
    )
    unnamed = tab.evaluate(
        "[...document.images].filter((i) => !i.alt && !i.closest('.direction, [hidden]')).length"
    )
    assert unnamed == 0  # those beside a slider only repeat what it is
    names = tab.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(names) == len(set(names))
    wanted = {
        "version", "draw-seed", "draw-count", "draw-signature", "draw-other", "picked-from",
        "picked-to", "picked-directions", "picked-save", "from-class", "from-seed", "to-class",
        "to-seed", "between-other", "way", "directions-class", "directions-seed",
        "directions-strongest", "directions-back", "directions-next", "sheet-seed", "sheet-other",
        "sheet-save", "sheet-svg", "draw-save", "link", "between-gif", "sketch-class",
        "sketch-canvas", "sketch-clear", "quiz-seed", "quiz-other",
    }  # fmt: skip
    reached, chips = set(), set()
    for _ in range(110):
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


def test_documents_come_from_a_route_of_our_own(zoo):
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
