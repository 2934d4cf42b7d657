from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.rows import measured, published
from helpers.synthetic import GENERATED, external, generated, record, scored, scores

from objbench.report.rows.notes import cell_notes
from objbench.scores import Scores


def test_a_standard_row_needs_no_note():
    (row,) = measured(record())
    assert row.notes == ()


@pytest.mark.parametrize(
    ("changed", "note"),
    [
        (generated(), "generated data, not the upstream release (generator version 1, seed 0)"),
        (
            generated(
                on={"test": scored(**{**GENERATED, "generator": {"version": 2, "seed": 0, "stand_in": 1}})}
            ),
            "generated data, a stand-in for the upstream release, not a copy of it (generator version 2, seed 0)",
        ),
        (
            record(protocol="aligned", on={"test": scored(protocol="aligned")}),
            "protocol aligned, not the default",
        ),
        (record(on={"test": scored(standard=False)}), "not the protocol's standard test split (320 images)"),
        (record(on={"test": scored(split="val")}), "scored on the val split, not on test"),
        (record(on={"test": scored(source="deepmind")}), "trained on Tetrominoes (emorl)"),
        (record(steps=0, on={"test": scored(source="deepmind")}), "run on Tetrominoes (emorl)"),
        (record(overrides={"recipe.steps": 300}), "with recipe.steps=300"),
        (record(n_train=1000), "trained on 1,000 scenes, the protocol has 59,680"),
        (generated(n_train=1000), "trained on 1,000 scenes, the protocol has 60,000"),
        (
            record(on={"test": scored(definition="deepmind")}),
            "scored as deepmind defines the metrics, not as",
        ),
        (external(), "predictions made outside objbench"),
        (
            external(trained_on="clevr6@first70k/deepmind"),
            "predictions made outside objbench, said to be trained on CLEVR6 (first70k, deepmind)",
        ),
        (
            record(metrics={"test": scores().model_copy(update={"masks": "composited"})}),
            "scored by its composited masks, not by those that it segments with",
        ),
    ],
)
def test_what_sets_a_measured_row_apart_is_noted(changed, note):
    (row,) = measured(changed)
    assert any(text.startswith(note) for text in row.notes)


@pytest.mark.parametrize(
    ("one", "other", "note"),
    [
        (
            record(),
            record(on={"test": scored(fingerprint="0123456789abcdef")}),
            "fingerprint 0123456789ab (emorl)",
        ),
        (record(), record(on={"test": scored(height=64, width=64)}), "scored at 64x64"),
        (record(), record(n_train=1000), "trained on 59,680 scenes"),
        (record(), record(config_hash="0123456789abcdef"), "configuration 0123456789ab, 154,440 steps"),
    ],
)
def test_where_measured_rows_disagree_each_says_which_it_is(one, other, note):
    rows = measured(one, other)
    notes = [row.notes for row in rows]
    assert all(notes)
    assert any(text.endswith(note) for text in [*notes[0], *notes[1]])


def test_a_value_that_some_seeds_do_not_have_is_noted():
    without = {name: value for name, value in scores().model_dump().items() if name != "mse"}
    (row,) = measured(record(0), record(1, metrics={"test": Scores.model_validate(without)}))
    assert cell_notes(row, "mse") == ["MSE: of 1 of the 2 seeds, the others have none"]
    assert cell_notes(row, "ari") == []


def test_a_published_row_states_protocol_std_selection_and_note():
    row = published("dti_sprites", "multi_dsprites")
    assert row.notes == (
        "its own copy of the sets (34,963 CLEVR6 images), scored on the first 320 training images; "
        "± kind of std not stated over 5 seeds; as quoted in vikstrom2022",
        "one outlier seed filtered",
    )
    assert published("objmae", "clevrtex").notes[1] == "best 3 of 10 seeds by mIoU on ClevrTex"
    assert "± population std over 3 seeds" in published("monet", "clevrtex").notes[0]


