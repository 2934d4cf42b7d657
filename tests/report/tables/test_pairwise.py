"""Two methods against each other, from records and their values per image."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from helpers.synthetic import external, generated, record, scored, scores

from objbench.errors import ObjbenchError, RequestError
from objbench.records import find_records, read_record
from objbench.report.rows.collect import collect
from objbench.report.rows.comparability import conflicts
from objbench.report.rows.measured import Selection
from objbench.report.tables.pairwise import (
    _limits,
    _same,
    compare_methods,
    pairwise_csv,
    pairwise_json,
    pairwise_table,
)
from objbench.report.tables.plan import dataset_plans
from objbench.report.write.export import as_csv
from objbench.report.write.text import text
from objbench.spec.load import load_spec
from objbench.train.artifacts import write_per_image

METRICS = list(load_spec().columns())
KEYS = np.array([f"{index:08d}" for index in range(40)])


def keep(runs, seed, method, ari, mse=None, keys=KEYS, key="test", make=record, **changes):
    """A run of `method` with these values per image, and the record that fits them."""
    values = {"ari": np.asarray(ari, float)} | ({} if mse is None else {"mse": np.asarray(mse, float)})
    means = {name: {"mean": float(np.nanmean(v)), "std": 0.1} for name, v in values.items()}
    measured = type(scores()).model_validate({"n_images": len(keys), **means})
    on = changes.pop("on", {key: scored()})
    item = make(seed, method, metrics={key: measured}, on=on, **changes)
    folder = runs / f"{method}-{len(list(runs.glob('*')))}" / f"seed-{seed}"
    folder.mkdir(parents=True)
    item.save(folder)
    write_per_image(folder, {key: values | {"keys": keys}})
    return folder


def rows(runs):
    return collect(load_spec(), runs, Selection()).rows


def two(runs, gap=0.1):
    """objmae with two seeds, color_kmeans with one, on the same images in another order."""
    rng = np.random.default_rng(0)
    difficulty = rng.uniform(0.2, 0.8, 40)
    order = rng.permutation(40)
    keep(runs, 0, "objmae", difficulty + gap, mse=np.full(40, 0.001))
    keep(runs, 1, "objmae", difficulty + gap / 2, mse=np.full(40, 0.003))
    keep(runs, 0, "color_kmeans", difficulty[order], mse=np.full(40, 0.004), keys=KEYS[order])


def test_a_metric_that_is_infinite_for_an_image_is_left_out_and_the_others_are_compared(tmp_path):
    keep(tmp_path, 0, "objmae", np.linspace(0.2, 0.8, 40), mse=np.append(np.full(39, 0.001), np.inf))
    keep(tmp_path, 0, "color_kmeans", np.linspace(0.1, 0.7, 40), mse=np.full(40, 0.004))
    for names in (["objmae", "color_kmeans"], ["color_kmeans", "objmae"]):
        ((found,), left_out) = compare_methods(rows(tmp_path), names, (), METRICS)
        assert list(found.by_metric) == ["ari"]
        assert [line.partition(": mse: ")[2] for line in left_out] == ["it is infinite for some images"]


def test_masks_that_change_what_a_metric_means_are_not_compared_with_others(tmp_path):
    keep(tmp_path, 0, "monet", np.full(40, 0.5))
    folder = keep(tmp_path, 0, "dti_sprites", np.full(40, 0.5))
    made = read_record(folder)
    reassigned = {"test": made.metrics["test"].model_copy(update={"masks": "reassigned"})}
    made.model_copy(update={"metrics": reassigned}).save(folder)
    with pytest.raises(ObjbenchError, match="all pixels, predicted background reassigned first"):
        compare_methods(rows(tmp_path), ["monet", "dti_sprites (reassigned)"], ["ari"])


def test_metrics_that_cannot_be_compared_are_named_with_the_reason(tmp_path):
    keep(tmp_path, 0, "objmae", np.linspace(0.2, 0.8, 40), mse=np.full(40, 0.001))
    keep(tmp_path, 1, "objmae", np.linspace(0.3, 0.8, 40))
    keep(tmp_path, 0, "monet", np.linspace(0.1, 0.7, 40), mse=np.full(40, 0.004))
    keep(tmp_path, 0, "grid", np.linspace(0.0, 0.5, 40))
    asked = ["ari", "mse", "dice", "hours"]
    ((found,), left_out) = compare_methods(rows(tmp_path), ["objmae", "monet"], asked)
    assert list(found.by_metric) == ["ari"]
    assert [line.partition("(emorl): ")[2] for line in left_out] == [
        "mse: seed 1 of objmae has no values per image", "dice: neither has it", "hours: it is no score of images",
    ]  # fmt: skip
    _, left_out = compare_methods(rows(tmp_path), ["objmae", "monet"], (), METRICS)
    assert [line.partition("(emorl): ")[2] for line in left_out] == [
        "mse: seed 1 of objmae has no values per image"
    ]
    with pytest.raises(ObjbenchError, match=r"cannot be compared:\n.*: mse: Grid has none$"):
        compare_methods(rows(tmp_path), ["monet", "grid"], ["mse"])
    ((found,), left_out) = compare_methods(rows(tmp_path), ["monet", "grid"], (), METRICS)
    assert (list(found.by_metric), left_out) == (["ari"], [])


def test_images_are_paired_by_their_keys(tmp_path):
    two(tmp_path)
    ((found,), refused) = compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)
    assert refused == []
    ari = found.by_metric["ari"]
    assert ari.difference == pytest.approx(0.075)
    assert (ari.ahead, ari.n_images) == ((1.0, 0.0), 40)


def test_the_table_says_who_is_ahead_in_the_metric_s_own_direction(tmp_path):
    two(tmp_path)
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)
    table = pairwise_table(found, load_spec())
    assert table.title == "Tetrominoes, emorl, test: objmae (2 seeds) against Colour k-means (1 seed)"
    assert table.full_headings() == [
        "metric", "objmae", "Colour k-means", "difference", "95 % interval", "ahead objmae", "ahead Colour k-means",
        "images",
    ]  # fmt: skip
    cells = {line.label.text: [cell.text for cell in line.cells] for line in table.lines}
    assert cells["ARI"][2] == "+7.5"
    low, high = found.by_metric["ari"].interval
    assert cells["ARI"][3] == f"[{100 * low:.1f}, {100 * high:.1f}]"
    assert cells["ARI"][4:] == ["100", "0", "40"]
    assert cells["MSE"][:3] == ["0.00200", "0.00400", "-0.00200"]
    assert cells["MSE"][4:] == ["100", "0", "40"]
    assert "Colour k-means: one seed, so the interval says nothing of how its seeds differ" in text(table)


def test_a_difference_of_zero_has_no_sign_and_one_image_no_interval(tmp_path):
    for method in ("objmae", "monet"):
        keep(tmp_path, 0, method, [0.5], keys=KEYS[:1])
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "monet"], ["ari"])
    table = pairwise_table(found, load_spec())
    assert [cell.text for cell in table.lines[0].cells] == ["50.0", "50.0", "0.0", "-", "0", "0", "1"]
    assert "one seed" not in text(table)


def test_a_note_of_one_method_is_told_with_its_name(tmp_path):
    two(tmp_path)
    folder = keep(tmp_path, 0, "monet", np.full(40, 0.5))
    made = read_record(folder)
    crowded = {"test": made.metrics["test"].model_copy(update={"crowded": 3})}
    made.model_copy(update={"metrics": crowded}).save(folder)
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "monet"], ["ari"])
    (note,) = set(found.second.notes) - set(found.first.notes)
    assert [line for line in pairwise_table(found, load_spec()).explained if note in line] == [
        f"MONet: {note}"
    ]


def test_two_readings_of_the_same_runs_are_paired_by_seed(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(3):
        soft = rng.uniform(0.2, 0.8, 40) - 0.2 * seed
        folder = keep(tmp_path, seed, "spair", soft)
        made = read_record(folder)
        other = made.metrics["test"].model_copy(update={"masks": "composited"})
        value = other.values["ari"].model_copy(update={"mean": other.values["ari"].mean - 0.01})
        other = type(other).model_validate({**other.model_dump(), "ari": value.model_dump()})
        key = "test+masks=composited"
        made.model_copy(
            update={
                "metrics": made.metrics | {key: other},
                "scored": made.scored | {key: made.scored["test"]},
            }
        ).save(folder)
        write_per_image(
            folder, {"test": {"ari": soft, "keys": KEYS}, key: {"ari": soft - 0.01, "keys": KEYS}}
        )
    names = ["spair", "spair (composited)"]
    ((found,), _) = compare_methods(rows(tmp_path), names, ["ari"])
    assert found.by_metric["ari"].interval == pytest.approx((0.01, 0.01))
    assert "both are readings of the same trainings, whose seeds are paired" in text(
        pairwise_table(found, load_spec())
    )
    lines = list(csv.DictReader(io.StringIO(as_csv(dataset_plans(rows(tmp_path), (), load_spec())))))
    means = {
        (line["method"], line["masks"]): float(line["value"])
        for line in lines
        if (line["seed"], line["metric"]) == ("mean", "ari")
    }
    assert means["spair", ""] - means["spair", "composited"] == pytest.approx(0.01)


def test_selected_seeds_are_compared_with_the_same_selection_only(tmp_path):
    for seed in range(3):
        keep(tmp_path, seed, "objmae", np.linspace(0.2, 0.8, 40) + seed / 100)
        keep(tmp_path, seed, "monet", np.linspace(0.1, 0.8, 40) + seed / 100)
    keep(tmp_path, 0, "color_kmeans", np.linspace(0.1, 0.7, 40))
    chosen = collect(load_spec(), tmp_path, Selection(2, "ari")).rows
    ((found,), _) = compare_methods(chosen, ["objmae", "monet"], ["ari"])
    assert found.by_metric["ari"].n_images == 40
    with pytest.raises(ObjbenchError, match="not of selected seeds, not best 2 of 3 seeds by ARI"):
        compare_methods(chosen, ["objmae", "color_kmeans"], ["ari"])
    measured = [row for row in chosen if not row.published]
    assert any("best 2 of 3 seeds" in line for line in conflicts(measured, ["ari"]))


def test_nobody_is_ahead_in_a_metric_that_no_layer_describes(tmp_path):
    two(tmp_path)
    spec = load_spec()
    spec = spec.model_copy(update={"metrics": {name: m for name, m in spec.metrics.items() if name != "ari"}})
    measured = collect(spec, tmp_path, Selection()).rows
    ((found,), _) = compare_methods(measured, ["objmae", "color_kmeans"], ["ari", "mse"])
    cells = {
        line.label.text: [cell.text for cell in line.cells]
        for line in pairwise_table(found, load_spec()).lines
    }
    assert cells["ari"][2:] == ["+0.07500", cells["ari"][3], "-", "-", "40"]
    (line, _) = json.loads(pairwise_json([found]))
    assert (line["metric"], line["ahead_first"], line["ahead_second"]) == ("ari", None, None)


def test_exchanged_methods_give_the_negative(tmp_path):
    two(tmp_path)
    ((found,), _) = compare_methods(rows(tmp_path), ["color_kmeans", "objmae"], (), METRICS)
    assert found.by_metric["ari"].difference == pytest.approx(-0.075)
    assert found.by_metric["ari"].ahead == (0.0, 1.0)


def test_programs_get_fractions(tmp_path):
    two(tmp_path)
    pairs, _ = compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)
    first = json.loads(pairwise_json(pairs))[0]
    assert (first["first"], first["seeds_first"], first["metric"]) == ("objmae", [0, 1], "ari")
    assert first["low"] < first["difference"] < first["high"]
    line = next(csv.DictReader(io.StringIO(pairwise_csv(pairs))))
    assert float(line["difference"]) == first["difference"]
    assert line["ahead_first"] == "1.0"


def test_programs_are_told_what_is_not_known_of_predictions_made_outside(tmp_path):
    keep(tmp_path, 0, "theirs", np.full(40, 0.5), make=external)
    keep(tmp_path, 0, "monet", np.full(40, 0.4))
    pairs, _ = compare_methods(rows(tmp_path), ["theirs", "monet"], ["ari"])
    (line,) = json.loads(pairwise_json(pairs))
    assert [line[f"{name}_first"] for name in ("config_hash", "trained_on", "n_train", "slots")] == [None] * 4
    assert [line[f"{name}_second"] for name in ("config_hash", "n_train", "slots")] == [
        "monet-config",
        59_680,
        4,
    ]


def test_programs_are_told_what_numbers_stand_for(tmp_path):
    two(tmp_path)
    keep(tmp_path, 1, "color_kmeans", np.full(40, 0.1))
    best = collect(load_spec(), tmp_path, Selection.parse("top:1:ari", load_spec())).rows
    pairs, _ = compare_methods(best, ["objmae", "color_kmeans"], (), METRICS)
    line = next(csv.DictReader(io.StringIO(pairwise_csv(pairs))))
    assert line["selection_first"] == "best 1 of 2 seeds by ARI on the test split of Tetrominoes"
    assert line["seeds_first"] == line["seeds_second"] == "0"
    assert (line["config_hash_first"], line["n_train_first"]) == ("objmae-config", "59680")
    assert "best 1 of 2 seeds" in line["notes_first"]


def test_overrides_may_be_left_out_where_there_is_one_choice_of_them(tmp_path):
    keep(tmp_path, 0, "objmae", np.full(40, 0.5), overrides={"recipe.steps": 300})
    keep(tmp_path, 0, "monet", np.full(40, 0.4))
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)
    assert found.first.who.overrides == {"recipe.steps": 300}
    keep(tmp_path, 0, "objmae", np.full(40, 0.6), overrides={"recipe.steps": 600}, config_hash="b")
    with pytest.raises(
        RequestError, match=r"--compare objmae: there are several, name one of them: objmae\+"
    ):
        compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["objmae", "color_kmean"],
            "unknown method with records 'color_kmean': did you mean 'color_kmeans'?",
        ),
        (["objmae", "objmae"], "--compare objmae --compare objmae: name two different methods"),
    ],
)
def test_wrong_names_are_refused(tmp_path, names, message):
    two(tmp_path)
    with pytest.raises(RequestError) as refused:
        compare_methods(rows(tmp_path), names, METRICS)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"on": {"test": scored(fingerprint="another")}},
            "fingerprint another is not tetrominoes-test-fingerprint",
        ),
        ({"on": {"test": scored(split="val")}}, "split val is not test"),
        ({"on": {"test": scored(definition="deepmind")}}, "definition of metrics deepmind is not clevrtex"),
        ({"on": {"test": scored("clevr6")}}, "they were scored on no dataset in common"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(tmp_path, changes, reason):
    keep(tmp_path, 0, "objmae", np.full(40, 0.5))
    keep(tmp_path, 0, "monet", np.full(40, 0.4), **changes)
    with pytest.raises(ObjbenchError) as refused:
        compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)
    assert str(refused.value).startswith("objmae and monet cannot be compared:\n  ")
    assert reason in str(refused.value)


def test_another_dataset_that_cannot_be_compared_is_told(tmp_path):
    two(tmp_path)
    on = {"dataset": "clevr6"}
    keep(tmp_path, 0, "objmae", np.full(40, 0.5), on={"test": scored("clevr6")}, **on)
    keep(tmp_path, 0, "color_kmeans", np.full(40, 0.5), on={"test": scored("clevr6", height=64)}, **on)
    pairs, refused = compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)
    assert [pair.first.dataset for pair in pairs] == ["tetrominoes"]
    assert refused == ["clevr6: color_kmeans (emorl) against objmae (emorl): height 64 is not 35"]


def test_other_images_are_refused(tmp_path):
    keep(tmp_path, 0, "objmae", np.full(40, 0.5))
    keep(tmp_path, 0, "monet", np.full(39, 0.5), keys=KEYS[1:], on={"test": scored()})
    with pytest.raises(ObjbenchError, match=r"cannot be compared:\n.*number of images 39 is not 40"):
        compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)
    keep(tmp_path, 0, "iodine", np.full(40, 0.5), keys=np.char.add("1", KEYS))
    with pytest.raises(ObjbenchError, match=r"per_image\.npz names other images of tetrominoes"):
        compare_methods(rows(tmp_path), ["objmae", "iodine"], METRICS)


def test_seeds_of_other_images_are_refused(tmp_path):
    keep(tmp_path, 0, "objmae", np.full(40, 0.5))
    keep(tmp_path, 1, "objmae", np.full(40, 0.5), keys=np.char.add("1", KEYS))
    keep(tmp_path, 0, "monet", np.full(40, 0.5))
    with pytest.raises(ObjbenchError, match=r"objmae .*: the seeds were scored on different images of tetr"):
        compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)


def test_missing_values_per_image_are_named(tmp_path):
    two(tmp_path)
    path = next(tmp_path.glob("color*/seed-0")) / "per_image.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ObjbenchError, match=rf"{path}: damaged \(.*\); remove it and run objbench evaluate"):
        compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)
    path.unlink()
    with pytest.raises(ObjbenchError, match=f"{path}: no values per image of 'test', which --compare needs"):
        compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)


def test_values_per_image_of_another_record_are_refused(tmp_path):
    two(tmp_path)
    folder = next(tmp_path.glob("color*/seed-0"))
    write_per_image(folder, {"test": {"ari": np.full(40, 0.1), "keys": KEYS}})
    with pytest.raises(ObjbenchError, match=r"per_image\.npz: ari is not that of the record beside it \(0\."):
        compare_methods(rows(tmp_path), ["objmae", "color_kmeans"], (), METRICS)


@pytest.mark.parametrize(
    ("values", "mean", "same"),
    [
        ([0.25, 0.75], 0.5 + 9e-7, True),
        ([0.25, 0.75], 0.5 + 2e-6, False),
        ([0.25, 0.75, np.nan], 0.5, True),
        ([1e6, 3e6], 2e6 - 1.5, True),
        ([1e6, 3e6], 2e6 - 2.5, False),
        ([1.0, np.inf], np.inf, True),
        ([np.nan, np.nan], np.nan, True),
        ([np.nan, np.nan], 0.5, False),
    ],
)
def test_values_are_those_of_a_record_if_their_mean_is_its_mean_up_to_rounding(values, mean, same):
    assert _same(np.array(values), mean) is same


def test_a_metric_that_is_undefined_everywhere_is_left_out(tmp_path):
    keep(tmp_path, 0, "objmae", np.full(40, 0.5), mse=np.full(40, 0.1))
    folder = keep(tmp_path, 0, "monet", np.full(40, 0.5))
    nothing = np.full(40, np.nan)
    write_per_image(folder, {"test": {"ari": np.full(40, 0.5), "mse": nothing, "keys": KEYS}})
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)
    assert list(found.by_metric) == ["ari"]


def test_generated_data_is_told_of_both(tmp_path):
    on = generated().scored
    for method in ("objmae", "monet"):
        keep(tmp_path, 0, method, np.full(40, 0.5), on=on, source="generated", n_train=60_000)
    assert len(find_records(tmp_path).records) == 2
    ((found,), _) = compare_methods(rows(tmp_path), ["objmae", "monet"], METRICS)
    assert "both: generated data, not the upstream release (generator version 1, seed 0)" in text(
        pairwise_table(found, load_spec())
    )


@pytest.mark.parametrize(
    ("interval", "shown"),
    [
        ((-0.000208, 0.052), "[-0.02, 5.2]"),
        ((0.000371, 0.051), "[0.04, 5.1]"),
        ((0.0, 0.0004), "[0.0, 0.04]"),
        ((-0.0005, 0.0006), "[-0.05, 0.1]"),
        ((-3e-9, 1.0), "[-3e-07, 100.0]"),
    ],
)
def test_a_limit_shows_on_which_side_of_zero_it_is(interval, shown):
    assert _limits(load_spec().metric("ari_fg"), interval) == shown
