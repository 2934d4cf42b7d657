"""The top level as editors, type checkers and people see it."""

from __future__ import annotations

import re
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from helpers.paths import ROOT

import objbench


def test_the_top_level_lists_what_it_offers():
    assert dir(objbench) == sorted(objbench.__all__)
    for name in objbench.__all__:
        assert getattr(objbench, name) is not None
    with pytest.raises(AttributeError, match="module 'objbench' has no attribute 'lod'"):
        _ = objbench.lod


def test_everything_has_an_example():
    public = [getattr(objbench, name) for name in objbench.__all__ if name != "__version__"]
    public += [objbench.metrics.score, objbench.testing.check_method]
    without = [
        found.__name__
        for found in public
        if not isinstance(found, ModuleType) and ">>> " not in found.__doc__
    ]
    assert without == []


SOME = torch.zeros(1, 4, 4, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda odd: objbench.generate(odd, 1), "unknown dataset '{}'. Known: clevr10, "),
        (objbench.load, "unknown dataset '{}'. Known: clevr10, "),
        (objbench.stream, "unknown dataset '{}'. Known: clevr10, "),
        (lambda odd: objbench.create("grid", odd), "unknown dataset '{}'. Known: clevr10, "),
        (lambda odd: objbench.create(odd, "tetrominoes"), "unknown method '{}'"),
        (lambda odd: objbench.metrics.score(SOME, SOME, definition=odd), "unknown definition '{}'. Known: "),
        (objbench.Evaluator, "unknown definition '{}'. Known: "),
        (lambda odd: objbench.generate("tetrominoes", 1, split=odd), "unknown split '{}'"),
        (objbench.open_run, "expected a path, found {}"),
    ],
)
@pytest.mark.parametrize("odd", [None, 5, 0.5])
def test_what_is_no_name_is_told_as_what_it_is(call, message, odd):
    with pytest.raises(objbench.ObjbenchError, match=f"^{re.escape(message.format(odd))}"):
        call(odd)


@pytest.mark.parametrize("folder", [{"data": 5}, {"config": 5}])
def test_what_is_no_path_is_told_as_what_it_is(folder):
    with pytest.raises(objbench.ObjbenchError, match=r"^expected a path, found 5$"):
        objbench.load("tetrominoes", **folder)


def test_importing_it_imports_no_torch():
    code = "import sys, objbench; dir(objbench); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_type_checker_knows_the_names_and_their_types(tmp_path):
    (tmp_path / "script.py").write_text(
        "import objbench\n"
        'objbench.lod("tetrominoes")\n'
        'reveal_type(objbench.load("tetrominoes"))\n'
        'reveal_type(objbench.open_run("runs/mine").segment("a.png").labels)\n'
        "reveal_type(objbench.metrics.score)\n"
    )
    command = [
        "-m",
        "mypy",
        "--strict",
        "--follow-imports=silent",
        "--cache-dir",
        str(tmp_path / "cache"),
        "script.py",
    ]
    # mypy takes what lies on MYPYPATH for part of the project, installed or not
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True
    )
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert lines[0].startswith('error: Module has no attribute "lod"')
    assert 'note: Revealed type is "objbench.data.read.scenes.Scenes"' in lines
    assert 'note: Revealed type is "torch._tensor.Tensor"' in lines
    assert not [line for line in lines if "Any" in line.partition("->")[0]]
    assert len(lines) == 5
