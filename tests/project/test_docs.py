"""The commands of README, CONTRIBUTING and docs do what they say, or at least are understood."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from benches import command as bench
from helpers.paths import ROOT

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = README + CONTRIBUTING + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXECUTED = "<!-- executed by tests/project/test_docs.py -->\n"


def execute(command: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def objbench(line: str) -> list[str]:
    return [sys.executable, "-c", "from objbench.cli import main; main()", *shlex.split(line)[1:]]


def commands(text: str) -> list[str]:
    lines = [line for kind, _, block in BLOCK.findall(text) if kind == "sh" for line in block.splitlines()]
    return [line.partition("  #")[0] for line in lines]


def executed_blocks() -> list[tuple[str, str]]:
    """The language and the text of each block, in the order of the page."""
    found = [BLOCK.match(part) for part in README.split(EXECUTED)[1:]]
    return [(block.group(1), block.group(3)) for block in found]


def test_readme_journey(tmp_path):
    places = {"OBJBENCH_DATA": str(tmp_path / "data"), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    output, printed = {}, ""
    for language, text in executed_blocks():
        if language == "python":
            printed += execute([sys.executable, "-c", text], tmp_path, **places)
        else:
            output |= {line: execute(objbench(line), tmp_path, **places) for line in text.splitlines()}
    assert len(output) == 13
    table = output["objbench report --dataset tetrominoes"]
    for name in ("objmae:demo", "color_kmeans", "IODINE"):
        assert name.lower() in table.lower()
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "tetrominoes" in (tmp_path / "table.csv").read_text()
    assert "'ari'" in printed
    table = output["objbench report --dataset tetrominoes --intervals"]
    assert "brightness" in table
    assert "scored as deepmind defines the metrics" in table
    assert re.search(r"\d \[\d", table)


@pytest.mark.parametrize("line", [line for line in commands(PAGES) if line.startswith("objbench ")])
def test_documented_commands_exist(line):
    from objbench.cli.main import app

    group = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    with group.make_context("objbench", words, resilient_parsing=False) as context:
        name, command, rest = group.resolve_command(context, words)
        parsed = command.make_context(name, rest, parent=context)
    assert parsed.info_name == name


@pytest.mark.parametrize("line", [line for line in commands(PAGES) if re.match(r"tools/bench \w", line)])
def test_documented_benches_exist(line):
    name, *options = shlex.split(line)[1:]
    module, _ = bench.BENCHES[name]
    assert bench._options(name, "", import_module(module)).parse_args(options)


def test_contributing_adds_a_method(tmp_path, prepared_data):
    package = tmp_path / "my_methods"
    package.mkdir()
    (package / "__init__.py").touch()
    files = {name: block for _, name, block in BLOCK.findall(CONTRIBUTING) if name}
    assert files.keys() == {"my_methods/stripes.py", "my_methods/benchmarks.yaml", "pyproject.toml"}
    for name, block in files.items():
        (tmp_path / name).write_text(block)
    site = tmp_path / "site"
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
        ".",
    ]
    backend = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    (tmp_path / "pyproject.toml").write_text(backend + files["pyproject.toml"])
    execute([sys.executable, *install], tmp_path)
    environment = {
        "PYTHONPATH": str(site),
        "OBJBENCH_DATA": str(prepared_data),
        "OBJBENCH_RUNS": str(tmp_path / "runs"),
    }
    for line in commands(CONTRIBUTING):
        if line.startswith("python -c"):
            assert "resume" in execute([sys.executable, *shlex.split(line)[1:]], tmp_path, **environment)
        else:
            assert "stripes" in execute(objbench(line), tmp_path, **environment)
