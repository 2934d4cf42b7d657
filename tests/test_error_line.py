"""An error is told at the last line of somebody's own code that it passed through."""

from __future__ import annotations

import sys

import pytest
import torch
from helpers import plain
from objbench_toys.methods import ToyGeco

from objbench.error_line import line_of, own_line
from objbench.methods.create import create
from objbench.methods.plain_file import read_file


def caught(work):
    with pytest.raises(Exception) as found:  # noqa: PT011
        work()
    return found.value


def test_a_library_that_own_code_called_is_not_the_place():
    error = caught(lambda: torch.nn.Module().maskz)
    assert error.__traceback__.tb_next.tb_next is not None  # it passed torch
    line = sys._getframe().f_lineno - 2
    assert own_line(error) == line_of(error) == f"{__file__}:{line}"


def test_a_file_and_its_line(tmp_path):
    path = plain.write(tmp_path, text=plain.TYPO)
    method = create(str(path), "tetrominoes")
    error = caught(lambda: method.segment(torch.rand(1, 3, 35, 35)))
    assert line_of(error) == f"{path}:{plain.TYPO_LINE}"


def test_a_plugin_counts_wherever_it_is_installed(monkeypatch):
    monkeypatch.setattr("objbench.error_line._libraries", lambda: ("/",))  # as if all of it were a library
    method = create("toy_geco", "tetrominoes")
    monkeypatch.setattr(method, "trunk", None)
    error = caught(lambda: method.mixture(torch.rand(1, 3, 35, 35)))
    module = sys.modules[ToyGeco.__module__]
    assert line_of(error).startswith(f"{module.__file__}:")


def test_what_an_error_was_raised_from_counts(tmp_path):
    path = plain.write(tmp_path, text="import torch\n\n1 / 0\n")
    error = caught(lambda: read_file(path))
    assert own_line(error.__cause__) == f"{path}:3"


def test_a_file_that_cannot_be_parsed_is_the_place():
    error = caught(lambda: compile("x = (", "/there/mine.py", "exec"))
    assert line_of(error) == "/there/mine.py:1"


def test_an_error_of_a_library_alone_has_the_last_line_of_it():
    import json.decoder

    error = caught(lambda: json.loads("{"))
    inside = error.__traceback__
    while inside.tb_next:
        inside = inside.tb_next
    error.__traceback__ = inside  # without the lines of this file
    assert own_line(error) is None
    assert line_of(error).startswith(f"{json.decoder.__file__}:")
