"""--output: whole or not at all; and names of foreign records in it."""

from __future__ import annotations

import csv
import errno
import io
import re

import pytest
from helpers.synthetic import record, save, scored

from objbench.errors import ObjbenchError
from objbench.records import find_records
from objbench.report.report import write_report
from objbench.report.request import FORMATS, ReportRequest
from objbench.spec.load import load_spec

SPEC = load_spec()


def write(runs, told=None, **options):
    write_report(ReportRequest(spec=SPEC, runs=runs, **options), [].append if told is None else told.append)


@pytest.mark.parametrize("form", ["html", "csv"])
def test_a_full_disk_leaves_the_old_report_and_is_named(tmp_path, monkeypatch, form):
    save(tmp_path / "runs", record())
    output = tmp_path / "report"
    output.write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    message = rf"^{re.escape(str(output))}: No space left on device; free some space \(or quota\)$"
    with pytest.raises(ObjbenchError, match=message):
        write(tmp_path / "runs", format=form, output=output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "runs"]


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path):
    save(tmp_path / "runs", record())
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "runs", format="csv", output=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text().startswith("kind,dataset")


def test_names_of_records_are_no_formulas_and_numbers_stay_numbers(tmp_path, capsys):
    names = ("=1+1", "+cmd", "-2+3", "@SUM(A1)")
    save(tmp_path, *(record(0, name, device=name) for name in names))
    write(tmp_path, format="csv")
    lines = [line for line in csv.DictReader(io.StringIO(capsys.readouterr().out)) if line["kind"] == "run"]
    assert {line["method"] for line in lines} == {f"'{name}" for name in names}
    assert {line["devices"] for line in lines} == {f"'{name}" for name in names}
    assert {float(line["value"]) for line in lines if line["metric"] == "ari"} == {0.8}


@pytest.mark.parametrize("form", FORMATS)
def test_a_dataset_that_is_no_name_is_skipped_with_its_file(tmp_path, capsys, form):
    save(tmp_path, record(dataset="@SUM", on={"test": scored("@SUM")}))
    (line,) = find_records(tmp_path).skipped
    assert line.endswith("result.json: dataset is '@SUM', expected a name without @ and /")
    write(tmp_path, format=form, dataset=("tetrominoes",))
    assert "@SUM" not in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMATS)
def test_without_records_every_format_says_so(tmp_path, form):
    with pytest.raises(ObjbenchError, match=f"no records under {tmp_path}"):
        write(tmp_path, format=form)
