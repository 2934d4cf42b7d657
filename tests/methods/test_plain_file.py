"""A method in a plain file: what names it, what is read, and how every mistake in it is told."""

from __future__ import annotations

import hashlib
import pickle
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from helpers import plain

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.plain_file import (
    changed_since,
    copy_of_run,
    loaded_file,
    method_name,
    read_file,
)

METHOD = "from objbench.methods.base import Method\n"


def test_the_class_its_name_and_the_hash_of_the_file(tmp_path):
    path = plain.write(tmp_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    for kind in (None, "Mine"):
        file = read_file(path, kind)
        assert (file.method, file.implementation) == ("mine.Mine", f"mine.py@{sha256}:Mine")
        assert file.load().__name__ == "Mine"


def test_a_file_is_executed_once_and_a_changed_one_anew(tmp_path):
    path = plain.write(tmp_path)
    first, again = read_file(path).load(), read_file(path).load()
    plain.write(tmp_path, text=plain.TEXT + "# changed\n")
    other = read_file(path).load()
    assert first is again
    assert other is not first


def test_threads_wait_until_a_file_is_executed(tmp_path):
    path = plain.write(tmp_path, text="import time\ntime.sleep(0.2)\n" + plain.TEXT)
    with ThreadPoolExecutor(4) as pool:
        kinds = [file.load() for file in pool.map(read_file, [path] * 4)]
    assert len(set(kinds)) == 1


def test_the_text_that_was_read_counts_wherever_it_goes(tmp_path):
    """As in a worker or a job: the file itself may have changed meanwhile."""
    path = plain.write(tmp_path, text=plain.TEXT + "sent = 1\n")
    sent = pickle.dumps(read_file(path))
    path.unlink()
    file = pickle.loads(sent)
    assert file.load().__name__ == "Mine"
    assert loaded_file(file.implementation) == file


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("x = (\n", "A", r"PATH:1: SyntaxError: '\(' was never closed"),
        ("import torch\nimport nothing_here\n", "A", "PATH:2: ModuleNotFoundError: No module named 'nothing_here'$"),
        ("import torch\n\nx = undefined\n", "A", "PATH:3: NameError: name 'undefined' is not defined"),
        ("import torch\ntorch.zeros(2).view(3)\n", "A", "PATH:2: RuntimeError: shape"),
        ("import sys\nsys.exit(3)\n", "A", "PATH:2: SystemExit: 3"),
        ("class A: pass\n", None, "PATH has no class that is a subclass of objbench.methods.base.Method"),
        ("class A: pass\n", "A", "PATH: A is no subclass of objbench.methods.base.Method"),
        (METHOD, "Method", "PATH: Method is no subclass"),
        (METHOD + "class Mine(Method): pass\nclass No: pass\n", "No", "PATH: No is no subclass .*; the methods in it: Mine"),
        (METHOD + "class Mine(Method): pass\n", "Mina", "PATH: unknown class 'Mina': did you mean 'Mine'"),
        (METHOD + "class A(Method): pass\nclass B(Method): pass\n", None, "PATH has the methods A, B: name one of them"),
        (METHOD, None, "PATH has no class"),
        (METHOD + "class A(Method):\n  Settings = dict\n", None, "PATH: A.Settings: expected a subclass of Method.Settings"),
    ],
)  # fmt: skip
def test_mistakes_in_a_file_are_told_in_one_line(tmp_path, text, kind, message):
    path = plain.write(tmp_path, text=text)
    with pytest.raises(RequestError, match=message.replace("PATH", re.escape(str(path)))) as caught:
        read_file(path, kind)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(RequestError, match=r"folder\.py: found a folder; a method from a file is"):
        read_file(tmp_path / "folder.py")
    with pytest.raises(RequestError, match=r"gone\.py: no such file; a method from a file is"):
        read_file(tmp_path / "gone.py")


def test_a_module_beside_the_file_is_not_part_of_it(tmp_path):
    plain.write(tmp_path, "helper_beside.py", "x = 1\n")
    path = plain.write(tmp_path, text="import helper_beside\n")
    with pytest.raises(
        RequestError, match="helper_beside lies beside the file, but a method from a file is that file"
    ):
        read_file(path)


@pytest.mark.parametrize(
    "name", ["my mine.py", ".mine.py", "-mine.py", "größe.py", "a+b.py", "a@b.py", "x" * 96 + ".py"]
)
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path, name):
    path = plain.write(tmp_path, name)
    with pytest.raises(RequestError, match=r"its name is that of a folder: .*; rename the file or the class"):
        read_file(path)


def test_names_with_hyphens_and_dots_are_names():
    assert method_name("my-method.v2.py", "Mine") == "my-method.v2.Mine"


def test_a_copy_in_a_run_is_the_file_or_is_refused(tmp_path):
    file = read_file(plain.write(tmp_path))
    run = tmp_path / "seed-0"
    run.mkdir()
    with pytest.raises(ObjbenchError, match=r"method\.py: missing, the copy of mine\.py that this run is of"):
        copy_of_run(run, file.implementation)
    (run / "method.py").write_bytes(file.source)
    found = copy_of_run(run, file.implementation)
    assert (found.implementation, found.path) == (file.implementation, run / "method.py")
    (run / "method.py").write_bytes(file.source + b"\n")
    with pytest.raises(
        ObjbenchError, match=rf"not the mine\.py that this run is of \(its sha256 is not {file.sha256[:12]}"
    ):
        copy_of_run(run, file.implementation)
    assert copy_of_run(run, "objbench.methods.trivial:OneSlot") is None


def test_two_versions_of_a_file_are_told_apart():
    first, second = (f"mine.py@{digit * 64}:Mine" for digit in "ab")
    assert changed_since(first, second) == (
        "mine.py has changed (its sha256 is aaaaaaaaaaaa... there, bbbbbbbbbbbb... now)"
    )
    assert changed_since(first, first) is None
    assert changed_since("objbench.methods.trivial:OneSlot", second) is None
