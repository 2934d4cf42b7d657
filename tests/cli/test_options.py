"""Completion in a shell, as its script asks for it."""

from __future__ import annotations

import pytest
from helpers.commands import refused
from typer.testing import CliRunner

from objbench.cli.main import app
from objbench.cli.options import local_path


def completions(line: str) -> list[str]:
    words = line.split(" ")
    environment = {
        "_OBJBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    return CliRunner().invoke(app, [], prog_name="objbench", env=environment).stdout.split()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("objbench pre", ["prepare"]),
        ("objbench info tetro", ["tetrominoes"]),
        ("objbench info ari_", ["ari_fg"]),
        ("objbench prepare tetrominoes@al", ["tetrominoes@aligned"]),
        ("objbench run slot", ["slot_attention"]),
        ("objbench run objmae:no_m", ["objmae:no_masking"]),
        ("objbench run grid --dataset multi_dsprites_on", []),
        ("objbench run grid --in", ["--in-memory"]),
        ("objbench report --format m", ["markdown"]),
        ("objbench list me", ["methods", "metrics"]),
    ],
)
def test_verbs_options_and_names_are_completed(line: str, found: list[str]) -> None:
    assert completions(line) == found


@pytest.mark.parametrize(
    "arguments",
    [
        ("segment", "RUN", "a.png", "--output", "s3://b/seg"),
        ("segment", "RUN", "gs://b/a.png", "--output", "seg"),
        ("publish", "RUN", "--output", "gs://bucket/pub"),
        ("report", "--output", "s3://b/x.html"),
        ("show", "tetrominoes", "--output", "s3://b/x.png"),
        ("evaluate", "s3://b/runs/x", "--dataset", "tetrominoes"),
        ("evaluate", "s3://b/p.npz", "--dataset", "tetrominoes"),
        ("list", "methods", "--config", "s3://b/x.yaml"),
    ],
)
def test_a_url_where_only_a_path_can_be_is_refused_as_it_was_typed(tmp_path, monkeypatch, arguments) -> None:
    monkeypatch.chdir(tmp_path)
    (url,) = [argument for argument in arguments if "://" in argument]
    message = " ".join(word for word in refused(2, *arguments).split() if word not in "│╭╮╰╯─")
    assert f"{url} is in an object store, expected a path of this machine" in message
    assert not [*tmp_path.iterdir()]


def test_a_file_url_is_a_path(tmp_path) -> None:
    assert local_path(f"file://{tmp_path}/a") == tmp_path / "a"


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("prepare mine --source webdataset --raw a.tar --raw b.tar", "--raw"),
        ("evaluate run --dataset tetrominoes --dataset clevr6", "--dataset"),
        ("run grid --dataset tetrominoes --seed 4 --seed=5", "--seed"),
        ("run grid --dataset tetrominoes --config a.yaml --config b.yaml", "--config"),
        ("report --metrics ari --json --metrics miou", "--metrics"),
        ("list runs --runs a --runs a", "--runs"),
    ],
)
def test_an_option_of_one_value_that_is_given_twice_is_refused(line: str, option: str) -> None:
    assert f"{option}: given twice, and it takes one value" in refused(2, *line.split())
