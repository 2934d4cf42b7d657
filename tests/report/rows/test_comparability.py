from __future__ import annotations

import re
from dataclasses import replace

import pytest
from helpers.rows import measured, published
from helpers.synthetic import external, generated, record, scored, scores

from objbench.report.rows.comparability import best, comparable, conflicts, differences
from objbench.report.rows.published import published_rows
from objbench.scores import Scores
from objbench.spec.load import load_spec
from objbench.spec.published import PublishedRow


def test_equal_rows_have_no_conflict():
    rows = measured(record(), record(method="color_kmeans"))
    assert conflicts([*rows, published("objmae")], ["ari_fg", "ari", "miou"]) == []


def test_another_source_is_a_conflict():
    (line,) = conflicts(measured(record(), generated(method="color_kmeans")), ["ari_fg"])
    assert line.startswith("tetrominoes: color_kmeans (generated) against objmae (emorl): ")
    assert "source generated is not emorl" in line


def test_a_conflict_names_each_row_as_one_types_it():
    changed = {"overrides": {"model.width": 32}, "config_hash": "narrow"}
    (line,) = conflicts(measured(record(), generated(variant="demo", **changed)), ["ari_fg"])
    assert re.match(r"tetrominoes: objmae:demo\+[0-9a-f]{6} \(generated\) against objmae \(emorl\): ", line)


def test_published_rows_of_no_or_another_protocol_are_conflicts():
    rows = measured(record())
    assert (
        "protocol 'not stated' is not 'standard/emorl'"
        in conflicts([*rows, published("iodine")], ["ari_fg"])[0]
    )
    assert len(conflicts([*measured(generated()), published("objmae")], ["ari_fg"])) == 1


def test_a_smaller_training_set_conflicts_with_published_numbers():
    (line,) = conflicts([*measured(record(n_train=1000)), published("objmae")], ["ari_fg"])
    assert line.endswith(": trained on 1,000 scenes, the protocol has 59,680")


def test_in_whatever_order_they_come_measured_and_published_rows_are_compared_by_what_was_measured():
    (half,), paper = measured(record(n_train=1000)), published("objmae")
    assert conflicts([paper, half], ["ari_fg"]) == conflicts([half, paper], ["ari_fg"])
    assert not comparable(half, paper, "ari_fg")
    assert not comparable(paper, half, "ari_fg")
    whole = measured(record())[0]
    assert comparable(whole, paper, "ari_fg")
    assert comparable(paper, whole, "ari_fg")


def test_a_metric_that_only_one_row_has_and_what_runs_cost_are_no_conflict():
    values = scores().model_dump()
    without = Scores.model_validate({name: value for name, value in values.items() if name != "mse"})
    rows = measured(record(), record(method="monet", metrics={"test": without}))
    assert {"mse" in row.values for row in rows} == {True, False}
    assert conflicts(rows, ["mse"]) == conflicts(rows[::-1], ["mse"]) == []
    priced = next(row for row in published_rows(load_spec()) if "hours" in row.values)
    assert conflicts([priced, priced], ["hours"]) == []


def test_two_definitions_of_miou_conflict():
    rows = [published("space", "clevrtex"), published("ast", "clevrtex")]
    (line,) = conflicts(rows, ["miou"])
    assert "miou is 'background included', not 'very likely background excluded'" in line


def test_training_size_does_not_set_apart_what_does_not_train():
    rows = measured(record(), record(method="one_slot", n_train=10))
    assert rows[1].notes == ()
    assert conflicts(rows, ["ari_fg"]) == []


def test_another_training_set_conflicts_with_measured_and_with_published_numbers():
    elsewhere = record(source="generated", method="monet")  # scored on the release
    (line,) = conflicts(measured(record(), elsewhere), ["ari_fg"])
    assert "trained on tetrominoes@standard/" in line
    (line,) = conflicts([*measured(elsewhere), published("objmae")], ["ari_fg"])
    assert line.endswith(": trained on tetrominoes@standard/generated")


