"""objbench list, as a user gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.commands import call, call_with_toy
from helpers.paths import PLUGINS, ROOT
from helpers.synthetic import scored

from objbench.cli.list import _fitted
from objbench.records import Run


def test_list_says_what_is_prepared(prepared_toy: Path) -> None:
    entries = {
        entry["name"]: entry for entry in json.loads(call_with_toy("list", "datasets", "--json").stdout)
    }
    assert (entries["toy"]["sources"], entries["toy"]["prepared"]) == (["toy"], ["toy"])
    assert entries["tetrominoes"]["prepared"] == []
    assert "toy" in call_with_toy("list").stdout


@pytest.mark.parametrize("kind", ["datasets", "methods", "metrics", "runs", "weights"])
def test_every_listing_is_an_array_of_named_objects(toy_home: Path, kind: str) -> None:
    entries = json.loads(call_with_toy("list", kind, "--json").stdout)
    one = kind if kind == "weights" else kind.removesuffix("s")
    assert all(entry["name"] and entry["kind"] == one for entry in entries)
    assert bool(entries) == (kind != "runs")


def record() -> Run:
    return Run.model_validate(
        {
            "dataset": "toy",
            "protocol": "standard",
            "source": "toy",
            "fingerprint": "f",
            "n_train": 23,
            "method": "grid",
            "variant": None,
            "overrides": {},
            "seed": 0,
            "config_hash": "c",
            "code_version": "0",
            "torch_version": "2",
            "device": "cpu",
            "date": "2022-10-25",
            "steps": 7,
            "train_seconds": 1.0,
            "wall_seconds": 1.0,
            "images_per_second": None,
            "peak_memory_bytes": 0,
            "parameters": 0,
            "slots": 4,
            "metrics": {"test": {"n_images": 4, "miou": {"mean": 0.25, "std": 0.1}}},
            "scored": {"test": scored("toy", source="toy")},
        }
    )


def test_runs_are_listed_and_damaged_records_left_out(toy_home: Path) -> None:
    good, bad = toy_home / "runs/toy/toy/grid/seed-0", toy_home / "runs/toy/toy/grid/seed-1"
    for folder in (good, bad):
        folder.mkdir(parents=True)
    record().save(good)
    hidden = toy_home / "runs/toy/toy/grid/.seed-0.thrown-away"
    hidden.mkdir()
    record().save(hidden)
    (bad / "result.json").write_text("{")
    found = call_with_toy("list", "runs", "--json")
    assert [entry["name"] for entry in json.loads(found.stdout)] == ["toy/toy/grid/seed-0"]
    assert "skipped runs/toy/toy/grid/seed-1/result.json: damaged" in found.stderr
    assert call_with_toy("list", "runs").stdout == "runs:\n  toy/toy/grid/seed-0  7 steps, miou 25.0%\n"


def odd(kind: str, file: Path) -> str:
    """Give the name `file` to what is none; what the list says of it."""
    file.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(file)
        return f"skipped {file}: a pipe or device, expected a file"
    file.symlink_to({"circle": file.name, "nothing": "nowhere"}[kind])
    return f"skipped {file}: a link to nothing, expected a file"


@pytest.mark.parametrize("name", ["result.json", "config.json"])
@pytest.mark.parametrize("kind", ["pipe", "circle", "nothing"])
def test_a_file_that_is_none_is_named_and_the_others_are_listed(toy_home: Path, kind: str, name: str) -> None:
    good = toy_home / "runs/toy/toy/grid/seed-0"
    good.mkdir(parents=True)
    record().save(good)
    said = odd(kind, Path("runs/toy/toy/grid/seed-1", name))
    found = call_with_toy("list", "runs", "--json")
    assert [entry["name"] for entry in json.loads(found.stdout)] == ["toy/toy/grid/seed-0"]
    assert said in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_folder_and_a_file_that_cannot_be_read_are_named(
    toy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two", "three"):
        (toy_home / f"runs/{name}/seed-0").mkdir(parents=True)
    for name in ("one", "two"):
        record().save(toy_home / f"runs/{name}/seed-0")
    (toy_home / "runs/three/seed-0/config.json").write_text("{}")

    def denying(function: Callable[..., Any], *denied: str) -> Callable[..., Any]:
        def asked(path: Any, *arguments: Any) -> Any:
            if str(path) in denied:
                raise PermissionError(13, "Permission denied", str(path))
            return function(path, *arguments)

        return asked

    monkeypatch.setattr("os.scandir", denying(os.scandir, "runs/one"))
    unread = "runs/three/seed-0/config.json"
    monkeypatch.setattr(Path, "read_bytes", denying(Path.read_bytes, unread))
    found = call_with_toy("list", "runs", "--json")
    assert [entry["name"] for entry in json.loads(found.stdout)] == ["two/seed-0"]
    assert found.stderr.splitlines() == [
        "objbench: skipped runs/one: Permission denied",
        f"objbench: skipped {unread}: Permission denied",
    ]


def test_shipped_weights_that_are_not_whole_are_named_and_the_others_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = {name: tmp_path / name for name in ("circle", "none", "whole")}
    odd("circle", shipped["circle"] / "result.json")
    for name in ("none", "whole"):
        shipped[name].mkdir()
        record().save(shipped[name])
    (shipped["whole"] / "model.safetensors").write_bytes(b"1234")
    monkeypatch.setattr("objbench.use.weights.shipped_weights", lambda: shipped)
    found = call("list", "weights", "--json")
    assert [(entry["name"], entry["bytes"]) for entry in json.loads(found.stdout)] == [("whole", 4)]
    first, second = found.stderr.splitlines()
    assert f"skipped {shipped['circle']}/result.json: a link to nothing" in first
    assert f"skipped {shipped['none']}/model.safetensors: No such file" in second


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_runs_are_listed_whole_whatever_the_width(toy_home: Path, monkeypatch, width: int) -> None:
    name = "a_method_with_a_very_long_name_" * 4
    folder = toy_home / f"runs/toy/toy/{name}/seed-0"
    folder.mkdir(parents=True)
    scores = {"n_images": 4, "miou": {"mean": 0.25, "std": 0.1, "n": 3}, "mse": {"mean": 0.00125, "std": 0.1}}
    content = record().model_dump() | {"metrics": {"test": scores}}
    Run.model_validate(content).save(folder)
    monkeypatch.setenv("COLUMNS", str(width))
    assert call_with_toy("list", "runs").stdout == (
        f"runs:\n  toy/toy/{name}/seed-0  7 steps, miou 25.0% (mean over 3 of 4 images), mse 0.00125\n"
    )


def test_metrics_are_told_by_name_title_meaning_unit_direction_and_range() -> None:
    lines = call("list", "metrics").stdout.splitlines()
    assert lines[0] == "metrics:"
    assert (
        "  mbo             mBO: mean best overlap, objects only, largest IoU without matching "
        "(percent, higher is better, range 0..1)"
    ) in lines
    mse = next(line for line in lines if line.startswith("  mse "))
    assert mse.endswith("(plain, lower is better, range 0.., a column by default)")


def test_metrics_are_told_to_programs() -> None:
    entries = {entry["name"]: entry for entry in json.loads(call("list", "metrics", "--json").stdout)}
    assert entries["mse"] == {
        "kind": "metric",
        "name": "mse",
        "title": "MSE",
        "summary": "squared error of the reconstruction",
        "meaning": "mean over pixels and channels, images in [0,1]",
        "unit": "plain",
        "better": "lower",
        "range": [0, None],
        "column": True,
        "computed_from": "reconstruction",
        "cost": False,
    }
    assert [name for name, entry in entries.items() if entry["column"]] == [
        "ari_fg", "ari", "miou", "miou_fg", "mse",
    ]  # fmt: skip


def test_unfinished_runs_say_how_far_they_are_and_overrides_are_shown(toy_home: Path) -> None:
    folder = toy_home / "runs/toy/toy/grid+abc/seed-0"
    folder.mkdir(parents=True)
    config = {"method": "grid", "seed": 0, "overrides": {"recipe.steps": 7}}
    (folder / "config.json").write_text(json.dumps(config))
    assert call_with_toy("list", "runs").stdout == (
        "runs:\n  toy/toy/grid+abc/seed-0  not finished: to start, recipe.steps=7\n"
    )
    Run.model_validate(record().model_dump() | {"overrides": {"recipe.steps": 7}}).save(folder)
    assert call_with_toy("list", "runs").stdout.endswith("7 steps, miou 25.0%, recipe.steps=7\n")


def test_a_damaged_manifest_is_named_and_the_list_goes_on(prepared_toy: Path) -> None:
    (prepared_toy / "manifest.json").write_text("{")
    found = call_with_toy("list", "datasets")
    assert found.exit_code == 0
    assert "manifest.json" in found.stderr
    assert "prepared: toy" in found.stdout


@pytest.mark.parametrize("width", [40, 80])
def test_on_a_terminal_lines_break_between_words(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr("objbench.cli.list.sys.stdout", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("COLUMNS", str(width))
    line = "  name  " + "words and words " * 20
    broken = _fitted(line)
    assert all(len(part) <= width for part in broken.splitlines())
    assert broken.split() == line.split()


GROUPS = {
    "trivial": ["color_kmeans", "grid", "one_slot"],
    "slots": [
        "comet",
        "efficient_morl",
        "genesis",
        "genesis_v2",
        "iodine",
        "monet",
        "objmae",
        "slate",
        "slot_attention",
    ],
    "boxes": ["gnm", "space", "spair"],
    "layers": ["ast", "dti_sprites", "marionette"],
}


def test_methods_are_listed_by_group() -> None:
    found: dict[str, list[str]] = {}
    for line in call("list", "methods").stdout.splitlines()[1:]:
        if not line.startswith("    "):
            found[line.strip(" :")] = []
        else:
            found[list(found)[-1]].append(line.split()[0])
    toys = found.pop("other")  # of a plugin that says no group
    assert list(found.items()) == list(GROUPS.items())
    assert all(name.startswith("toy_") for name in toys)


def test_programs_are_told_the_group_of_a_method() -> None:
    entries = json.loads(call("list", "methods", "--json").stdout)
    found = {entry["name"]: entry["group"] for entry in entries}
    assert {name: group for name, group in found.items() if group != "other"} == {
        name: group for group, names in GROUPS.items() for name in names
    }
    assert {entry["name"] for entry in entries if entry["trivial"]} == set(GROUPS["trivial"])
    assert found["toy_geco"] == "other"


def test_a_group_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("methods: {gnm: {group: sprites}}")
    done = call("list", "methods", "--config", str(tmp_path / "mine.yaml"))
    assert done.exit_code == 2
    assert "methods.gnm.group" in done.stderr
    assert "boxes" in done.stderr


@pytest.mark.parametrize(
    ("content", "module", "said"),
    [
        (
            "{model: {width: 3, widht: 4}, recipe: {steps: 2, lr: 0.1}}",
            "",
            "unknown key in model 'widht': did you mean 'width'?",
        ),
        (
            "{model: {width: -1}, recipe: {steps: 2, lr: 0.1}}",
            "",
            "model.width: expected a whole number >= 1, found -1",
        ),
        ("{model: {width: 3}, recipe: {steps: 2, lr: 0.1}}", "raise SyntaxError('no')", "SyntaxError: no"),
        (
            "{model: {width: 3}, recipe: {steps: 2, lr: 0.1}}",
            "import sys; sys.exit('bye')",
            "SystemExit: bye",
        ),
        (
            "{model: {width: 3}, recipe: {steps: 2, lr: 0.1}}",
            "import a_package_that_is_not_there",
            "No module named 'a_package",
        ),
    ],
)
def test_a_plugin_that_cannot_be_run_is_listed_and_told(tmp_path, content, module, said):
    (tmp_path / "faulty").mkdir()
    block = f"methods: {{mine: {{title: Mine, summary: One, config: {content}}}}}"
    (tmp_path / "faulty/benchmarks.yaml").write_text(block)
    (tmp_path / "faulty/__init__.py").write_text(
        f"{module}\nfrom objbench_toys.methods import ToyGeco as Mine\n"
    )
    (tmp_path / "faulty-1.dist-info").mkdir()
    (tmp_path / "faulty-1.dist-info/entry_points.txt").write_text("[objbench.methods]\nmine = faulty:Mine\n")
    (tmp_path / "faulty-1.dist-info/METADATA").write_text("Name: faulty\nVersion: 1\n")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{PLUGINS}:{ROOT}"}
    command = [sys.executable, "-m", "objbench", "list", "methods"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "mine  " in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("objbench: mine cannot be run: ")
    assert said in line
