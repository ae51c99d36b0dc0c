"""Takes the images of report, playground and live page that the documentation shows.

    python tools/screenshots.py --workspace DIR [--out docs]

DIR holds a run that pushed a version. Needs Chromium on PATH and Playwright (the extra `dev`).
For each page it writes NAME_everywhere.webp: phone, tablet and desktop side by side, light above
dark; of report and playground NAME.png too, for the README. `--only tuning` takes the chart of a
search (`mnist-gan tune`) out of the report.
"""

import argparse
import contextlib
import io
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from serving.server.listening import free_ports

SIZES = ((390, 1000), (768, 1000), (1440, 1000))
README = {"report": (1280, 1000), "playground": (1280, 1000)}
SCHEMES = ("light", "dark")
GAP = 12
READY = {  # what a page shows once it is drawn
    "report": "#verdict-title",
    "playground": "#facts dd",
    "watch": "#nodes tr",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workspace", required=True, type=pathlib.Path)
    parser.add_argument("--out", default=pathlib.Path("docs"), type=pathlib.Path)
    parser.add_argument("--only", nargs="+", choices=[*READY, "tuning"], default=list(READY))
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        parser.error("there is no chromium on PATH")
    with contextlib.ExitStack() as stack:
        session = stack.enter_context(sync_playwright())
        browser = session.chromium.launch(executable_path=program, args=["--no-sandbox"])
        stack.callback(browser.close)
        for name in arguments.only:
            if name == "tuning":
                page = stack.enter_context(_served("report", arguments.workspace))
                one = _shot(browser, "report", page, README["report"], "light", "#search figure")
                one.quantize(256).save(arguments.out / "tuning.png", optimize=True)
                continue
            address = stack.enter_context(_served(name, arguments.workspace))
            if name in README:
                one = _shot(browser, name, address, README[name], "light")
                one.quantize(256).save(arguments.out / f"{name}.png", optimize=True)
            rows = [[_shot(browser, name, address, size, s) for size in SIZES] for s in SCHEMES]
            path = arguments.out / f"{name}_everywhere.webp"
            _montage(rows).save(path, quality=75, method=6)
            print(path)


@contextlib.contextmanager
def _served(name: str, workspace: pathlib.Path) -> Iterator[str]:
    """The address of a page, made or served."""
    command = [sys.executable, "-m", "pipeline"]
    place = ["--workspace", str(workspace)]
    if name == "report":
        subprocess.run([*command, "report", *place], check=True, stdout=subprocess.DEVNULL)
        yield (workspace / "report" / "index.html").resolve().as_uri()
        return
    rest, grpc = free_ports(2)
    flags = {
        "playground": ["serve", *place, f"--rest_api_port={rest}", f"--port={grpc}"],
        "watch": ["watch", *place, "--port", str(rest)],
    }[name]
    with subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{rest}/"
        finally:
            process.terminate()


def _shot(
    browser: Browser,
    name: str,
    address: str,
    size: tuple[int, int],
    scheme: str,
    part: str = "body",
) -> Image.Image:
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    with contextlib.closing(context):
        page = context.new_page()
        _open(page, address)
        page.wait_for_selector(READY[name])
        page.wait_for_function(
            "() => !document.querySelector('[aria-busy=true]') && [...document.images].every("
            "(image) => image.complete)"
        )
        page.wait_for_timeout(300)
        taken = page.screenshot() if part == "body" else page.locator(part).screenshot()
        return Image.open(io.BytesIO(taken)).convert("RGB")


def _open(page: Page, address: str) -> None:
    """Opens a page whose server may still be starting."""
    for left in reversed(range(300)):
        try:
            page.goto(address)
            return
        except Exception:
            if not left:
                raise
            page.wait_for_timeout(200)


def _montage(rows: list[list[Image.Image]]) -> Image.Image:
    """Rows of images at half their size."""
    rows = [[image.reduce(2) for image in row] for row in rows]
    width = sum(image.width + GAP for image in rows[0]) - GAP
    height = sum(row[0].height + GAP for row in rows) - GAP
    sheet = Image.new("RGB", (width, height), "#808080")
    top = 0
    for row in rows:
        left = 0
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + GAP
        top += row[0].height + GAP
    return sheet


if __name__ == "__main__":
    main()
