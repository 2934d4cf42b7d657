"""A file of 2,000 full-size CLEVR records, 6.5 GB unpacked: memory stays bounded, and a killed prepare goes on."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import clevr
from helpers.paths import TESTS
from helpers.tfrecords import framed

RECORDS = 2000
PER_SHARD = 100
PREPARE = """
import json, re, resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from helpers import clevr
from objbench.data.prepare import prepare
from objbench.data.sources import deepmind
looked = []
objects = deepmind.objects
deepmind.objects = lambda frame, *layout: (looked.append(frame.number), objects(frame, *layout))[1]
reference = clevr.dataset("clevr6", {records}, 320)
reference.spec = reference.spec.model_copy(update={{"scenes_per_shard": {per_shard}}})
manifest = prepare.prepare(reference, "deepmind", Path(sys.argv[2]), raw=Path(sys.argv[1]), workers=2)
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])  # ru_maxrss knows the parent's
peak = [own // 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024]
print(json.dumps({{"peak": peak, "looked": [looked[0], len(looked)], "manifest": manifest.model_dump()}}))
"""


def command(raw: Path, data: Path) -> list[str]:
    code = PREPARE.format(path=[str(TESTS)], records=RECORDS, per_shard=PER_SHARD)
    return [sys.executable, "-c", code, str(raw), str(data)]


def finished(raw: Path, data: Path) -> dict[str, Any]:
    done = subprocess.run(command(raw, data), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
def test_memory_is_bounded_and_a_killed_prepare_goes_on_by_record_count(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).choice(4, RECORDS, p=[0.2, 0.5, 0.15, 0.15]).tolist()
    members = [gzip.compress(framed(payload), 6) for payload in clevr.payloads()]
    raw = tmp_path / "clevr_with_masks_train.tfrecords"
    raw.write_bytes(b"".join(members[row] for row in rows))

    folder = tmp_path / "killed/clevr6/deepmind"
    journal = folder / ".prepare/train-000001.tar.json"
    with subprocess.Popen(command(raw, tmp_path / "killed")) as process:
        until = time.monotonic() + 200
        while not journal.exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.01)
        process.kill()
    assert journal.exists()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("train-*.tar")}
    entry = (folder / f".prepare/{max(before)}.json").read_text().splitlines()[0]
    last = json.loads(entry)["last"]

    resumed = finished(raw, tmp_path / "killed")
    whole = finished(raw, tmp_path / "whole")
    assert resumed["looked"] == [last + 1, RECORDS - last - 1]
    assert whole["looked"] == [0, RECORDS]
    assert resumed["manifest"] == whole["manifest"]
    assert {name: (folder / name).stat().st_mtime_ns for name in before} == before
    for path in (tmp_path / "whole/clevr6/deepmind").glob("*.tar"):
        assert (folder / path.name).read_bytes() == path.read_bytes()

    six = [index for index, row in enumerate(rows) if clevr.OBJECTS[row] <= 6]
    splits = whole["manifest"]["splits"]
    assert {name: split["count"] for name, split in splits.items()} == {
        "train": len(six) - 640,
        "test": 320,
        "val": 320,
    }
    assert splits["test"]["records"]["start"] == six[-640]
    own, workers = whole["peak"]
    assert own < 450, f"{own} MB in the process that reads"
    assert workers < 250, f"{workers} MB in a worker"
