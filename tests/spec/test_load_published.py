"""The numbers of benchmarks.yaml against the printed ones, row by row."""

from __future__ import annotations

from collections import Counter

import pytest

from objbench.spec.load import load_spec

THREE = ("tetrominoes", "multi_dsprites", "clevr6")
BEST = "best 3 of 10 seeds by mIoU on ClevrTex"


def rows(table):
    return [row for row in load_spec().published if row.table == table]


def find(table, method, variant=None, selection=None):
    found = [
        row
        for row in rows(table)
        if (row.method, row.variant) == (method, variant) and selection in (None, row.selection)
    ]
    assert len(found) == 1
    return found[0]


def test_there_are_as_many_rows_as_the_paper_has():
    counts = Counter(row.table for row in load_spec().published)
    of_paper = {"1": 6, "2": 13, "generalisation": 2, "3": 1, "4": 5, "5": 5, "6": 5}
    assert counts == of_paper | {"akorn": 5, "genera1z": 12}


def test_every_row_is_there_once():
    keys = [(row.table, row.method, row.variant, row.selection, row.label) for row in load_spec().published]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("method", "metric", "values"),
    [
        ("monet", "ari_fg", (None, (90.4, 0.8), (96.2, 0.6))),
        ("iodine", "ari_fg", ((99.2, 0.4), (76.7, 5.6), (98.8, 0.0))),
        ("slot_attention", "ari_fg", ((99.5, 0.2), (91.3, 0.3), (98.8, 0.3))),
        ("efficient_morl", "ari_fg", ((98.2, 1.8), (91.2, 0.4), (96.2, 1.6))),
        ("dti_sprites", "ari_fg", ((99.6, 0.2), (92.5, 0.3), (97.2, 0.2))),
        ("objmae", "ari_fg", ((99.5, 0.3), (94.7, 0.4), (96.2, 0.2))),
        ("dti_sprites", "ari", ((99.8, 0.1), (95.1, 0.1), (90.7, 0.1))),
        ("objmae", "ari", ((99.9, 0.0), (99.1, 0.1), (97.4, 0.1))),
    ],
)
def test_table_1(method, metric, values):
    found = find("1", method).values
    assert tuple(found.get(dataset, {}).get(metric) for dataset in THREE) == values


@pytest.mark.parametrize(
    ("method", "miou", "ari_fg"),
    [
        ("spair", (0.0, 0.0), (0.0, 0.0)),
        ("space", (9.14, 3.46), (17.53, 4.13)),
        ("gnm", (42.25, 0.18), (53.37, 0.67)),
        ("marionette", (10.46, 0.10), (38.31, 0.70)),
        ("dti_sprites", (33.79, 1.30), (79.90, 1.37)),
        ("genesis_v2", (7.93, 1.53), (31.19, 12.41)),
        ("efficient_morl", (30.17, 2.60), None),
        ("monet", (19.78, 1.02), (36.66, 0.87)),
        ("slot_attention", (22.58, 2.07), (62.40, 2.23)),
        ("iodine", (29.16, 0.75), (59.52, 2.20)),
        ("ast", (66.62, 0.80), (89.11, 1.15)),
    ],
)
def test_table_2(method, miou, ari_fg):
    row = find("2", method)
    assert row.values["clevrtex"]["miou"] == miou
    assert row.values["clevrtex"].get("ari_fg") == ari_fg
    by_clevrtex = method != "ast"
    assert row.std == ("population" if by_clevrtex else "not stated")
    assert row.definitions.get("miou") == ("very likely background excluded" if by_clevrtex else None)


@pytest.mark.parametrize(
    ("selection", "seeds", "test", "ood", "camo"),
    [
        (
            BEST,
            3,
            ((48.34, 0.76), (70.23, 1.80)),
            ((39.80, 1.14), (67.74, 1.87)),
            ((42.94, 0.66), (54.61, 1.23)),
        ),
        (
            "all 10 seeds",
            10,
            ((36.40, 11.65), (49.51, 22.02)),
            ((30.57, 9.10), (48.99, 21.03)),
            ((33.10, 9.82), (38.83, 17.22)),
        ),
    ],
)
def test_objmae_on_clevrtex_and_its_generalisation(selection, seeds, test, ood, camo):
    row, line = (
        find("2", "objmae", selection=selection),
        find("generalisation", "objmae", selection=selection),
    )
    assert (row.seeds, line.seeds) == (seeds, seeds)
    assert (row.values["clevrtex"]["miou"], row.values["clevrtex"]["ari_fg"]) == test
    assert (line.values["clevrtex_ood"]["miou"], line.values["clevrtex_ood"]["ari_fg"]) == ood
    assert (line.values["clevrtex_camo"]["miou"], line.values["clevrtex_camo"]["ari_fg"]) == camo


def test_table_3():
    assert find("3", "objmae").values == {
        "tetrominoes": {"hours": (1.75, None)},
        "multi_dsprites": {"hours": (4.5, None)},
        "clevr6": {"hours": (10.5, None), "iterations": (130_000, None)},
        "clevrtex": {"hours": (15, None), "iterations": (100_000, None)},
    }


