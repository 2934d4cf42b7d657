from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import GENERATED, external, generated, record, scored, scores

from objbench.errors import RequestError
from objbench.records import FoundRecord
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.row import Origin
from objbench.scores import Scores
from objbench.spec.load import load_spec


def rows_of(*records, select="all"):
    found = [FoundRecord(Path(f"{i}/result.json"), item) for i, item in enumerate(records)]
    return measured_rows(found, load_spec(), Selection.parse(select, load_spec()))


def test_seeds_become_one_row_with_sample_std():
    records = [record(seed, metrics={"test": scores(ari_fg=x)}) for seed, x in enumerate((0.90, 0.92, 0.97))]
    (row,) = rows_of(*records).rows
    statistic = row.values["ari_fg"]
    assert row.n == 3
    assert statistic.mean == pytest.approx(0.93)
    assert statistic.std == pytest.approx(0.0360555, abs=1e-6)  # population std would be 0.0294
    assert statistic.seeds == {0: 0.90, 1: 0.92, 2: 0.97}


def test_one_seed_has_no_std():
    (row,) = rows_of(record()).rows
    assert row.values["ari_fg"].mean == 0.9
    assert row.values["ari_fg"].std is None


@pytest.mark.parametrize(
    "other",
    [
        record(1, protocol="paper", on={"test": scored(protocol="paper")}),
        generated(1),
        record(1, on={"test": scored(fingerprint="another")}),
        record(1, on={"test": scored(standard=False)}),
        record(1, on={"test": scored(definition="deepmind")}),
        record(1, on={"test": scored(split="val")}),
        record(1, fingerprint="another"),
        record(1, n_train=1000),
        record(1, method="color_kmeans"),
        record(1, variant="no_masking"),
        record(1, overrides={"recipe.steps": 300}),
        record(1, config_hash="another"),
        external(1, "objmae"),
    ],
)
def test_what_differs_in_more_than_the_seed_is_another_row(other):
    assert [row.n for row in rows_of(record(0), other).rows] == [1, 1]


def test_a_seed_that_comes_twice_counts_once_and_is_named():
    measured = rows_of(record(3), record(3, date="2024-06-01T00:00:00+00:00"))
    assert [row.n for row in measured.rows] == [1]
    assert measured.skipped == ["1/result.json: seed 3 of the same configuration as 0/result.json"]


def test_predictions_without_scores_of_the_whole_test_split_join_their_other_seeds():
    deepmind = {"test#deepmind": scored(definition="deepmind")}
    first = external(
        0, on=deepmind | {"test": scored()}, metrics=dict.fromkeys([*deepmind, "test"], scores())
    )
    others = [external(seed, on=deepmind, metrics=dict.fromkeys(deepmind, scores())) for seed in (1, 2)]
    for records in ([first, *others], [*others, first]):
        rows = rows_of(*records).rows
        assert {row.scored.definition: row.n for row in rows} == {"deepmind": 3, "clevrtex": 1}
    assert [row.n for row in rows_of(*others).rows] == [2]


def test_cost_comes_from_the_wall_clock_of_runs():
    (row,) = rows_of(record(0, wall_seconds=3600.0), record(1, wall_seconds=7200.0)).rows
    assert row.values["hours"].mean == 1.5
    assert row.values["iterations"].mean == 154_440
    (row,) = rows_of(external()).rows
    assert "hours" not in row.values


def test_trivial_methods_come_after_the_others():
    rows = rows_of(record(method="color_kmeans"), record(method="one_slot"), record()).rows
    assert [(row.who.method, row.who.trivial) for row in rows] == [
        ("objmae", False),
        ("one_slot", True),
        ("color_kmeans", True),
    ]


def clevrtex(seed, miou, ood_ari_fg):
    """A run on clevrtex, also tested on clevrtex_ood."""
    place = {"source": "official", "dataset": "clevrtex"}
    return record(
        seed,
        **place,
        metrics={"test": scores(miou=miou), "clevrtex_ood": scores(ari_fg=ood_ari_fg, miou=1 - miou)},
        on={"test": scored(**place), "clevrtex_ood": scored("clevrtex_ood", source="official")},
    )


