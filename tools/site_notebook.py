"""Notebooks without a kernel: their cells run in one namespace, and become a page of the site.

python tools/site_notebook.py NOTEBOOK... runs notebooks anew and writes what their cells print and draw into them.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """The notebook in a file."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return notebook


def run(notebook: dict[str, Any]) -> None:
    """Run all cells of code, and put what they print and draw in the place of their outputs."""
    import matplotlib

    matplotlib.use("agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, 1):
        cell["execution_count"] = number
        cell["outputs"] = _run(cell, namespace)


def _run(cell: Cell, namespace: dict[str, Any]) -> list[dict[str, Any]]:
    from matplotlib import pyplot

    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile("".join(cell["source"]), "cell", "exec"), namespace)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        lines = printed.getvalue().splitlines(keepends=True)
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines})
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, dpi=80, metadata={"Software": None})
        data = base64.b64encode(picture.getvalue()).decode()
        outputs.append({"data": {"image/png": data}, "metadata": {}, "output_type": "display_data"})
    pyplot.close("all")
    return outputs


def printed(notebook: dict[str, Any]) -> str:
    """All that its cells printed."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output["text"]) for output in outputs if output["output_type"] == "stream")


def markdown(notebook: dict[str, Any]) -> str:
    """The notebook as a page: code as blocks, and what it printed and drew below each."""
    return "\n\n".join(part for cell in notebook["cells"] for part in _parts(cell)) + "\n"


def _parts(cell: Cell) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    parts = [f"```python\n{source}\n```"]
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            parts.append("```text\n" + "".join(output["text"]) + "```")
        else:
            parts.append(f"![](data:image/png;base64,{output['data']['image/png']})")
    return parts


def write(path: Path, notebook: dict[str, Any]) -> None:
    """Write it as notebooks are stored."""
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        found = read(Path(name))
        run(found)
        write(Path(name), found)