ABLATIONS = {
    ("4", "ari_fg"): {
        None: ((99.5, 0.3), (94.7, 0.4), (96.2, 0.2)),
        "no_object_entropy": ((99.5, 0.5), (93.1, 1.3), (98.5, 0.1)),
        "no_pixel_entropy": ((95.3, 6.5), (75.8, 41.2), (0.0, 0.0)),
        "no_entropy": ((99.6, 0.1), (88.1, 2.7), (95.8, 2.4)),
        "no_masking": ((88.8, 7.0), (94.8, 0.3), (0.0, 0.0)),
    },
    ("5", "ari"): {
        None: ((99.9, 0.0), (99.1, 0.1), (97.4, 0.1)),
        "no_object_entropy": ((99.9, 0.1), (99.0, 0.2), (95.3, 0.1)),
        "no_pixel_entropy": ((97.4, 4.0), (98.1, 2.0), (0.0, 0.0)),
        "no_entropy": ((99.9, 0.0), (73.7, 34.8), (45.1, 46.4)),
        "no_masking": ((98.1, 2.8), (98.9, 0.1), (0.0, 0.0)),
    },
    ("6", "miou"): {
        None: ((99.7, 0.2), (90.5, 0.5), (75.0, 0.2)),
        "no_object_entropy": ((99.7, 0.3), (87.0, 2.7), (78.4, 0.3)),
        "no_pixel_entropy": ((97.2, 3.9), (78.6, 23.3), (17.3, 0.0)),
        "no_entropy": ((99.7, 0.1), (72.4, 8.9), (45.6, 23.2)),
        "no_masking": ((91.3, 5.9), (91.0, 1.0), (17.3, 0.0)),
    },
}


@pytest.mark.parametrize(("table", "metric"), ABLATIONS)
def test_ablations(table, metric):
    for variant, values in ABLATIONS[table, metric].items():
        row = find(table, "objmae", variant)
        assert tuple(row.values[dataset][metric] for dataset in THREE) == values
        assert (row.std, row.seeds) == ("sample", 5)


def test_ablated_variants_are_those_of_the_method():
    variants = load_spec().method("objmae").variants
    assert {row.variant for table in "456" for row in rows(table)} - {None} <= set(variants)


def test_filtered_outliers_are_noted_where_the_paper_marks_them():
    marked = {(row.method, dataset) for row in load_spec().published for dataset, note in row.dataset_notes.items()
              if note == "one outlier seed filtered"}  # fmt: skip
    assert marked == {("slot_attention", "tetrominoes"), ("dti_sprites", "multi_dsprites")}


def test_numbers_of_other_papers_name_both():
    for row in (row for row in load_spec().published if not row.read_in):
        own = row.method == "objmae"
        assert (row.citation == "vikstrom2022", row.quoted_in) == (own, None if own else "vikstrom2022")


def test_a_row_names_the_definition_of_a_metric_only_where_it_is_another_one():
    spec = load_spec()
    for row in spec.published:
        metrics = {metric for values in row.values.values() for metric in values}
        for name, definition in row.definitions.items():
            assert name in metrics
            assert definition != spec.metric(name).meaning


def test_known_test_sets_exist():
    spec = load_spec()
    for row in spec.published:
        for dataset, place in row.test_set.items():
            protocol, _, source = place.partition("/")
            assert source in spec.dataset(f"{dataset}@{protocol}").sources


def test_every_number_was_read_somewhere_that_is_named():
    """In a table of the objmae paper, or in a page, table or file of the work that is cited: never in what others say of it."""
    for row in load_spec().published:
        in_the_paper = "vikstrom2022" in (row.citation, row.quoted_in)
        assert in_the_paper != bool(row.read_in), row
        assert in_the_paper == (row.table in {"1", "2", "3", "4", "5", "6", "generalisation"}), row


@pytest.mark.parametrize(
    ("label", "dataset", "ari_fg", "mbo"),
    [
        ("ItrSA L=2", "clevrtex", (76.3, 0.4), (48.5, 0.1)),
        ("AKOrN attn L=2, up-tiled x4", "clevrtex_camo", (74.5, 1.2), (45.6, 3.4)),
        ("AKOrN large, up-tiled x4", "clevrtex", (88.5, 0.9), (59.7, 0.9)),
        ("AKOrN large, up-tiled x4", "clevrtex_ood", (87.7, 0.5), (60.8, 0.6)),
        ("SLATE-DINO", "clevrtex_ood", (87.4, 1.7), (44.5, 2.2)),
        ("DIAS", "clevrtex_ood", (79.1, 0.3), (63.3, 0.1)),
        ("MetaSlot Dfz", "clevrtex_ood", (77.6, 1.1), (64.2, 0.6)),
    ],
)
def test_rows_since_the_paper(label, dataset, ari_fg, mbo):
    (row,) = (row for row in load_spec().published if row.label == label)
    assert (row.values[dataset]["ari_fg"], row.values[dataset]["mbo"]) == (ari_fg, mbo)


def test_the_dino_based_family_stands_with_ood_alone_and_says_what_differs():
    for row in rows("genera1z"):
        assert set(row.values) == {"clevrtex_ood"}
        assert not row.test_set
        assert row.conditions == (
            "pretrained: DINOv2 ViT-S/14",
            "trained on all 50,000 scenes of the full set, official val and test included",
            "scored at 256x256",
        )
        assert row.selection == "best checkpoint by scores on the same scenes"
        assert row.definitions == {"mbo": "background included"}
