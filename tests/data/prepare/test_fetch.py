"""prepare without --raw: what the splits need is downloaded first, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.paths import FIXTURES
from helpers.server import Served, Server
from typer.testing import CliRunner, Result

from objbench.cli.main import app
from objbench.data.format.manifest import read_manifest
from objbench.data.prepare.fetch import fetch_release
from objbench.data.sources.base import SourceRequest
from objbench.spec.load import load_spec

MINI = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"
NAME = "tetrominoes_train.tfrecords"
SIZES = ("--train", "6", "--val", "2", "--test", "2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> Path:
    """A folder with a yaml that names the local server instead of the release's."""
    server.files[f"/{NAME}"] = Served(MINI.read_bytes())
    (tmp_path / "here.yaml").write_text(
        "datasets: {tetrominoes: {sources: {deepmind: {download: {files: "
        f"{{{NAME}: {{urls: ['{server.url(f'/{NAME}')}']}}}}}}}}}}}}}}"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(*line: str) -> Result:
    command = ["prepare", "tetrominoes", "--source", "deepmind", *line, "--workers", "1"]
    return CliRunner().invoke(app, [*command, "--config", "here.yaml", "--data", "data"])


def test_what_is_missing_is_downloaded_once_and_prepared(home: Path, server: Server) -> None:
    first = prepare(*SIZES)
    assert first.exit_code == 0, first.stderr
    assert f"downloading {NAME}, " in first.stderr
    assert "are free" in first.stderr
    release = home / "data/.downloads/deepmind"
    assert (release / NAME).read_bytes() == MINI.read_bytes()
    served = server.sent
    assert prepare(*SIZES, "--force").exit_code == 0
    assert server.sent == served
    (file,) = read_manifest(home / "data/tetrominoes/deepmind").files
    assert file.sha256 == json.loads((release / f"{NAME}.receipt.json").read_text())["sha256"]


def test_a_dry_run_says_what_would_be_downloaded_and_writes_nothing(home: Path, server: Server) -> None:
    text = prepare(*SIZES, "--dry-run")
    assert text.exit_code == 0, text.stderr
    assert f"{NAME}: missing" in text.stdout
    assert server.url(f"/{NAME}") in text.stdout
    facts = json.loads(prepare(*SIZES, "--dry-run", "--json").stdout)
    assert facts["downloads"][0]["bytes"] == MINI.stat().st_size == facts["needed"]
    assert not (home / "data").exists()
    prepare(*SIZES)
    assert "split   train: 6 scenes" in prepare(*SIZES, "--dry-run", "--force").stdout


def test_a_dry_run_says_what_cannot_be_had(home: Path, server: Server) -> None:
    server.files.clear()
    result = prepare(*SIZES, "--dry-run")
    assert result.exit_code == 0
    assert f"{NAME}: missing, size unknown" in result.stdout
    assert "404" in result.stdout


def test_a_release_that_cannot_be_had_is_named_with_the_ways_out(home: Path, server: Server) -> None:
    server.files.clear()
    result = prepare()
    assert result.exit_code == 1
    for word in (server.url(f"/{NAME}"), "404", "--raw PATH", "--source generated"):
        assert word in result.stderr
    assert not list(home.rglob("*.tar"))


def test_every_release_says_where_its_files_are() -> None:
    spec = load_spec()
    for name, dataset in spec.datasets.items():
        for source, facts in dataset.sources.items():
            if source == "generated":
                assert facts.download is None
                continue
            assert facts.download is not None, name
            first_names = {names[0] for names in facts.files.values()}
            all_names = {name for names in facts.files.values() for name in names}
            assert first_names <= set(facts.download.files) <= all_names


def test_only_the_files_of_the_wanted_splits_are_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(
        "objbench.data.prepare.fetch.fetch",
        lambda remotes, folder, say: asked.append([remote.name for remote in remotes]),
    )
    clevr6 = load_spec().dataset("clevr6")
    for sizes in ({}, {"train": 0, "val": 0}, {"test": 0}):
        fetch_release(SourceRequest(clevr6, "emorl", sizes=sizes), tmp_path, print)
    train, test = "clevr6_with_masks_train.h5", "clevr6_with_masks_and_factors_test.h5"
    assert asked == [[train, test], [test], [train]]
    generated = SourceRequest(load_spec().dataset("tetrominoes"), "generated")
    assert fetch_release(generated, tmp_path, print) is None
