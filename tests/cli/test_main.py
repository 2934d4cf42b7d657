"""Every verb: help, wrong requests, exit codes and tracebacks."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import toy
from helpers.commands import call, call_with_toy
from typer.testing import CliRunner

import objbench
from objbench.cli.main import VERBS, app
from objbench.errors import ObjbenchError


def test_help_takes_half_a_second_because_it_imports_next_to_nothing() -> None:
    code = (
        "import sys\nfrom objbench.cli.main import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        "packages = {'torch', 'numpy', 'pydantic', 'yaml', 'rich', 'PIL', 'filelock'} & set(sys.modules)\n"
        "print(sorted(packages | {name for name in sys.modules if name.startswith('objbench')}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        found.stdout.splitlines()[-1]
        == "['objbench', 'objbench.cli', 'objbench.cli.main', 'objbench.cli.streams', 'objbench.printable']"
    )
    assert all(f"  {verb} " in found.stdout for verb in VERBS)


def test_version() -> None:
    found = CliRunner().invoke(app, ["--version"])
    assert (found.exit_code, found.stdout) == (0, f"objbench {objbench.__version__}\n")


def test_nothing_asked_gives_the_help() -> None:
    found = CliRunner().invoke(app, [])
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["prepre", "toy"], "No such command 'prepre'. Did you mean 'prepare'"),
        (["prepare", "toy", "--trian", "3"], "No such option: --trian"),
        (["prepare", "toy", "--train", "many"], "Invalid value for '--train'"),
        (["prepare", "toy", "--train", "-1"], "--train -1: a split cannot have fewer than 0 scenes"),
        (["prepare", "toy", "--train", "9" * 20], "Invalid value for '--train'"),
        (["prepare", "toy", "--workers", "0"], "Invalid value for '--workers'"),
        (["prepare", "toy", "--seed", "-3"], "Invalid value for '--seed'"),
        (["run", "grid", "--dataset", "toy", "--seed", "-3"], "Invalid value for '--seed'"),
        (["report", "--figure", "3", "--seed", "-3"], "Invalid value for '--seed'"),
        (["prepare"], "Missing argument 'DATASET[@PROTOCOL]'"),
        (["prepare", "toi"], "unknown dataset 'toi': did you mean 'toy'?"),
        (["prepare", "toy@hard"], "unknown protocol of toy 'hard'"),
        (["prepare", "toy", "--source", "tox"], "unknown source of toy 'tox': did you mean 'toy'?"),
        (["prepare", "toy", "--config", "no.yaml"], "no.yaml: no such file"),
        (["verify", "toi"], "unknown dataset 'toi'"),
        (
            ["segment", "", "a.png", "--output", "o"],
            "an argument after 'segment': expected a value, found none",
        ),
        (
            ["run", "grid", "--dataset", "toy", "--runs", ""],
            "--runs: expected a value, found none; is a variable",
        ),
        (["evaluate", "run", "--dataset="], "--dataset: expected a value, found none"),
        (["prepare", "toy@"], "unknown protocol of toy ''. Known: standard"),
        (
            ["probe", "x", "--probe", "lin"],
            "Invalid value for '--probe': 'lin' is not one of 'linear', 'mlp'",
        ),
        (["info", "objmae:"], "unknown variant of objmae ''"),
        (["list", "--config", "."], ": a folder, expected a file"),
        (["list", "--config", "/dev/null"], "--config /dev/null: a pipe or device, expected a file"),
        (["list", "--config", "nope.yaml"], "--config nope.yaml: no such file"),
        (["list", "--data", "toy.yaml"], "--data toy.yaml: a file, expected a folder; choose another place"),
        (["run", "grid", "--dataset", "toy", "--runs", "toy.yaml/a/b"], "toy.yaml/a/b: toy.yaml is a file,"),
        (["run", "grid", "--dataset", "toy", "--seeds", "0"], "--seeds 0: expected at least one seed"),
        (["info", "objmae:dmeo"], "unknown variant of objmae 'dmeo': did you mean 'demo'?"),
        (["report", "--output", "a.PDF"], "--output a.PDF: a table is no picture"),
        (["list", "method"], "unknown listing 'method': did you mean 'methods'?"),
        (
            ["info", "colour_kmeans"],
            "unknown dataset, method or metric 'colour_kmeans': did you mean 'color_kmeans'?",
        ),
        (["show", "toy", "--output", "a.jpg"], "--output a.jpg: the picture is a PNG"),
    ],
)
def test_a_wrong_request_is_one_plain_line_and_exit_code_2(
    toy_home: Path, line: list[str], message: str
) -> None:
    found = CliRunner().invoke(app, line if "--config" in line else [*line, "--config", "toy.yaml"])
    assert (found.exit_code, found.stdout) == (2, "")
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert found.stderr.startswith("objbench: ")


def test_a_missing_verb_breaks_no_other(toy_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "run", ("objbench.cli.nowhere:run", "Gone."))
    assert call_with_toy("list", "datasets").exit_code == 0
    found = CliRunner().invoke(app, ["run"])
    assert isinstance(found.exception, ModuleNotFoundError)


def test_an_unexpected_error_shows_no_traceback_unless_asked(
    toy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toy.ToySource, "plan", lambda self: 1 / 0)
    found = call_with_toy("prepare", "toy")
    assert found.exit_code == 1
    assert found.stderr.startswith("objbench: ZeroDivisionError: division by zero")
    assert "Traceback" not in found.stderr
    found = call_with_toy("prepare", "toy", "--debug")
    assert found.exit_code == 1
    assert "Traceback" in found.stderr


@pytest.mark.parametrize("error", [ValueError("swallowed"), ObjbenchError("swallowed")])
def test_a_signal_whose_exception_a_library_replaces_is_still_an_interruption(
    toy_home: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def replace(*_: object) -> None:
        try:
            signal.raise_signal(signal.SIGHUP)
        except KeyboardInterrupt:
            raise error from None

    monkeypatch.setattr("objbench.spec.load.load_spec", replace)
    result = CliRunner().invoke(app, ["list", "methods"])
    assert result.exit_code == 129
    assert "interrupted by SIGHUP" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        "list datasets --config LOOP",
        "evaluate LOOP --dataset tetrominoes",
        "run grid --dataset tetrominoes --config LOOP",
    ],
)
def test_links_in_a_circle_are_named(toy_home: Path, command: str) -> None:
    loop = toy_home / "loop"
    loop.symlink_to(loop)
    result = call(*command.replace("LOOP", str(loop)).split())
    assert result.exit_code in (1, 2), result.stderr
    assert str(loop) in result.stderr
    assert "unexpected" not in result.stderr


def raising(error: Exception) -> Callable[..., None]:
    def call(*arguments: object, **options: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space (or quota), or name a folder on another disk in TMPDIR"),
        (errno.EROFS, "see to its permissions"),
        (errno.EFBIG, "raise the limit on the size of files (ulimit -f)"),
    ],
)
@pytest.mark.parametrize(
    ("line", "function"),
    [
        (["verify", "toy"], "objbench.data.format.manifest.find"),
        (["show", "toy"], "objbench.data.read.load.load"),
        (["evaluate", ".", "--dataset", "toy"], "objbench.predictions.open_predictions"),
        (["report", "--dataset", "toy"], "objbench.report.report.write_report"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_the_remedy(
    toy_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    function: str,
    code: int,
    remedy: str,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tiny")
    monkeypatch.setattr(function, raising(OSError(code, os.strerror(code), "/tiny/objbench-x")))
    found = call_with_toy(*line)
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == f"objbench: /tiny/objbench-x: {os.strerror(code)}; {remedy}\n"


@pytest.mark.parametrize(
    ("line", "function", "remedy"),
    [
        (
            ["prepare", "toy"],
            "objbench.data.prepare.preparation.Preparation.run",
            "fewer --workers need less",
        ),
        (["run", "one_slot", "--dataset", "toy"], "objbench.launch.plan.prepared_run_data", "batch_size"),
        (["evaluate", ".", "--dataset", "toy"], "objbench.predictions.open_predictions", "--split"),
        (["show", "toy"], "objbench.data.read.load.load", "; end other programs"),
        (
            ["report", "--dataset", "toy"],
            "objbench.report.report.write_report",
            "fewer runs needs less (--runs)",
        ),
    ],
)
def test_out_of_memory_is_one_line_that_says_what_needs_less(
    toy_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: list[str],
    function: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(function, raising(MemoryError()))
    found = call_with_toy(*line)
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("objbench: out of memory (")
    assert remedy in found.stderr
    assert "raise the limit of this one (ulimit -v" in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_generator_that_cannot_be_loaded_for_want_of_memory_says_so(
    toy_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ImportError("libtorch_cpu.so: failed to map segment from shared object")
    monkeypatch.setattr("objbench.registry.import_module", raising(error))
    found = call("prepare", "tetrominoes", "--source", "generated")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("objbench: out of memory (libtorch_cpu.so: failed to map segment")


def test_a_verb_that_cannot_be_loaded_for_want_of_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objbench.cli.main.import_module", raising(MemoryError()))
    found = CliRunner().invoke(app, ["list"])
    assert found.exit_code == 1
    assert found.stderr == "objbench: out of memory (MemoryError); end other programs, or raise the limit\n"
