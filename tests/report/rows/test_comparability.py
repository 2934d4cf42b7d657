from __future__ import annotations

from pathlib import Path

import pytest
from helpers.synthetic import GENERATED, generated, record, scored, scores

from objbench.records import Scores
from objbench.report.rows.comparability import Peers, cell_notes, conflicts, row_notes
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.rows.records import FoundRecord
from objbench.spec.load import load_spec


def measured(*records):
    found = [FoundRecord(Path(str(i)), item) for i, item in enumerate(records)]
    return measured_rows(found, load_spec(), Selection()).rows


def published(method, dataset="tetrominoes", variant=None):
    rows = published_rows(load_spec())
    return next(r for r in rows if (r.method, r.dataset, r.variant) == (method, dataset, variant))


def test_a_standard_row_needs_no_note():
    (row,) = measured(record())
    assert row_notes(row, Peers([row])) == []


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
        (record(on={"test": scored(source="deepmind")}), "trained on tetrominoes@standard/emorl"),
        (record(overrides={"recipe.steps": 300}), "with recipe.steps=300"),
        (record(n_train=1000), "trained on 1,000 scenes, the protocol has 59,680"),
        (generated(n_train=1000), "trained on 1,000 scenes, the protocol has 60,000"),
        (
            record(on={"test": scored(definition="deepmind")}),
            "scored as deepmind defines the metrics, not as",
        ),
        (record(kind="external"), "predictions made outside objbench"),
    ],
)
def test_what_sets_a_measured_row_apart_is_noted(changed, note):
    (row,) = measured(changed)
    assert any(text.startswith(note) for text in row_notes(row, Peers([row])))


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
    notes = [row_notes(row, Peers(rows)) for row in rows]
    assert all(notes)
    assert any(text.endswith(note) for text in [*notes[0], *notes[1]])


def test_a_value_that_some_seeds_do_not_have_is_noted():
    without = {name: value for name, value in scores().model_dump().items() if name != "mse"}
    (row,) = measured(record(0), record(1, metrics={"test": Scores.model_validate(without)}))
    assert cell_notes(row, "mse") == ["mse: of 1 of the 2 seeds, the others have none"]
    assert cell_notes(row, "ari") == []


def test_what_an_external_row_was_trained_on_is_not_known():
    (row,) = measured(record(kind="external", n_train=None, steps=None, wall_seconds=None))
    assert (row.trained_on, row.n_train, row.standard_n_train) == (None, None, None)


def test_a_published_row_states_protocol_std_selection_and_note():
    row = published("dti_sprites", "multi_dsprites")
    assert row_notes(row, Peers([])) == [
        "its own copy of the sets (34,963 CLEVR6 images), scored on the first 320 training images; "
        "± kind of std not stated over 5 seeds; as quoted in vikstrom2022",
        "one outlier seed filtered",
    ]
    assert (
        row_notes(published("objmae", "clevrtex"), Peers([]))[1] == "best 3 of 10 seeds by miou on ClevrTex"
    )
    assert "± population std over 3 seeds" in row_notes(published("monet", "clevrtex"), Peers([]))[0]


def test_another_metric_definition_marks_the_cell():
    assert cell_notes(published("monet", "clevrtex"), "miou") == ["miou: very likely background excluded"]
    assert cell_notes(published("monet", "clevrtex"), "ari_fg") == []
    assert cell_notes(published("ast", "clevrtex"), "miou") == []


def test_equal_rows_have_no_conflict():
    rows = measured(record(), record(method="color_kmeans"))
    assert conflicts([*rows, published("objmae")], ["ari_fg", "ari", "miou"]) == []


def test_another_source_is_a_conflict():
    (line,) = conflicts(measured(record(), generated(method="color_kmeans")), ["ari_fg"])
    assert line.startswith("tetrominoes: color_kmeans (generated) against objmae (emorl): ")
    assert "source generated is not emorl" in line


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


def test_two_definitions_of_miou_conflict():
    rows = [published("space", "clevrtex"), published("ast", "clevrtex")]
    (line,) = conflicts(rows, ["miou"])
    assert "miou is 'background included', not 'very likely background excluded'" in line


def test_training_size_does_not_set_apart_what_does_not_train():
    rows = measured(record(), record(method="one_slot", n_train=10))
    assert row_notes(rows[1], Peers(rows)) == []
    assert conflicts(rows, ["ari_fg"]) == []


def test_another_training_set_conflicts_with_measured_and_with_published_numbers():
    elsewhere = record(source="generated", method="monet")  # scored on the release
    (line,) = conflicts(measured(record(), elsewhere), ["ari_fg"])
    assert "trained on tetrominoes@standard/" in line
    (line,) = conflicts([*measured(elsewhere), published("objmae")], ["ari_fg"])
    assert line.endswith(": trained on tetrominoes@standard/generated")


def test_another_definition_conflicts_with_published_numbers():
    rows = measured(record(on={"test": scored(definition="deepmind")}))
    (line,) = conflicts([*rows, published("objmae")], ["ari_fg"])
    assert "ari_fg is 'foreground pixels only', not 'foreground pixels only, as deepmind computes it'" in line


def test_another_number_of_images_is_a_conflict():
    fewer = Scores.model_validate(scores().model_dump() | {"n_images": 319})
    (line,) = conflicts(measured(record(), record(method="monet", metrics={"test": fewer})), ["ari_fg"])
    assert "number of images" in line
