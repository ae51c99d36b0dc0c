"""An image in a notebook with the words for a reader who does not see it."""

import base64
import html
import io
from typing import Any


class Described:
    """Shows itself as HTML, which Jupyter, Colab and exported pages take alike.

    Args:
      picture: a Pillow image or a Matplotlib figure.
      alt: what it shows, in a sentence.
    """

    def __init__(self, picture: Any, alt: str):
        self.alt, file = alt, io.BytesIO()
        if hasattr(picture, "savefig"):
            picture.savefig(file, format="png", bbox_inches="tight")
        else:
            picture.save(file, format="png", optimize=True)
        self.png = file.getvalue()

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode()
        return f'<img alt="{html.escape(self.alt)}" src="data:image/png;base64,{data}">'