@pytest.mark.parametrize("dataset", ["clevrtex", "clevrtex_ood", "clevrtex_camo"])
def test_numbers_on_sets_that_are_only_tested_on_are_compared_if_the_set_before_them_was_trained_on(dataset):
    where = {"source": "official", "height": 128, "width": 128}
    of_clevrtex = {"dataset": "clevrtex", "source": "official", "n_train": 40_000}
    key = "test" if dataset == "clevrtex" else dataset
    on = {"test": scored("clevrtex", **where), key: scored(dataset, **where)}
    metrics = dict.fromkeys(on, scores())
    rows = measured(
        record(0, **of_clevrtex, on=on, metrics=metrics),
        record(0, "monet", **of_clevrtex | {"n_train": 20_000}, on=on, metrics=metrics),
        record(0, "iodine", dataset="clevr6", source="official", on=on, metrics=metrics),
        external(0, on=on, metrics=metrics, trained_on="clevrtex@standard/official"),
    )
    here = {row.who.method: row for row in rows if row.dataset == dataset}
    one, half, other, theirs = (here[name] for name in ("objmae", "monet", "iodine", "theirs"))
    paper = published("akorn", dataset)
    assert differences(paper, one, ["ari_fg"]) == differences(paper, theirs, ["ari_fg"]) == []
    assert differences(paper, half, ["ari_fg"]) == ["trained on 20,000 scenes, the protocol has 40,000"]
    assert differences(paper, other, ["ari_fg"]) == ["trained on clevr6@standard/official"]


def test_another_definition_conflicts_with_published_numbers():
    rows = measured(record(on={"test": scored(definition="deepmind")}))
    (line,) = conflicts([*rows, published("objmae")], ["ari_fg"])
    assert "ari_fg is 'foreground pixels only', not 'foreground pixels only, as deepmind computes it'" in line


def test_another_number_of_images_is_a_conflict():
    fewer = Scores.model_validate(scores().model_dump() | {"n_images": 319})
    (line,) = conflicts(measured(record(), record(method="monet", metrics={"test": fewer})), ["ari_fg"])
    assert "number of images" in line


def test_definitions_that_are_not_stated_are_not_the_same():
    row = replace(published("objmae"), definitions={"ari_fg": "not stated"})
    (line,) = conflicts([row, row], ["ari_fg"])
    assert line.endswith("ari_fg is 'not stated', not 'not stated'")
    assert conflicts([row, row], ["mse"]) == []


def test_masks_that_change_a_definition_are_marked_beside_others_and_not_beside_the_same_definition():
    key = "test+masks=reassigned"
    metrics = {"test": scores(), key: scores().model_copy(update={"masks": "reassigned"})}
    plain, reassigned = measured(
        record(method="dti_sprites", metrics=metrics, on={"test": scored(), key: scored()})
    )
    paper = published("dti_sprites")
    words = "foreground pixels only, predicted background reassigned first"
    assert reassigned.definitions["ari_fg"] == paper.definitions["ari_fg"] == words
    assert any(words in reason for reason in differences(plain, reassigned, ["ari_fg"]))
    assert any(words in reason for reason in differences(paper, plain, ["ari_fg"]))
    assert not any("ari_fg" in reason for reason in differences(paper, reassigned, ["ari_fg"]))


CONDITIONS = {
    "pretrained": ("DINOv2 ViT-S/14", "pretrained: DINOv2 ViT-S/14"),
    "clusters": ("true number", "told the true number of segments of each image"),
    "train_set": ("more scenes", "trained on more scenes"),
    "resolution": ("256x256", "scored at 256x256"),
    "average": ("objects", "averaged over objects, not over images"),
}


def published_as(*blocks):
    """Rows that are published on the same protocol, and differ in what the blocks say."""
    same = {
        "table": "x", "method": "m", "citation": "karazija2021", "protocol": "same", "std": "sample",
        "values": {"clevrtex": {"ari_fg": [50, 1]}},
    }  # fmt: skip
    found = [PublishedRow(**same | block) for block in blocks]
    return published_rows(load_spec().model_copy(update={"published": found}))


@pytest.mark.parametrize(("name", "value", "text"), [(name, *pair) for name, pair in CONDITIONS.items()])
def test_published_rows_of_other_conditions_are_not_compared(name, value, text):
    plain, special, fixed = published_as({}, {name: value, "method": "n"}, {"clusters": 11, "method": "o"})
    assert text in special.notes
    assert differences(special, plain, ["ari_fg"]) == [text]
    assert differences(plain, special, ["ari_fg"]) == [f"not {text}"]
    assert differences(fixed, plain, ["ari_fg"]) == []
    assert "always 11 segments" in fixed.notes
    assert comparable(special, replace(special), "ari_fg")


