"""What a person sees of a pool: plain lines where there is no terminal."""

from __future__ import annotations

import sys
from io import StringIO

from helpers.launched import plan_of

from objbench.launch import view as module
from objbench.launch.view import lines, view
from objbench.train.lock import sole_owner
from objbench.train.run_state import reporting


def test_each_run_at_work_has_a_line_with_its_step(prepared_data, tmp_path):
    plan = plan_of(prepared_data, tmp_path)
    first = plan.runs[0].folder
    with sole_owner(first), reporting(first) as reporter:
        reporter.begin(100)
        reporter.watching(lambda amount=1, note=None, resumed=0: None)(40, None, 20)
        reporter.finish("stopped", None)
        assert lines(5, 3, list(plan.runs)) == [
            "3 of 5 runs done",
            "  toy_geco on tetrominoes, seed 0: step 60 of 100",
            "  toy_geco on tetrominoes, seed 1: starting",
        ]


def test_without_a_terminal_lines_are_printed_now_and_then(prepared_data, tmp_path, monkeypatch):
    shown = StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr(module, "PLAIN_SECONDS", 1000.0)
    with view(2) as display:
        display.show([])
        assert shown.getvalue() == ""
        monkeypatch.setattr(module, "PLAIN_SECONDS", 0.0)
        display.finished = 1
        display.show([])
    assert shown.getvalue() == "1 of 2 runs done\n"


class Terminal(StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_view_and_a_pipe_gets_what_is_printed(prepared_data, tmp_path, monkeypatch):
    screen, pipe = Terminal(), StringIO()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(sys, "stdout", pipe)
    with view(3) as display:
        display.show(list(plan_of(prepared_data, tmp_path).runs))
        print("a score")
    assert pipe.getvalue() == "a score\n"
    assert "0 of 3 runs done" in screen.getvalue()
    assert "seed 1: starting" in screen.getvalue()
