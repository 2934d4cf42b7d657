from __future__ import annotations

import json

from benches import command


def test_prepare_measures_both_datasets_beside_their_limits(tmp_path):
    path = tmp_path / "prepare.json"
    options = ["--quick", "--scenes", "4", "--repeats", "1", "--workers", "1", "--json", str(path)]
    assert command.main(["prepare", *options]) == 0
    content = json.loads(path.read_text())
    assert content["passed"]
    names = [[row["name"] for row in section["rows"]] for section in content["sections"]]
    both = ["objbench prepare, 1 worker", "PNG encoding alone, 1 worker"]
    parse = ["objbench", "protobuf, and a join of its strings"]
    alone = "unpacking and checking the one gzip stream alone, 1 process"
    assert names == [[*both, alone], [*both, alone], parse, parse]
    for section in content["sections"]:
        assert all(sample > 0 for row in section["rows"] for sample in row["samples"])
    assert [section["checks"][0]["value"] for section in content["sections"][2:]] == [0, 0]
