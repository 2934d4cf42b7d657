"""What names a method that is in a plain file."""

from __future__ import annotations

from objbench.spec.names import split_reference


def test_a_reference_is_a_path_a_class_and_a_variant():
    found = [
        split_reference(text) for text in ("a/b.py", "b.py:B", "b.py:B:small", "b.py::small", "b", "b:B.py.x")
    ]
    parts = [None if one is None else (str(one[0]), *one[1:]) for one in found]
    assert parts == [
        ("a/b.py", None, None),
        ("b.py", "B", None),
        ("b.py", "B", "small"),
        ("b.py", None, "small"),
        None,
        None,
    ]
