"""The commands of README, CONTRIBUTING and docs do what they say, or at least are understood."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import h5py
import pytest
import torch
import typer
from benches import command as bench
from helpers.commands import call
from helpers.own import write_folder
from helpers.paths import ROOT
from PIL import Image

import objbench as objbench_package
from objbench.testing import check_method

README = ROOT / "README.md"
JOURNEY = [ROOT / "docs" / name for name in ("start.md", "python.md", "predictions.md")]  # one after another
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
PAGES = (
    README.read_text()
    + CONTRIBUTING
    + "".join(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))
)
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


def executed_blocks(page: Path) -> list[tuple[str, str]]:
    """The language and the text of each block that the page says is executed, in its order."""
    found = [BLOCK.match(part) for part in page.read_text().split(EXECUTED)[1:]]
    return [(block.group(1), block.group(3)) for block in found]


def run_blocks(blocks: list[tuple[str, str]], cwd: Path) -> tuple[dict[str, str], str]:
    """What each line of shell printed, and what all the Python did."""
    output, printed = {}, ""
    for language, text in blocks:
        if language == "python":
            printed += execute([sys.executable, "-c", text], cwd)
            continue
        for line in text.splitlines():
            result = call(*shlex.split(line)[1:])  # in this process: each new one would import torch again
            assert result.exit_code == 0, f"{line}\n{result.output}"
            output[line] = result.stdout
    return output, printed


def test_the_journey_of_the_pages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (70, 50)).save("photo.jpg")
    output, printed = run_blocks([block for page in JOURNEY for block in executed_blocks(page)], tmp_path)
    assert len(output) == 13
    table = output["objbench report --dataset tetrominoes"]
    for name in ("objmae (demo)", "Colour k-means", "IODINE"):
        assert name.lower() in table.lower()
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert "tetrominoes" in (tmp_path / "table.csv").read_text()
    assert "'ari'" in printed
    table = output["objbench report --dataset tetrominoes --intervals"]
    assert "brightness" in table
    assert "scored as deepmind defines the metrics" in table
    assert re.search(r"\d \[\d", table)


def test_the_page_of_reports_draws_a_course(tmp_path):
    shutil.copytree(ROOT / "results/demo", tmp_path / "results/demo")
    run_blocks(executed_blocks(ROOT / "docs/report.md"), tmp_path)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.width == 1650  # two panels, 5.5 inches at 300 dots per inch


NUMBER = re.compile(r"\d+\.\d")


def test_the_five_commands_of_readme_make_its_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output, _ = run_blocks(executed_blocks(README), tmp_path)
    assert len(output) == 5
    made = list(output.values())[-1].strip()
    shown = README.read_text().split("in percent:\n\n")[1][: len(made)]
    assert NUMBER.sub("0.0", made) == NUMBER.sub("0.0", shown)
    made, shown = ([float(number) for number in NUMBER.findall(text)] for text in (made, shown))
    assert made == pytest.approx(shown, abs=0.3)  # percent: another processor may move a pixel


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


def section(title: str) -> str:
    """What CONTRIBUTING says under `## title`."""
    return CONTRIBUTING.split(f"## {title}\n")[1].split("\n## ")[0]


def installed(text: str, folder: Path) -> str:
    """Where Python finds the package of the named blocks in `text`, installed as a plugin is, and this checkout."""
    backend = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    for _, name, block in BLOCK.findall(text):
        if name:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).parent.joinpath("__init__.py").touch()
            (folder / name).write_text(backend + block if name == "pyproject.toml" else block)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", "site", "."]
    execute([sys.executable, "-m", "pip", "install", *options], folder)
    return os.pathsep.join([str(folder / "site"), str(ROOT)])


def test_contributing_runs_a_method_from_a_plain_file(tmp_path, prepared_data, monkeypatch):
    text = section("Add a method").split("### In a package")[0]
    for _, name, block in BLOCK.findall(text):
        if name:
            (tmp_path / name).write_text(block)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    check, *lines = commands(text)
    assert "settings" in execute([sys.executable, *shlex.split(check)[1:]], tmp_path)
    printed = [call(*shlex.split(line)[1:]) for line in lines]
    assert [result.exit_code for result in printed] == [0] * 4, [result.output for result in printed]
    assert ["mine.Mine" in result.stdout for result in printed[:2]] == [True, True]
    assert ["shades.Shades" in result.stdout for result in printed[2:]] == [True, True]
    assert "batch_size" in check_method("./shades.py", "tetrominoes")[3]


def test_contributing_adds_a_method(tmp_path, prepared_data):
    text = section("Add a method").split("### In a package")[1]
    places = {"OBJBENCH_DATA": str(prepared_data), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    places["PYTHONPATH"] = installed(text, tmp_path)
    lines = commands(text)
    assert len(lines) == 4
    for line in lines:
        if line.startswith("python -c"):
            assert "resume" in execute([sys.executable, *shlex.split(line)[1:]], tmp_path, **places)
        else:
            assert "stripes" in execute(objbench(line), tmp_path, **places).lower()


def test_contributing_adds_a_metric(tmp_path, prepared_data):
    text = section("Add a metric")
    places = {"OBJBENCH_DATA": str(prepared_data), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    places["PYTHONPATH"] = installed(text, tmp_path)
    listing, *runs, by_default, chosen = (
        execute(objbench(line), tmp_path, **places) for line in commands(text)
    )
    assert "Count error: planes too many or too few, background counted (plain, lower is better" in listing
    assert [line.split()[0] for printed in runs for line in printed.splitlines() if "count_error" in line] == [
        "one_slot", "color_kmeans",
    ]  # fmt: skip
    assert by_default.splitlines()[2].endswith("| ARI-FG | ARI | mIoU | mIoU-FG | MSE | Count error |")
    assert re.search(r"^\| Colour k-means .* \| \*\*0\.\d{5}\*\* \|$", by_default, re.MULTILINE)
    assert re.search(r"^\| One slot .* \| 3\.00000 \|$", by_default, re.MULTILINE)
    assert chosen.splitlines()[2].split()[-3:] == ["Count", "error", "mBO"]


def test_contributing_uses_data_of_ones_own(tmp_path):
    text = section("Add a dataset").split("### Files in the layout")[0]
    write_folder(tmp_path / "pictures", 40, size=(32, 40))
    places = {"OBJBENCH_DATA": str(tmp_path / "data"), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    lines = commands(text)
    assert len(lines) == 5
    *_, report = [execute(objbench(line), tmp_path, **places) for line in lines]
    assert re.search(r"Colour k-means", report)
    assert re.search(r"slot_attention|Slot Attention", report)
    names = objbench_package.load("my_set", "test", data=tmp_path / "data").factors["name"]
    assert list(names) == ["004", "009", "011", "022"]


def test_the_block_of_data_of_ones_own_is_a_dataset(tmp_path):
    (block,) = [
        block for kind, _, block in BLOCK.findall((ROOT / "docs/data.md").read_text()) if kind == "yaml"
    ]
    (tmp_path / "mine.yaml").write_text(block)
    write_folder(tmp_path / "pictures", 40)
    places = {"OBJBENCH_DATA": str(tmp_path / "data")}
    execute(objbench("objbench prepare beads --config mine.yaml --raw pictures"), tmp_path, **places)
    test = objbench_package.load("beads", "test", data=tmp_path / "data", config=tmp_path / "mine.yaml")
    assert test.images.shape[1:] == (3, 64, 64)


def test_contributing_adds_a_dataset_by_yaml_alone(tmp_path):
    text = section("Add a dataset").split("### Files in the layout")[1].split("### A generator")[0]
    ((_, name, block),) = [found for found in BLOCK.findall(text) if found[1]]
    (tmp_path / name).write_text(block)
    (tmp_path / "downloads").mkdir()
    for group, start, stop in (("train", 0, 30), ("test", 30, 42)):
        scenes = objbench_package.generate("tetrominoes", stop, seed=9)
        images, masks = scenes.images[start:].permute(0, 2, 3, 1), scenes.masks[start:]
        planes = torch.stack([masks == entity for entity in range(4)], dim=1)[..., None]
        with h5py.File(tmp_path / "downloads" / f"my_{group}.h5", "w") as file:
            file[f"{group}/imgs"] = images.numpy().astype("float32")
            file[f"{group}/masks"] = 255 * planes.numpy().astype("uint8")
    places = {"OBJBENCH_DATA": str(tmp_path / "data"), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    lines = commands(text)
    assert len(lines) == 4
    report = [execute(objbench(line), tmp_path, **places) for line in lines][-1]
    assert "Colour k-means" in report
    layer = tmp_path / name
    sizes = {
        split: len(objbench_package.load("my_tetrominoes", split, data=tmp_path / "data", config=layer))
        for split in ("train", "val", "test")
    }
    assert sizes == {"train": 24, "val": 6, "test": 12}
    test = objbench_package.load("my_tetrominoes", "test", data=tmp_path / "data", config=layer)
    assert torch.equal(test.masks, objbench_package.generate("tetrominoes", 42, seed=9).masks[30:])


def test_contributing_adds_a_generator(tmp_path):
    text = section("Add a dataset").split("### A generator")[1]
    places = {"OBJBENCH_DATA": str(tmp_path / "data"), "OBJBENCH_RUNS": str(tmp_path / "runs")}
    places["PYTHONPATH"] = installed(text, tmp_path)
    generate, *lines = commands(text)
    shape = execute([sys.executable, *shlex.split(generate)[1:]], tmp_path, **places)
    assert shape == "torch.Size([3, 3, 32, 32])\n"
    *_, report = [execute(objbench(line), tmp_path, **places) for line in lines]
    assert re.search(r"^Colour k-means .* 100\.0 ", report, re.MULTILINE)  # of a square on black
    manifest = json.loads((tmp_path / "data/squares/generated/manifest.json").read_text())
    assert manifest["generator"] == {"version": 1, "seed": 0}
