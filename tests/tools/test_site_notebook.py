"""The notebook runs, prints what is stored in it, and becomes a page."""

from __future__ import annotations

import base64
import io
import re

import pytest
import site_notebook
from helpers.paths import ROOT
from PIL import Image

NOTEBOOK = ROOT / "docs/notebooks/start.ipynb"
NUMBER = re.compile(r"\d+\.\d")


def code(source: str) -> site_notebook.Cell:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": [source]}


def test_the_notebook_prints_what_is_stored_in_it():
    notebook = site_notebook.read(NOTEBOOK)
    stored = site_notebook.printed(notebook)
    assert "objmae" in stored
    site_notebook.run(notebook)
    made = site_notebook.printed(notebook)
    assert NUMBER.sub("0.0", made) == NUMBER.sub("0.0", stored)
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (made, stored)]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.5)  # percent: another processor may move a pixel


def test_cells_share_names_and_outputs_replace_the_old_ones():
    notebook = {"cells": [code("a = 2"), code("print(a + 1)"), code("print(a + 2)")]}
    notebook["cells"][1]["outputs"] = [{"output_type": "stream", "text": ["old"]}]
    site_notebook.run(notebook)
    assert site_notebook.printed(notebook) == "3\n4\n"
    assert [cell["execution_count"] for cell in notebook["cells"]] == [1, 2, 3]


def test_an_error_in_a_cell_ends_the_run():
    with pytest.raises(ZeroDivisionError):
        site_notebook.run({"cells": [code("1 / 0")]})


def test_a_page_has_the_code_what_it_printed_and_what_it_drew():
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Text."]},
        code("import matplotlib.pyplot as plt\nprint('drawn')\n_ = plt.plot([1, 2])"),
    ]
    notebook = {"cells": cells}
    site_notebook.run(notebook)
    page = site_notebook.markdown(notebook)
    start = "# Title\nText.\n\n```python\nimport matplotlib.pyplot as plt\nprint('drawn')\n_ = plt.plot([1, 2])\n```\n\n"
    assert page.startswith(start + "```text\ndrawn\n```\n\n![](data:image/png;base64,")
    (data,) = re.findall(r"base64,([^)]+)\)", page)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (512, 384)


def test_a_notebook_is_stored_as_it_was_read(tmp_path):
    site_notebook.write(tmp_path / "copy.ipynb", site_notebook.read(NOTEBOOK))
    assert (tmp_path / "copy.ipynb").read_bytes() == NOTEBOOK.read_bytes()