def test_selection_is_made_on_the_training_dataset_and_carried_to_also_test():
    seeds = [clevrtex(seed, miou, seed / 10) for seed, miou in enumerate((0.2, 0.5, 0.1, 0.6, 0.4))]
    rows = {row.dataset: row for row in rows_of(*seeds, select="top:3:miou").rows}
    words = "best 3 of 5 seeds by mIoU on the test split of ClevrTex"
    assert set(rows["clevrtex"].values["miou"].seeds) == {1, 3, 4}
    assert rows["clevrtex_ood"].values["ari_fg"].seeds == {1: 0.1, 3: 0.3, 4: 0.4}
    assert {row.selection for row in rows.values()} == {words}


def test_errors_are_selected_from_below():
    seeds = [record(seed, metrics={"test": scores(mse=x)}) for seed, x in enumerate((0.3, 0.1, 0.2))]
    (row,) = rows_of(*seeds, select="top:1:mse").rows
    assert row.values["mse"].seeds == {1: 0.1}


@pytest.mark.parametrize("top", [2, 3])
def test_all_seeds_stay_where_there_are_no_more_than_asked_for(top):
    (row,) = rows_of(record(0), record(1), select=f"top:{top}:miou").rows
    assert (row.n, row.selection, row.selected) == (2, "all", False)


def test_where_there_is_nothing_to_select_by_all_seeds_stay_and_that_is_said():
    undefined = scores(miou=float("nan"))
    (row,) = rows_of(
        *(record(seed, metrics={"test": undefined}) for seed in range(2)), select="top:1:miou"
    ).rows
    assert (row.n, row.selection) == (2, "all seeds, there is no mIoU to select by")
    assert not row.selected


def test_a_seed_without_the_metric_is_not_selected():
    seeds = [
        record(seed, metrics={"test": scores(miou=x)}) for seed, x in enumerate((0.1, float("nan"), 0.3))
    ]
    (row,) = rows_of(*seeds, select="top:2:miou").rows
    assert set(row.values["ari"].seeds) == {0, 2}
    assert row.selection == "best 2 of 3 seeds by mIoU on the test split of Tetrominoes"


def test_metrics_mean_what_the_definition_makes_of_them():
    (row,) = rows_of(record(on={"test": scored(definition="deepmind")})).rows
    assert row.definitions["ari_fg"] == "foreground pixels only, as deepmind computes it"


def test_other_masks_change_the_meaning_of_metrics_of_masks_alone():
    key = "test+masks=reassigned"
    found = scores(mse_sum=4.5, count_accuracy=0.5, n_boxes=2.0, n_objects=3.0)
    both = {"test": found, key: found.model_copy(update={"masks": "reassigned"})}
    plain, other = rows_of(
        record(method="dti_sprites", metrics=both, on={"test": scored(), key: scored(definition="deepmind")})
    ).rows
    assert other.masks == "reassigned"
    by_masks = ", predicted background reassigned first"
    suffix = {name: other.definitions[name].removeprefix(text) for name, text in plain.definitions.items()}
    of_masks = dict.fromkeys(
        ("ari", "ari_fg", "miou", "miou_fg", "count_accuracy"), f"{by_masks}, as deepmind computes it"
    )
    of_reconstruction = dict.fromkeys(("mse", "mse_sum"), ", as deepmind computes it")
    assert suffix == of_masks | of_reconstruction | {"n_boxes": "", "n_objects": ""}


def test_a_row_says_where_the_values_of_each_seed_stand():
    records = record(3), record(5)
    (row,) = rows_of(*records).rows
    assert row.origins == {3: Origin(Path("0"), records[0], "test"), 5: Origin(Path("1"), records[1], "test")}


@pytest.mark.parametrize(
    "text", ["best", "top", "top:3", "top:0:miou", "top:x:miou", "top:-1:miou", "top:3:"]
)
def test_what_is_no_selection_is_refused(text):
    with pytest.raises(RequestError, match=r"expected all or top:N:METRIC, such as top:3:miou"):
        Selection.parse(text, load_spec())


def test_an_unknown_metric_is_refused_with_the_closest():
    with pytest.raises(RequestError, match="unknown metric 'miuo': did you mean 'miou'"):
        Selection.parse("top:3:miuo", load_spec())


