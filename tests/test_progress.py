"""Progress: within the width of a terminal, and in time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

import pytest
from helpers.paths import ROOT

from objbench import progress
from objbench.progress import Job, bar


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def half_done(clock: Clock, description: str = "objmae-demo+cf859d seed 0") -> Job:
    job = Job(description, 154_440, "steps")
    job.advance(0, "", 1000)
    clock.now += 10
    job.advance(2000, "loss 0.1234, val ari 6.109, val ari_fg 6.788", 0)
    return job


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            110,
            "objmae-demo+cf859d seed… 3,000/154,440  13 min left  200 steps/s  loss 0.1234  val ari 6.109  val ari_fg 6.788",
        ),
        (80, "objmae-demo+cf859d seed 0 3,000/154,440  13 min left  200 steps/s  loss 0.1234"),
        (40, "objmae-demo+… 3,000/154,440  13 min left"),
    ],
)
def test_a_line_has_what_matters_most_at_any_width(clock: Clock, width: int, line: str) -> None:
    found = half_done(clock).fitted(width)
    assert len(found) <= width
    assert re.sub("[·━]+ ", "", found) == line


def test_at_80_columns_the_name_is_cut_for_the_mfu(clock: Clock) -> None:
    job = half_done(clock)
    job.advance(0, "loss 0.1234, MFU 41%, val ari 6.109", 0)
    line = "objmae-demo+cf859… 3,000/154,440  13 min left  200 steps/s  loss 0.1234  MFU 41%"
    assert job.fitted(80) == line
    assert len(line) == 80


@pytest.mark.parametrize("width", range(10, 140))
def test_no_line_is_wider_than_the_terminal(clock: Clock, width: int) -> None:
    assert len(half_done(clock, "a_very_long_name" * 9).fitted(width)) <= width


def test_the_bar_fills_what_is_left(clock: Clock) -> None:
    job = Job("x", 10, "scenes")
    job.advance(5, "", 0)
    assert job.fitted(30).startswith("x ")
    assert Job("x", 10, "scenes").fitted(40) == f"x {'·' * 30} 0/10"
    clock.now += 1
    assert "━" * 15 + "·" * 15 in job.fitted(80)


def test_the_rate_is_of_this_process_and_of_the_time_since_its_first_report(clock: Clock) -> None:
    job = Job("training", 100, "steps")
    clock.now += 1000  # start-up
    job.advance(0, "", 50)
    clock.now += 10
    job.advance(20, "", 0)
    assert job.rate == 2
    assert job.plain() == "training: 70/100 steps, 2.0 steps/s, 15 s left"


def test_plain_lines_come_after_two_seconds_then_every_ten(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with bar("training", 100, "steps") as advance:
        for _ in range(60):
            clock.now += 0.5
            advance(1, note="loss 0.5")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["4/100", "24/100", "44/100", "60/100"]
    assert lines[0] == "training: 4/100 steps, 2.0 steps/s, 48 s left, loss 0.5"


def test_a_job_that_goes_on_says_at_once_from_where(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("training", 100, "steps") as advance:
        advance(0, resumed=40)
        assert capsys.readouterr().err == "training: 40/100 steps\n"
        advance(0, resumed=5)  # a later part of the same job
        advance(1)
        assert capsys.readouterr().err == ""


def test_a_job_that_starts_says_nothing_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("training", 100, "steps") as advance:
        advance(0, resumed=0)
        assert capsys.readouterr().err == ""


SLOW_START = """
import time
from objbench.progress import bar
with bar("objmae-demo+cf859d seed 0", 154_440, "steps") as advance:
    advance(0)
    time.sleep(2)
    advance(1, note="loss 0.1234, MFU 41%")
    time.sleep(0.5)
"""


def test_a_terminal_of_80_columns_shows_a_moving_number_before_the_first_step_is_done() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_START], stderr=theirs, env=environment, cwd=ROOT
    ) as process:
        os.close(theirs)
        written = b""
        with suppress(OSError):  # Linux says so at the end
            while part := os.read(ours, 65536):
                written += part
        os.close(ours)
    assert process.returncode == 0
    lines = re.split(r"[\r\n]|\x1b\[[0-9;?]*[A-Za-z]", written.decode())
    assert max(map(len, lines)) < 80
    assert any(re.search(r"seed 0 ·+ 0/154,440  [12] s so far$", line) for line in lines)
    assert any(re.search(r"1/154,440  [\d.]+ days left  0\.\d steps/s  loss 0\.1234", line) for line in lines)


def test_a_note_stays_until_another_or_none_is_said(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("work", 4, "steps") as advance:
        for note in ("one", None, ""):
            clock.now += 20
            advance(1, note=note)
    lines = capsys.readouterr().err.splitlines()
    assert [line.endswith(", one") for line in lines] == [True, True, False, False]
    assert lines[2].endswith("left")
