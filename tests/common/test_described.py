import matplotlib.figure
import pytest
from PIL import Image

from common.described import Described


@pytest.mark.parametrize("picture", [Image.new("L", (2, 2)), matplotlib.figure.Figure((1, 1))])
def test_an_image_in_a_notebook_has_its_text(picture):
    shown = Described(picture, 'said of "it" <b>')._repr_html_()
    start = '<img alt="said of &quot;it&quot; &lt;b&gt;" src="data:image/png;base64,iVBORw0KGgo'
    assert shown.startswith(start)
