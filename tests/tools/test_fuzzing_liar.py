"""The lying server of tools/fuzz: a short part, and planted faults of the downloads are noticed."""

from __future__ import annotations

import pytest
from fuzzing import downloads
from fuzzing.downloads import SHA256, ServerTarget
from fuzzing.liar import DETECTABLE, UNDETECTABLE
from fuzzing.outcome import Outcome
from helpers.fuzzing import results

from objbench.data.download import http, locate


def outcomes(tmp_path, sha256, trials):
    return [result.outcome for result in results(tmp_path, ServerTarget("server", "", sha256), trials)]


def lies(monkeypatch, *kinds):
    """Let the server know these lies only."""
    for name, known in (("DETECTABLE", DETECTABLE), ("UNDETECTABLE", UNDETECTABLE)):
        monkeypatch.setattr(downloads, name, {kind: lie for kind, lie in known.items() if kind in kinds})


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_lies_that_can_be_noticed_are(tmp_path, monkeypatch, sha256):
    quick = {"slow", "silence"}
    lies(monkeypatch, *(kind for kind in DETECTABLE if kind not in quick))
    found = results(tmp_path, ServerTarget("server", "", sha256), 12)
    assert [result for result in found if result.failed] == []
    assert {result.outcome for result in found} == {Outcome.SAME, Outcome.NAMED}


def test_other_bytes_are_refused_by_their_checksum_alone(tmp_path, monkeypatch):
    lies(monkeypatch, "other bytes")
    assert Outcome.UNCHECKED in outcomes(tmp_path / "a", None, 4)
    assert Outcome.NAMED in outcomes(tmp_path / "b", SHA256, 4)


def test_a_download_that_takes_packed_bytes_for_the_file_is_noticed(tmp_path, monkeypatch):
    lies(monkeypatch, "gzip")
    monkeypatch.setattr(http, "_check_form", lambda response: None)
    assert Outcome.SILENT in outcomes(tmp_path, None, 6)


def test_an_error_that_nobody_foresaw_is_noticed(tmp_path, monkeypatch):
    lies(monkeypatch, "no answer")

    def broken(*_):
        raise ValueError("unforeseen")

    monkeypatch.setattr(locate, "check_address", broken)
    assert set(outcomes(tmp_path, None, 2)) == {Outcome.UNNAMED}
