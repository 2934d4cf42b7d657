"""metrics.jsonl: what is written is read back, and what is damaged is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from objbench.errors import ObjbenchError
from objbench.train.log import Log, read_log

GOOD = b'{"step": 1, "stage": "train", "epoch": 0, "losses": {"total": 0.5}}\n'


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(1, "train", 0, "losses", {"total": float("inf")})
    log.write(2, "train", 1, "val", {"ari_fg": 0.25})
    assert read_log(tmp_path) == [
        {"step": 1, "stage": "train", "epoch": 0, "losses": {"total": float("inf")}},
        {"step": 2, "stage": "train", "epoch": 1, "val": {"ari_fg": 0.25}},
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (GOOD[:-3], "damaged (Invalid JSON: EOF while parsing an object"),
        (GOOD.replace(b"train", b"tr\xffin"), "damaged (Invalid JSON: invalid unicode code point"),
        (b"[" * 100_000, "damaged (Invalid JSON: recursion limit exceeded"),
        (b"17", "not a line of a log of this version of objbench (Input should be an object)"),
        (GOOD.replace(b"0.5", b'"much"'), "not a line of a log of this version of objbench (losses.total: "),
        (
            GOOD.replace(b'"step": 1, ', b""),
            "not a line of a log of this version of objbench (step: Field required)",
        ),
    ],
)
def test_a_damaged_line_is_named_with_its_file(tmp_path: Path, line: bytes, fault: str) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(GOOD + line)
    with pytest.raises(ObjbenchError, match=re.escape(f"{tmp_path}/metrics.jsonl: line 2 is {fault}")):
        read_log(tmp_path)
