"""Runs notebooks and writes what they show as pages of the documentation, images beside them.

python tools/render_notebooks.py NAME ...: notebooks/NAME.ipynb becomes docs/notebooks/NAME.md. A
test holds the code on a page to that of its notebook.
"""

import argparse
import base64
import pathlib
import re

import nbclient
import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "notebooks"
IMAGE = re.compile(r'src="data:image/(png|gif);base64,([^"]+)"')
HEAD = (
    "*`notebooks/{}.ipynb` as it was run; [Teach with it](../how-to/teach.md) says how to run it.*"
)


def page(name: str, notebook: nbformat.NotebookNode) -> tuple[str, dict[str, bytes]]:
    """A notebook that was run as Markdown, and its images by file name."""
    images: dict[str, bytes] = {}

    def extract(match: re.Match) -> str:
        file = f"{name}_{len(images) + 1:02d}.{match[1]}"
        images[file] = base64.b64decode(match[2])
        return f'src="{file}"'

    title, *rest = notebook.cells
    first, _, text = title.source.partition("\n")
    parts = [first, HEAD.format(name), text.strip()]
    for cell in rest:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            shown = output.get("data", {})
            if output.output_type == "stream":
                parts.append(f"```text\n{output.text.strip()}\n```" if output.text.strip() else "")
            elif "text/html" in shown:
                html = re.sub(r"<style.*?</style>", "", shown["text/html"], flags=re.DOTALL)
                parts.append(IMAGE.sub(extract, re.sub(r"\n\s*", "\n", html).strip()))
            elif "text/markdown" in shown:
                parts.append(shown["text/markdown"])
            elif "text/plain" in shown:
                parts.append(f"```text\n{shown['text/plain']}\n```")
    return "\n\n".join(part for part in parts if part) + "\n", images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME")
    for name in parser.parse_args().names:
        source = ROOT / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(source, as_version=4)
        resources = {"metadata": {"path": str(source.parent)}}
        nbclient.NotebookClient(notebook, timeout=1200, resources=resources).execute()
        text, images = page(name, notebook)
        PAGES.mkdir(exist_ok=True)
        for old in PAGES.glob(f"{name}_[0-9][0-9].*"):
            old.unlink()
        for file, content in images.items():
            (PAGES / file).write_bytes(content)
        (PAGES / f"{name}.md").write_text(text)


if __name__ == "__main__":
    main()
