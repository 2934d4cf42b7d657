"""tools/bench: the benches, their options, their results and exit codes."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from types import SimpleNamespace

import pytest
from benches import command
from benches.report import Check, Report, Row, Section


def fake_bench(value):
    """A bench that finds `value` where at most 1 is allowed."""

    def measure(options: Namespace) -> Report:
        return Report(
            {"depth": options.depth}, [Section("Fake", "ms", [Row("only", [1.0])], [Check("v", value, 1)])]
        )

    def add_options(parser: ArgumentParser) -> None:
        parser.add_argument("--depth", type=int, default=7)

    return SimpleNamespace(measure=measure, add_options=add_options)


@pytest.mark.parametrize(("value", "code", "verdict"), [(0.5, 0, "passed"), (1.5, 1, "FAILED")])
def test_a_failed_check_fails_the_bench(monkeypatch, tmp_path, capsys, value, code, verdict):
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", fake_bench(value))
    path = tmp_path / "fake.json"
    assert command.main(["fake", "--json", str(path)]) == code
    assert f"v: {value} (at most 1): {verdict}" in capsys.readouterr().out
    content = json.loads(path.read_text())
    assert content["passed"] is (code == 0)
    assert content["parameters"] == {"depth": 7}


def test_what_was_measured_before_an_interruption_is_kept(monkeypatch, tmp_path):
    def measure(options: Namespace) -> Report:
        def sections():
            yield Section("First", "ms", [Row("only", [1.0])])
            raise KeyboardInterrupt

        return Report({}, sections())

    cut_off = SimpleNamespace(measure=measure, add_options=lambda parser: None)
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", cut_off)
    path = tmp_path / "fake.json"
    assert command.main(["fake", "--json", str(path)]) == 130
    content = json.loads(path.read_text())
    assert content["finished"] is False
    assert [section["title"] for section in content["sections"]] == ["First"]


def test_results_go_to_a_new_file_by_default(monkeypatch, tmp_path):
    monkeypatch.setitem(command.BENCHES, "fake", ("fake_bench", "A bench for tests."))
    monkeypatch.setitem(sys.modules, "fake_bench", fake_bench(0))
    monkeypatch.setattr(command, "RESULTS", tmp_path / "bench")
    assert command.main(["fake"]) == 0
    (written,) = (tmp_path / "bench").iterdir()
    assert written.name.startswith("fake-")
    assert written.suffix == ".json"


@pytest.mark.parametrize("line", [[], ["--help"], ["-h"]])
def test_help_lists_the_benches(line, capsys):
    assert command.main(line) == 0
    printed = capsys.readouterr().out
    for name, (_, description) in command.BENCHES.items():
        assert name in printed
        assert description in printed


def test_an_unknown_bench_is_refused_with_the_list(capsys):
    assert command.main(["metric"]) == 2
    assert (
        "unknown bench 'metric': did you mean 'metrics'? Known: cost, generate, likeness, metrics, prepare"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "0"], "argument --images: expected a whole number of at least 1, found '0'"),
        (["--threads", "two"], "argument --threads: expected a whole number of at least 1, found 'two'"),
        (["--image", "3"], "unrecognized arguments: --image 3"),
    ],
)
def test_a_wrong_option_is_refused(options, message, capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(["metrics", *options])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_device_is_refused(capsys):
    assert command.main(["metrics", "--device", "abacus"]) == 2
    assert "tools/bench: unknown device 'abacus'" in capsys.readouterr().err
