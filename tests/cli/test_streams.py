"""Streams of a command: closed ones, full ones, narrow encodings, readers that left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from objbench.cli.main import app

COMMAND = f"{sys.executable} -m objbench"
REPORT = (
    "report --dataset tetrominoes"  # nothing needs to be prepared for it, and some characters are not ASCII
)


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line in a shell: `objbench` stands for this one."""
    line = line.replace("objbench ", f"{COMMAND} ")
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, env=os.environ | environment, check=False
    )


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full", "<&- 2>&-"])
def test_messages_that_nobody_can_read_stop_nothing_and_never_reach_the_data(
    tmp_path: Path, closed: str
) -> None:
    (tmp_path / "result.json").write_text("damaged")
    found = shell(f"objbench list runs --json --runs {tmp_path} {closed}")
    assert (found.returncode, found.stderr) == (0, "")
    assert json.loads(found.stdout) == []
    found = shell(f"objbench list nothing {closed}")
    assert (found.returncode, found.stdout, found.stderr) == (2, "", "")


@pytest.mark.parametrize(
    ("closed", "reason"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("line", ["list metrics", "info tetrominoes --json", "--help", "--version"])
def test_lost_data_are_a_failure_in_one_line(line: str, closed: str, reason: str) -> None:
    found = shell(f"objbench {line} {closed}")
    assert (found.returncode, found.stderr) == (1, f"objbench: stdout: {reason}\n")


def test_a_request_without_output_needs_no_stdout() -> None:
    assert shell("objbench list nothing >&-").returncode == 2


@pytest.mark.parametrize("line", ["list metrics", "info tetrominoes --json", "--help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_left_ends_the_command_quietly(line: str, unbuffered: str) -> None:
    found = shell(f"objbench {line} | exec true; echo ${{PIPESTATUS[0]}}", PYTHONUNBUFFERED=unbuffered)
    assert (found.stdout, found.stderr) == ("141\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16-le"])
def test_characters_that_stdout_cannot_encode_are_printed_as_escapes(encoding: str) -> None:
    line = [*COMMAND.split(), *REPORT.split()]
    plain = subprocess.run(line, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "utf-8"})
    expected = plain.stdout.decode()
    assert not expected.isascii()
    found = subprocess.run(line, capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding})
    assert found.returncode == 0, found.stderr
    assert found.stdout == expected.encode(encoding, "backslashreplace")


@pytest.mark.parametrize("line", ["info tetrominoes --full", REPORT])
def test_a_locale_without_an_encoding_gets_escapes_too(line: str) -> None:
    plain = shell(f"objbench {line}", PYTHONIOENCODING="utf-8")
    assert not plain.stdout.isascii()
    found = shell(f"objbench {line}", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (found.returncode, found.stderr) == (0, plain.stderr)
    assert found.stdout == plain.stdout.encode("ascii", "backslashreplace").decode()


def test_a_page_on_stdout_is_utf_8_as_it_says() -> None:
    line = [*COMMAND.split(), *REPORT.split(), "--format", "html"]
    found = subprocess.run(line, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "latin-1"})
    assert found.returncode == 0, found.stderr
    assert b'charset="utf-8"' in found.stdout.lower()
    assert not found.stdout.decode("utf-8").isascii()


def test_the_streams_of_the_process_are_its_own_again() -> None:
    before = sys.stdout, sys.stderr
    assert app(["--version"], standalone_mode=False) == 0
    assert (sys.stdout, sys.stderr) == before
