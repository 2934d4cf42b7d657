"""Means over other images than those of the rows beside them: metrics that are undefined for some images."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from helpers.synthetic import record, scored, scores

from objbench.errors import ObjbenchError
from objbench.records import read_record
from objbench.report.report import write_report
from objbench.report.request import FORMATS, ReportRequest
from objbench.report.rows.collect import collect
from objbench.report.rows.comparability import best, conflicts
from objbench.report.rows.images import averaged_images
from objbench.report.rows.measured import Selection
from objbench.report.rows.row import Images, Origin
from objbench.report.tables.pairwise import compare_methods, pairwise_csv, pairwise_json, pairwise_table
from objbench.report.write.text import text
from objbench.spec.load import load_spec
from objbench.train.artifacts import write_per_image

SPEC = load_spec()
KEYS = np.array([f"{index:08d}" for index in range(40)])


def keep(runs, method, values, seed=0):
    """A run of `method` with these values of ari_fg, NaN where it is undefined, as a run writes it."""
    values = np.asarray(values, float)
    defined = values[~np.isnan(values)]
    score = {"mean": float(defined.mean()), "std": 0.1}
    if len(defined) < len(values):
        score["n"] = len(defined)
    metrics = {"test": type(scores()).model_validate({"n_images": len(values), "ari_fg": score})}
    folder = runs / method / f"seed-{seed}"
    folder.mkdir(parents=True)
    record(seed, method, metrics=metrics, on={"test": scored()}).save(folder)
    write_per_image(folder, {"test": {"ari_fg": values, "keys": KEYS}})
    return folder


def undefined(value, images):
    values = np.full(40, float(value))
    values[list(images)] = np.nan
    return values


def rows(runs):
    return collect(SPEC, runs, Selection()).measured


def written(runs, capsys, **options):
    write_report(ReportRequest(spec=SPEC, runs=runs, **options), lambda line: None)
    return capsys.readouterr().out


def test_a_mean_over_all_images_needs_no_note():
    assert Images(320, 320).note is None
    assert Images(319, 1320).note == "mean over 319 of 1,320 images"


def test_the_order_in_which_images_were_scored_does_not_matter(tmp_path):
    values, order = undefined(0.9, range(9)), np.random.default_rng(0).permutation(40)
    one, other = (keep(tmp_path / name, "objmae", values) for name in ("one", "other"))
    write_per_image(other, {"test": {"ari_fg": values[order], "keys": KEYS[order]}})
    found, again = (averaged_images(Origin(folder, read_record(folder), "test")) for folder in (one, other))
    assert found == again
    assert (found["ari_fg"].n, found["ari_fg"].of) == (31, 40)
    assert found["ari_fg"].keys is not None


@pytest.mark.parametrize("kept", [{}, {"keys": KEYS[:39]}])
def test_where_the_keys_of_images_were_not_kept_their_number_is_known(tmp_path, kept):
    values = undefined(0.9, range(9))
    folder = keep(tmp_path, "objmae", values)
    write_per_image(folder, {"test": {"ari_fg": values, **kept}})
    assert averaged_images(Origin(folder, read_record(folder), "test")) == {"ari_fg": Images(31, 40)}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_over_how_many_images_a_mean_is(tmp_path, capsys, form):
    keep(tmp_path, "objmae", undefined(0.9, range(9)))
    assert "ARI-FG: mean over 31 of 40 images" in written(tmp_path, capsys, format=form).replace(r"\_", "_")


def test_a_metric_that_is_defined_for_all_images_has_no_note(tmp_path, capsys):
    keep(tmp_path, "objmae", np.full(40, 0.9))
    assert "mean over" not in written(tmp_path, capsys)


def test_programs_get_the_number_of_images_of_every_value(tmp_path, capsys):
    keep(tmp_path, "objmae", undefined(0.9, range(9)))
    keep(tmp_path, "objmae", np.full(40, 0.8), seed=1)
    lines = csv.DictReader(io.StringIO(written(tmp_path, capsys, format="csv")))
    images = {
        line["seed"]: line["images"] for line in lines if (line["kind"], line["metric"]) == ("run", "ari_fg")
    }
    assert images == {"mean": "31;40", "0": "31", "1": "40"}
    (row,) = [row for row in json.loads(written(tmp_path, capsys, format="json")) if row["kind"] == "run"]
    assert row["values"]["ari_fg"]["images"] == {"0": 31, "1": 40}
    assert "ARI-FG: mean over 31 to 40 (by seed) of 40 images" in row["marks"]
    seeds = written(tmp_path, capsys, all_seeds=True)
    assert "ARI-FG: mean over 31 of 40 images" in seeds


def test_rows_over_different_images_are_marked_and_neither_is_best(tmp_path):
    keep(tmp_path, "objmae", undefined(0.9, range(20)))
    keep(tmp_path, "monet", np.full(40, 0.6))
    found = rows(tmp_path)
    assert {row.label: row.mixed for row in found} == {"objmae": {"ari_fg"}, "monet": {"ari_fg"}}
    assert best(found, "ari_fg", float) == set()
    (line,) = conflicts(found, ["ari_fg"])
    assert "ari_fg is a mean over" in line
    request = ReportRequest(spec=SPEC, runs=tmp_path, strict=True, metrics="ari_fg", dataset=["tetrominoes"])
    with pytest.raises(ObjbenchError, match="ari_fg is a mean over"):
        write_report(request, lambda line: None)


def test_as_many_images_but_other_ones_are_not_comparable(tmp_path):
    keep(tmp_path, "objmae", undefined(0.9, range(10)))
    keep(tmp_path, "monet", undefined(0.6, range(30, 40)))
    (line,) = conflicts(rows(tmp_path), ["ari_fg"])
    assert line.endswith("ari_fg is a mean over 30 other images")


def test_the_same_images_are_comparable(tmp_path):
    keep(tmp_path, "objmae", undefined(0.9, range(10)))
    keep(tmp_path, "monet", undefined(0.6, range(10)))
    found = rows(tmp_path)
    assert conflicts(found, ["ari_fg"]) == []
    assert [row.label for row in found if id(row) in best(found, "ari_fg", float)] == ["objmae"]
    assert not any(row.mixed for row in found)


def test_without_values_per_image_as_many_images_count_as_the_same(tmp_path):
    for method in ("objmae", "monet"):
        (keep(tmp_path, method, undefined(0.9, range(10))) / "per_image.npz").unlink()
    assert conflicts(rows(tmp_path), ["ari_fg"]) == []


def test_compare_takes_the_images_for_which_both_are_defined(tmp_path):
    hard = np.where(np.arange(40) < 12, 0.0, 1.0)
    keep(tmp_path, "objmae", np.where(hard == 0, np.nan, 1.0))
    keep(tmp_path, "monet", hard)
    ((pair,), refused) = compare_methods(rows(tmp_path), ["objmae", "monet"], ["ari_fg"])
    assert refused == []
    result = pair.by_metric["ari_fg"]
    assert (result.means, result.difference, result.interval, result.ahead, result.n_images) == (
        (1.0, 1.0), 0.0, (0.0, 0.0), (0.0, 0.0), 28,
    )  # fmt: skip
    table = text(pairwise_table(pair, SPEC))
    assert "ARI-FG: over the 28 of 40 images for which it is defined for both" in table
    (line,) = json.loads(pairwise_json([pair]))
    assert (line["images"], line["images_of_split"]) == (28, 40)
    assert next(csv.DictReader(io.StringIO(pairwise_csv([pair]))))["images_of_split"] == "40"


def test_compare_names_a_metric_without_an_image_in_common(tmp_path):
    keep(tmp_path, "objmae", undefined(0.9, range(20)))
    keep(tmp_path, "monet", undefined(0.9, range(20, 40)))
    with pytest.raises(ObjbenchError, match=r"ari_fg: there is no image for which it is defined for both$"):
        compare_methods(rows(tmp_path), ["objmae", "monet"], ["ari_fg"])