def test_another_metric_definition_marks_the_cell():
    assert cell_notes(published("monet", "clevrtex"), "miou") == ["mIoU: very likely background excluded"]
    assert cell_notes(published("monet", "clevrtex"), "ari_fg") == []
    assert cell_notes(published("ast", "clevrtex"), "miou") == []
    row = replace(published("ast", "clevrtex"), definitions={"miou": "not stated"})
    assert cell_notes(row, "miou") == ["mIoU: definition not stated"]


def test_rows_of_another_protocol_are_not_what_a_row_is_told_apart_from():
    aligned = record(protocol="aligned", on={"test": scored(protocol="aligned", fingerprint="another")})
    other, one = sorted(measured(record(), aligned), key=lambda row: row.protocol)
    assert one.notes == ()
    assert other.notes == ("protocol aligned, not the default one of Tetrominoes",)


def test_slots_that_are_not_those_of_the_dataset_are_noted():
    own, more = measured(record(0, slots=4), record(0, slots=11, config_hash="b"))
    assert any(note == "4 slots" for note in own.notes)
    assert "11 slots, Tetrominoes has 4" in more.notes
    assert not any("slots" in note for note in measured(record(0, slots=4))[0].notes)


def test_seeds_of_different_numbers_of_slots_are_never_averaged():
    assert [row.n for row in measured(record(0, slots=7), record(1, slots=11))] == [1, 1]


def test_an_evaluation_with_other_slots_is_a_row_of_its_own():
    again = scores().model_copy(update={"slots": 11, "crowded": 3})
    both = {"test": scores(), "test+slots=11": again}
    rows = measured(record(0, slots=4, metrics=both, on=dict.fromkeys(both, scored())))
    (other,) = (row for row in rows if row.evaluation_slots)
    assert len(rows) == 2
    assert "11 slots, Tetrominoes has 4" in other.notes
    assert "evaluated with 11 slots, trained with 4" in other.notes
    assert "3 of 320 images have more objects than predicted planes" in other.notes


def test_images_that_were_trained_on_are_noted():
    of_train = {"test": scores().model_copy(update={"repeated": 12})}
    (row,) = measured(record(0, metrics=of_train, on={"test": scored()}), record(1))
    assert (row.n, row.repeated) == (2, 12)
    assert "12 of 320 images are in the training split, too" in row.notes


def test_seeds_guided_by_other_val_splits_are_never_averaged():
    guides = "a" * 64, "b" * 64, None
    records = [record(0, method="slate", val_fingerprint=guide) for guide in guides]
    rows = measured(*records, record(1, method="slate", val_fingerprint=guides[0]), record(0, method="monet"))
    slate = [row for row in rows if row.label == "slate"]
    notes = {row.trained.val_fingerprint: row.notes for row in slate}
    assert sorted(row.n for row in slate) == [1, 1, 2]
    assert f"guided by a val split of fingerprint {'a' * 12}" in notes["a" * 64]
    assert f"guided by a val split of fingerprint {'b' * 12}" in notes["b" * 64]
    assert "guided by no val split" in notes[None]
    assert not any("guided" in note for row in rows if row.label == "monet" for note in row.notes)


def test_rows_trained_on_other_splits_of_the_same_size_name_them():
    rows = measured(generated(), generated(method="monet", fingerprint="0123456789abcdef"))
    notes = {row.label: row.notes for row in rows}
    assert "train split of fingerprint train-finger" in notes["objmae"]
    assert "train split of fingerprint 0123456789ab" in notes["monet"]


def test_a_val_split_does_not_make_several_test_splits():
    rows = measured(
        record(), record(method="monet", on={"test": scored(split="val", fingerprint="that of val")})
    )
    assert not any("of fingerprint" in note for row in rows for note in row.notes)


def test_seeds_of_two_releases_say_so():
    (row,) = measured(record(0, code_version="0.1.0+abc"), record(1, code_version="0.2.0, then 0.1.0+dirty"))
    assert "by objbench 0.1.0 and 0.2.0" in row.notes
    (row,) = measured(record(0, code_version="0.1.0+abc"), record(1, code_version="0.1.0+def"))
    assert row.notes == ()