def test_provenance_is_that_of_the_scored_split():
    (row,) = rows_of(record(on={"test": scored(**GENERATED)})).rows
    assert row.scored == scored(**GENERATED)
    assert row.test_id is None
    assert row.trained.trained_on == "tetrominoes@standard/emorl"
    assert (row.trained.n_train, row.trained.standard_n_train) == (59_680, 59_680)
    (standard,) = rows_of(record()).rows
    assert standard.test_id == "standard/emorl"
    for other in ({"standard": False}, {"split": "val"}):
        assert rows_of(record(on={"test": scored(**other)})).rows[0].test_id is None


@pytest.mark.parametrize(
    ("place", "scenes"),
    [
        ("tetrominoes@standard/emorl", 60_000 - 320),
        ("tetrominoes@paper/emorl", 60_000),
        ("tetrominoes@standard/generated", 60_000),
        ("clevrtex@standard/official", 40_000),
        ("clevr6@first70k/deepmind", None),  # those of at most six objects
        ("clevr10@standard/emorl", None),  # as many as the file holds
        ("clevr10@standard/mine", None),
        ("clevr10@mine/emorl", None),
        ("mine@standard/emorl", None),
    ],
)
def test_the_standard_number_of_training_scenes_is_that_of_the_protocol_if_it_fixes_one(place, scenes):
    ref, source = place.split("/")
    dataset, protocol = ref.split("@")
    (row,) = rows_of(record(dataset=dataset, protocol=protocol, source=source)).rows
    assert row.trained.standard_n_train == scenes


def test_a_row_knows_its_dataset_its_protocol_and_the_intervals_of_its_seeds():
    with_interval = scores().model_dump() | {"ari": {"mean": 0.8, "std": 0.1, "interval": (0.7, 0.9)}}
    metrics = {"test": Scores.model_validate(with_interval)}
    usual, other = rows_of(
        record(2, metrics=metrics), record(2, protocol="paper", on={"test": scored(protocol="paper")})
    ).rows[::-1]
    assert (usual.dataset_ref, usual.dataset_slots) == ("tetrominoes", 4)
    assert (usual.values["ari"].intervals, usual.values["miou"].intervals) == ({2: (0.7, 0.9)}, {})
    assert other.dataset_ref == "tetrominoes@paper"


def test_what_an_external_row_was_trained_on_is_not_known():
    (row,) = rows_of(external()).rows
    assert (row.kind, row.trained, row.learned, row.trained_on) == ("external", None, None, None)


def test_predictions_trained_on_other_data_are_rows_of_their_own():
    said = [None, "tetrominoes@standard/emorl", "tetrominoes@standard/generated"]
    rows = rows_of(*(external(seed, trained_on=place) for seed, place in enumerate(said))).rows
    assert [(row.n, row.trained_on) for row in rows] == [(1, place) for place in said]


@pytest.mark.parametrize(
    ("metric", "mean"),
    [("miou", 37.0), ("miou", -0.01), ("ari", -3.0), ("ari_fg", 1.001), ("mse", -1e-3)],
)
def test_a_mean_that_its_metric_cannot_have_is_skipped_with_the_reason(metric, mean):
    measured = rows_of(record(0), record(1, metrics={"test": scores(**{metric: mean})}))
    assert [row.n for row in measured.rows] == [1]
    (line,) = measured.skipped
    assert line.startswith(f"1/result.json: {metric} of 'test' is {mean:g}, expected ")
    assert "again with --fresh" in line


def test_a_mean_may_be_rounded_beyond_its_bound_or_undefined():
    found = rows_of(
        record(0, metrics={"test": scores(ari_fg=1 + 1e-8)}),
        record(1, metrics={"test": scores(ari_fg=float("nan"))}),
    )
    assert not found.skipped


def test_a_further_test_set_that_lacks_a_chosen_seed_says_so():
    both = {"test": scores(), "clevrtex_ood": scores()}
    on = {"test": scored("clevrtex"), "clevrtex_ood": scored("clevrtex_ood")}
    seeds = [
        record(0, dataset="clevrtex", metrics=both, on=on),
        record(1, dataset="clevrtex", metrics={"test": scores(miou=0.9)}, on={"test": scored("clevrtex")}),
        record(2, dataset="clevrtex", metrics={"test": scores(miou=0.1)}, on={"test": scored("clevrtex")}),
    ]
    selections = {row.dataset: row.selection for row in rows_of(*seeds, select="top:2:miou").rows}
    assert selections["clevrtex"].endswith("of ClevrTex")
    assert selections["clevrtex_ood"].endswith("; 1 of them scored here")