def test_tables_of_a_paper_that_agree_become_one_row_and_others_do_not():
    again = {"table": "y", "values": {"clevrtex": {"ari_fg": [50, 1], "miou": [30, None]}}}
    (row,) = published_as({}, again)
    assert (row.label, row.tables) == ("m", ("x", "y"))
    assert {name: (value.mean, value.std) for name, value in row.values.items()} == {
        "ari_fg": (0.5, 0.01), "miou": (0.3, None),
    }  # fmt: skip
    assert len(published_as({}, {"values": {"clevrtex": {"ari_fg": [50.1, 1]}}})) == 2
    assert len(published_as({}, {"definitions": {"ari_fg": "of another kind"}})) == 2
    assert len(published_as({}, {"values": {"clevrtex": {"hours": [5, None]}}})) == 2


def test_published_rows_are_of_all_seeds_only_if_they_say_no_more_than_that():
    plain, told, checkpoint = published_as(
        {}, {"selection": "all 10 seeds"}, {"selection": "all 10 seeds, best checkpoint"}
    )
    assert "all 10 seeds" in told.notes
    assert comparable(told, plain, "ari_fg")
    (reason,) = differences(checkpoint, plain, ["ari_fg"])
    assert reason == "all 10 seeds, best checkpoint, not of selected seeds"


def test_trainings_guided_by_other_val_splits_conflict():
    one, other = generated(val_fingerprint="a" * 64), generated(method="spair", val_fingerprint="b" * 64)
    (line,) = conflicts(measured(one, other), ["ari_fg"])
    assert f"guided by a val split of fingerprint {'a' * 12}, not {'b' * 12}" in line
    assert not comparable(*measured(one, other), "ari_fg")
    assert comparable(*measured(one, generated(method="monet")), "ari_fg")  # guided, beside one that is not


def test_trainings_on_another_split_of_the_same_size_conflict():
    rows = measured(generated(), generated(method="slot_attention", fingerprint="0123456789abcdef"))
    (line,) = conflicts(rows, ["ari_fg"])
    assert "trained on a split of fingerprint train-finger, not 0123456789ab" in line
    assert not comparable(*rows, "ari_fg")
    assert best(rows, "ari_fg", lambda mean: mean) == set()


def test_what_learns_nothing_is_compared_with_published_numbers():
    assert comparable(measured(record(method="grid"))[0], published("objmae"), "ari_fg")


def test_what_learns_nothing_does_not_depend_on_the_training_split():
    rows = measured(generated(), generated(method="one_slot", steps=0, fingerprint="another"))
    assert conflicts(rows, ["ari_fg"]) == []


def test_predictions_made_outside_are_not_compared_with_published_numbers():
    run, theirs = measured(record(), external())
    assert conflicts([run, theirs], ["ari_fg"]) == []
    assert differences(published("objmae"), run, ["ari_fg"]) == []
    assert differences(published("objmae"), theirs, ["ari_fg"]) == ["trained on what is not known"]


def test_predictions_said_to_be_trained_on_the_same_set_are_compared_with_published_numbers():
    run, theirs = measured(record(), external(trained_on="tetrominoes@standard/emorl"))
    paper = published("objmae")
    assert conflicts([run, theirs, paper], ["ari_fg", "ari", "miou"]) == []
    assert comparable(paper, theirs, "ari_fg")
    assert comparable(run, theirs, "ari_fg")


def test_what_is_said_of_predictions_is_said_of_the_whole_split():
    half, theirs = measured(record(n_train=1000), external(trained_on="tetrominoes@standard/emorl"))
    note = "trained on 1,000 scenes, the protocol has 59,680"
    assert differences(half, theirs, ["ari_fg"]) == differences(theirs, half, ["ari_fg"]) == [note]
    assert differences(half, measured(external())[0], ["ari_fg"]) == []


def test_predictions_said_to_be_trained_elsewhere_are_compared_with_nothing_trained_here():
    run, theirs, trivial = measured(
        record(), record(method="grid"), external(trained_on="tetrominoes@standard/generated")
    )
    place = "tetrominoes@standard/generated"
    assert differences(published("objmae"), theirs, ["ari_fg"]) == [f"trained on {place}"]
    assert differences(theirs, run, ["ari_fg"]) == [f"trained on {place}, not tetrominoes@standard/emorl"]
    assert differences(trivial, theirs, ["ari_fg"]) == []
