from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest
from helpers.synthetic import record, scores

from objbench.errors import RequestError
from objbench.records import FoundRecord
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.rows.row import Statistic
from objbench.report.rows.success import Success, wilson
from objbench.report.tables.build import build
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import dataset_plans, with_success
from objbench.report.write.export import as_csv, as_json
from objbench.report.write.text import text
from objbench.spec.load import load_spec

ARI_FG, MSE = (load_spec().metric(name) for name in ("ari_fg", "mse"))


def bimodal():
    """Three seeds that work and two that collapse."""
    values = (0.95, 0.02, 0.93, 0.9, 0.97)
    records = [record(seed, metrics={"test": scores(ari_fg=x)}) for seed, x in enumerate(values)]
    found = [FoundRecord(Path(str(seed)), item) for seed, item in enumerate(records)]
    spec = load_spec()
    return [*measured_rows(found, spec, Selection()).rows, *published_rows(spec)]


@pytest.mark.parametrize(("count", "n"), [(0, 1), (1, 1), (0, 5), (3, 5), (5, 5), (17, 25)])
def test_the_interval_is_wilsons(count, n):
    z = 1.959963984540054
    share, shrink = count / n, 1 + z * z / n
    middle = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    assert wilson(count, n) == pytest.approx((middle - half, middle + half), abs=1e-12)


def test_a_seed_succeeds_strictly_above_the_threshold():
    found = Success("ari_fg", 0.9).of(
        Statistic(ARI_FG, 0.0, None, {0: 0.9, 1: 0.9000001, 2: float("nan"), 3: 1.0})
    )
    assert (found.count, found.n, found.share) == (2, 4, 0.5)


def test_of_an_error_the_lower_ones_succeed():
    success = Success.parse("mse:0.01", load_spec())
    assert str(success) == "mse < 0.01"
    assert success.of(Statistic(MSE, 0.0, None, {0: 0.001, 1: 0.02})).count == 1


def test_published_means_have_no_share():
    assert Success("ari_fg", 0.9).of(Statistic(ARI_FG, 0.99, 0.01)) is None
    assert Success("ari_fg", 0.9).of(None) is None


@pytest.mark.parametrize("text", ["ari_fg", "ari_fg:", "ari_fg:high", "ari_fg:nan", ":0.9"])
def test_what_is_no_threshold_is_refused(text):
    with pytest.raises(
        RequestError, match=r"expected METRIC:THRESHOLD, such as ari_fg:0\.9|unknown metric ''"
    ):
        Success.parse(text, load_spec())


@pytest.mark.parametrize(("text", "threshold"), [("ari_fg:0.9", 0.9), ("ari:-1", -1.0), ("miou:1", 1.0)])
def test_a_threshold_is_a_fraction(text, threshold):
    success = Success.parse(text, load_spec())
    assert (success.metric, success.threshold, success.sign) == (text.partition(":")[0], threshold, 1)


def test_a_threshold_in_percent_is_refused():
    with pytest.raises(RequestError, match="ari_fg is a fraction, so is its threshold"):
        Success.parse("ari_fg:90", load_spec())


def test_a_column_says_how_many_of_how_many_seeds_with_the_interval():
    (plan,) = dataset_plans(bimodal(), [], load_spec())
    table = build(with_success(plan, Success("ari_fg", 0.9)), load_spec())
    assert table.headings[-1] == "ARI-FG > 90 %"
    cells = {line.label.text: line.cells[-1].text for line in table.lines}
    assert cells["IODINE"] == "-"
    assert table.lines[0].cells[-1].text == "3/5 [23, 88]"
    assert "ARI-FG > 90 %: seeds of which that is true, [ , ] 95 % Wilson interval of their share" in text(
        table
    )


def test_every_dataset_with_seeds_has_a_column_of_its_own():
    (first, _) = paper_plans("1", bimodal(), [])
    table = build(with_success(first, Success("ari_fg", 0.9)), load_spec())
    assert table.groups == ["Tetrominoes", "Tetrominoes", "Multi-dSprites", "CLEVR6"]
    assert table.headings == ["ARI-FG", "ARI-FG > 90 %", "ARI-FG", "ARI-FG"]
    assert table.full_headings()[-3:] == [
        "Tetrominoes ARI-FG > 90 %",
        "Multi-dSprites ARI-FG",
        "CLEVR6 ARI-FG",
    ]


def test_programs_get_the_share_too():
    plans = [with_success(plan, Success("ari_fg", 0.9)) for plan in dataset_plans(bimodal(), [], load_spec())]
    low, high = wilson(3, 5)
    first = json.loads(as_json(plans))[0]
    assert first["success"] == {"ari_fg > 0.9": {"count": 3, "n": 5, "low": low, "high": high}}
    (line,) = [x for x in csv.DictReader(io.StringIO(as_csv(plans))) if x["seed"] == "share"]
    assert (line["metric"], line["value"], float(line["low"])) == ("ari_fg > 0.9", "0.6", low)
