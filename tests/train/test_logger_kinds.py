"""The loggers themselves, with their own packages: what they hold of a run that stopped and went on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from helpers.loggers import READERS
from helpers.paths import PLUGINS, ROOT

from objbench.errors import RequestError
from objbench.train.log import read_log
from objbench.train.logger_kinds import LOGGERS, About, check_loggers

SETTINGS = {"recipe.log_steps": 2, "recipe.checkpoint_steps": 4, "recipe.evaluations": 2}


@pytest.mark.parametrize("name", LOGGERS)
def test_a_missing_package_is_refused_with_what_installs_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        RequestError, match=rf"--log {name} needs the package {name}: pip install 'objbench\[{name}\]'"
    ):
        check_loggers([name])


def test_a_folder_of_the_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "trackio").mkdir()
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(RequestError, match="--log trackio needs the package trackio"):
        check_loggers(["trackio"])


def test_an_unknown_logger_is_refused():
    with pytest.raises(RequestError, match="unknown logger 'wandbb': did you mean 'wandb'"):
        check_loggers(["wandbb"])


@pytest.mark.parametrize(("new", "resume"), [(True, "never"), (False, "allow")])
def test_what_trackio_is_told_also_where_it_is_not_installed(monkeypatch, tmp_path, capsys, new, resume):
    told = []

    class Trackio(ModuleType):
        def __getattr__(self, name):
            def call(*args, **options):
                told.append((name, args, options))
                print(f"* {name}")
                return name

            return call

    monkeypatch.setitem(sys.modules, "trackio", Trackio("trackio"))
    logger = LOGGERS["trackio"](About("a b c seed-0", "a b c", {"seed": 0}, tmp_path, "1234abcd", new))
    logger.write(7, {"losses/total": 0.5}, {"val/samples": "picture"})
    logger.close(finished=True)
    about = {"project": "objbench", "name": "a b c seed-0 1234abcd", "group": "a b c", "config": {"seed": 0}}
    assert told == [
        ("init", (), about | {"resume": resume, "embed": False}),
        ("Image", ("picture",), {}),
        ("log", ({"losses/total": 0.5, "val/samples": "Image"},), {"step": 7}),
        ("finish", (), {}),
    ]
    printed = capsys.readouterr()
    assert printed.out == "* Image\n* log\n"  # the real ones print nothing
    assert printed.err == "* init\n* finish\n"


FAILING = """
from objbench_toys.methods import ToyGeco
whole, calls = ToyGeco.training_loss, []
def training_loss(self, images, progress):
    calls.append(progress)
    if len(calls) == 8:
        raise RuntimeError("a cosmic ray")
    return whole(self, images, progress)
ToyGeco.training_loss = training_loss
"""
COMMAND = "from objbench.cli import main; main()"


@pytest.mark.slow
def test_a_server_that_is_away_does_not_stop_a_run_and_stdout_holds_results_alone(prepared_data, tmp_path):
    pytest.importorskip("wandb", reason="needs the extra wandb")
    environment = os.environ | {
        "OBJBENCH_DATA": str(prepared_data),
        "PYTHONPATH": str(ROOT),
        "WANDB_API_KEY": "a" * 40,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_ERROR_REPORTING": "false",
        "HOME": str(tmp_path),
    }
    line = [
        "run",
        "one_slot",
        "--dataset",
        "tetrominoes",
        "--runs",
        str(tmp_path),
        "--log",
        "wandb",
        "--json",
    ]
    command = [sys.executable, "-c", COMMAND, *line]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout)[0]["method"] == "one_slot"
    assert process.stderr.count("--log wandb: ") == 1
    assert "; the run goes on without it" in process.stderr


@pytest.fixture(scope="module")
def resumed(prepared_data, tmp_path_factory) -> Path:
    """The folder of a run in all loggers that are installed; its first process failed after step 6, the checkpoint is of step 4."""
    home = tmp_path_factory.mktemp("home")
    settings = [part for pair in SETTINGS.items() for part in ("--set", "{}={}".format(*pair))]
    loggers = [part for name in LOGGERS if find_spec(name) for part in ("--log", name)]
    line = ["run", "toy_geco", "--dataset", "tetrominoes", "--runs", str(home / "runs"), *settings, *loggers]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(PLUGINS)]),
        "OBJBENCH_DATA": str(prepared_data),
        "WANDB_MODE": "offline",
        "WANDB_ERROR_REPORTING": "false",
        "TRACKIO_DIR": str(home / "trackio"),
        "HOME": str(home),
    }
    for code, script in ((1, FAILING + COMMAND), (0, COMMAND)):
        process = subprocess.run(
            [sys.executable, "-c", script, *line],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert process.returncode == code, process.stderr
        assert "the run goes on without it" not in process.stderr
    (folder,) = (home / "runs").rglob("seed-0")
    scores, where = process.stdout.splitlines()  # loggers print to stderr
    assert scores.startswith("toy_geco")
    assert where.strip() == str(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_a_run_that_went_on_is_whole_in_the_logger_and_nothing_is_there_twice(resumed, monkeypatch, name):
    pytest.importorskip(name, reason=f"needs the extra {name}")
    monkeypatch.setenv("TRACKIO_DIR", str(resumed.parents[4] / "trackio"))
    told = READERS[name](resumed)
    expected = {
        (line["step"], f"{kind}/{key}"): pytest.approx([value])
        for line in read_log(resumed)
        for kind in ("losses", "val")
        for key, value in line.get(kind, {}).items()
    }
    record = json.loads((resumed / "result.json").read_text())["metrics"]["test"]
    tests = {
        (8, f"test/{key}"): pytest.approx([value["mean"]])
        for key, value in record.items()
        if isinstance(value, dict) and "mean" in value
    }
    assert told.values == expected | tests
    assert sorted(told.pictures) == [(4, "val/samples"), (8, "test/samples"), (8, "val/samples")]
    assert told.name.startswith(f"{resumed.parent.name} tetrominoes generated seed-0")
    assert told.group == f"{resumed.parent.name} tetrominoes generated"
    assert told.config.items() >= json.loads((resumed / "config.json").read_text()).items()
