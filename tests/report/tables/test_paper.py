"""The paper's tables with records of every method: each published row has a measured one in the same columns."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import record, scored, scores

from objbench.records import FoundRecord
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.tables.build import build
from objbench.report.tables.paper import paper_plans
from objbench.spec.load import load_spec

SPEC = load_spec()
METHODS = [name for name, block in SPEC.methods.items() if block.group != "other"]
MASKS = {"dti_sprites": "reassigned", "spair": "composited", "space": "composited", "gnm": "composited"}
TRAINED_ON = ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
SHOWN = {
    "1": {"slot_attention", "monet", "iodine", "efficient_morl", "dti_sprites", "objmae"},
    "2": {
        *("spair", "space", "gnm", "marionette", "dti_sprites", "genesis_v2", "efficient_morl", "monet", "slot_attention"),
        *("iodine", "ast", "objmae"),
    },
}  # fmt: skip


def runs(method: str, dataset: str, source: str | None, variant: str | None = None):
    """Three seeds as they are recorded, also scored on the sets of `also_test` and by the method's other masks."""
    place = {"source": source or ("official" if dataset == "clevrtex" else "emorl")}
    on = {"test": scored(dataset, **place)}
    on |= {other: scored(other, **place) for other in SPEC.datasets[dataset].also_test}
    metrics = {key: scores() for key in on}
    if method in MASKS:
        for key in list(on):
            other = f"{key}+masks={MASKS[method]}"
            on[other] = on[key]
            metrics[other] = scores().model_copy(update={"masks": MASKS[method]})
    return [
        record(seed, method, metrics, on, dataset=dataset, variant=variant, config_hash=f"{variant}", **place)
        for seed in range(3)
    ]


def lines(number: str, *records):
    """Every line of every part of a table."""
    found = [FoundRecord(Path(f"{i}/result.json"), item) for i, item in enumerate(records)]
    rows = [*measured_rows(found, SPEC, Selection()).rows, *published_rows(SPEC)]
    return [build(plan, SPEC).lines for plan in paper_plans(number, rows, ())]


def method(line) -> str:
    return line.rows[0].who.method


@pytest.mark.parametrize("source", [None, "generated"])
@pytest.mark.parametrize("number", ["1", "2"])
def test_every_published_row_has_a_measured_one_in_the_same_columns(number, source):
    records = [item for name in METHODS for dataset in TRAINED_ON for item in runs(name, dataset, source)]
    parts = lines(number, *records)
    published = [line for part in parts for line in part if line.section == "published"]
    assert {method(line) for line in published} == SHOWN[number]
    for part in parts:
        measured = {line.label.text: line for line in part if line.section == "measured"}
        assert {method(line) for line in measured.values()} == set(METHODS)
        for line in (line for line in part if line.section == "published"):
            name = method(line)
            masks = (None, MASKS[name]) if name in MASKS else (None,)
            for label in (SPEC.method_title(name, mask) for mask in masks):
                assert all(cell.text != "-" for cell in measured[label].cells)


@pytest.mark.parametrize("number", ["1", "2"])
def test_measured_rows_are_in_the_order_of_the_papers(number):
    records = [item for name in METHODS for dataset in TRAINED_ON for item in runs(name, dataset, None)]
    first = lines(number, *records)[0]
    measured, published = (
        list(dict.fromkeys(method(line) for line in first if line.section == section))
        for section in ("measured", "published")
    )
    assert measured[: len(published)] == published
    assert measured[-3:] == ["one_slot", "grid", "color_kmeans"]


def test_a_preset_has_a_row_of_its_own_beside_that_of_the_method():
    presets = [("spair", None), ("spair", "clevrtex"), ("gnm", "wide"), ("dti_sprites", "clevr")]
    records = [item for name, variant in presets for item in runs(name, "clevrtex", None, variant)]
    labels = [line.label.text for line in lines("2", *records)[0] if line.section == "measured"]
    assert labels == [
        "SPAIR*", "SPAIR* (composited)", "SPAIR* (clevrtex)", "SPAIR* (clevrtex, composited)",
        "GNM (wide)", "GNM (wide, composited)", "DTI-Sprites (clevr)", "DTI-Sprites (clevr, reassigned)",
    ]  # fmt: skip
