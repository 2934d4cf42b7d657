"""Thousands of records, and records that are none."""

from __future__ import annotations

import json
import math
import os
import random
import sys

import pytest
from helpers.synthetic import record, save, scored, scores
from helpers.work import cpu_seconds

from objbench.records import find_records
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.build import build
from objbench.report.tables.plan import dataset_plans
from objbench.report.write.export import as_csv, as_json
from objbench.report.write.latex import latex
from objbench.report.write.text import markdown, text
from objbench.spec.load import load_spec

ODD = (
    None,
    True,
    -1,
    0,
    1e308,
    -1e308,
    2**70,
    "",
    "x",
    "a\nb",
    "\x1b[2J",
    [],
    {},
    [[]],
    {"a": None},
    "NaN",
    "ä±|_&",
)


def whole_report(runs):
    """All that a report does with the records under `runs`; what was skipped."""
    spec = load_spec()
    collected = collect(spec, runs, Selection(1, "miou"))
    plans = dataset_plans(collected.rows, [], spec)
    for plan in plans:
        table = build(plan, spec, all_seeds=True, intervals=True)
        assert text(table)
        assert markdown(table)
        assert latex(table)
    assert isinstance(json.loads(as_json(plans)), list)
    assert as_csv(plans)
    return collected.skipped


def benchmark(methods, seeds, datasets):
    """Records of a whole benchmark, one of whose sets is also scored on two others."""
    for dataset in datasets:
        on = {"test": scored(dataset)}
        if dataset == "clevrtex":
            on |= {name: scored(name) for name in ("clevrtex_ood", "clevrtex_camo")}
        for method in range(methods):
            for seed in range(seeds):
                measured = {key: scores(miou=random.Random(seed).random()) for key in on}
                yield record(seed, f"method_{method}", dataset=dataset, on=on, metrics=measured)


def seconds_for(tmp_path, records):
    save(tmp_path, *records)
    skipped = []
    seconds = cpu_seconds(lambda: skipped.extend(whole_report(tmp_path)))
    assert skipped == []
    return seconds


def test_the_time_of_a_report_grows_with_the_number_of_records(tmp_path):
    load_spec()
    few = seconds_for(tmp_path / "few", benchmark(4, 10, ["tetrominoes", "clevrtex"]))
    many = seconds_for(tmp_path / "many", benchmark(16, 20, ["tetrominoes", "clevrtex"]))
    assert many < 20 * few  # eight times as many records; quadratic work would take 64 times as long


def test_the_time_of_a_report_grows_with_the_number_of_configurations(tmp_path):
    def sweep(n):
        return (record(0, overrides={"model.width": i}, config_hash=str(i)) for i in range(n))

    few, many = seconds_for(tmp_path / "few", sweep(80)), seconds_for(tmp_path / "many", sweep(640))
    assert many < 20 * few


def changed(content, rng):
    """`content` with one leaf or branch replaced, removed or added."""
    if isinstance(content, dict) and content and rng.random() < 0.85:
        key = rng.choice(sorted(content))
        action = rng.random()
        if action < 0.1:
            return {k: v for k, v in content.items() if k != key}
        if action < 0.15:
            return content | {"another": rng.choice(ODD)}
        return content | {key: changed(content[key], rng)}
    return rng.choice(ODD)


def damaged(rng):
    """The bytes of a record to which something has happened."""
    whole = record(rng.randrange(5)).model_dump_json().encode()
    kind = rng.randrange(5)
    if kind == 0:
        return whole[: rng.randrange(len(whole))]
    if kind == 1:
        torn = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            torn[rng.randrange(len(torn))] = rng.randrange(256)
        return bytes(torn)
    if kind == 2:
        return rng.randbytes(rng.randrange(200))
    text = json.dumps(changed(json.loads(whole), rng))
    return (text.replace("0.1", "Infinity") if kind == 3 else text).encode()


def test_no_damage_makes_a_report_fail(tmp_path):
    save(tmp_path, record(method="color_kmeans"))
    rng = random.Random(0)
    for number in range(400):
        (tmp_path / f"damaged-{number}").mkdir()
        (tmp_path / f"damaged-{number}" / "result.json").write_bytes(damaged(rng))
    skipped = whole_report(tmp_path)
    assert 200 < len(skipped) < 400  # some changes are harmless
    assert all("result.json: " in line and "\n" not in line for line in skipped)


def test_what_is_no_file_is_named_and_skipped(tmp_path):
    save(tmp_path / "runs", record())
    folder, pipe, link = (tmp_path / "runs" / name / "result.json" for name in ("folder", "pipe", "link"))
    folder.mkdir(parents=True)
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    link.parent.mkdir()
    link.symlink_to(tmp_path / "nowhere")
    found = find_records(tmp_path / "runs")
    assert len(found.records) == 1
    assert found.skipped == [
        f"{folder}: a folder, expected a file; move it away",
        f"{link}: a link to nothing, expected a file; move it away",
        f"{pipe}: a pipe or device, expected a file; move it away",
    ]


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named_and_skipped(tmp_path):
    save(tmp_path, record(0), record(1))
    file, folder = tmp_path / "0000-objmae/seed-0/result.json", tmp_path / "0001-objmae"
    file.chmod(0)
    folder.chmod(0)
    assert find_records(tmp_path).skipped == [f"{folder}: Permission denied", f"{file}: Permission denied"]
    folder.chmod(0o700)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2Jcleared", ""])
def test_names_that_would_break_a_table_are_skipped(tmp_path, name):
    save(tmp_path, record(0))
    odd = tmp_path / "odd" / "result.json"
    odd.parent.mkdir()
    odd.write_text(record(0, method="m").model_copy(update={"method": name}).model_dump_json())
    assert find_records(tmp_path).skipped == [f"{odd}: method is {name!r}, expected a name"]


def test_a_seed_that_diverged_beyond_all_numbers_leaves_the_others(tmp_path):
    save(tmp_path, *(record(s, metrics={"test": scores(mse=x)}) for s, x in enumerate((1e308, 1e308))))
    (row,) = collect(load_spec(), tmp_path, Selection()).measured
    assert row.values["ari_fg"].mean == pytest.approx(0.9)
    assert math.isnan(row.values["mse"].mean)
    assert whole_report(tmp_path) == []


def test_infinite_scores_are_reported(tmp_path):
    measured = scores(psnr=math.inf)
    save(tmp_path, *(record(seed, metrics={"test": measured}) for seed in range(2)))
    assert whole_report(tmp_path) == []
    spec = load_spec()
    (plan,) = dataset_plans(collect(spec, tmp_path, Selection(1, "miou")).rows, [], spec, ["psnr"])
    (row,) = [line for line in markdown(build(plan, spec)).splitlines() if line.startswith("| objmae")]
    assert row.endswith("| inf |")
