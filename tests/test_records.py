"""The record of a run: its file stays byte for byte what it was, and says of each kind what is known of it."""

from __future__ import annotations

import json

import pytest
from helpers.paths import ROOT
from helpers.synthetic import GENERATED, external, record, scored, scores

from objbench.errors import ObjbenchError
from objbench.records import External, Run, Trained, read_record
from objbench.scores import Scored

WRITTEN = sorted((ROOT / "results").rglob("result.json"))
UNKNOWN = {
    "fingerprint", "n_train", "variant", "config_hash", "steps", "train_seconds", "wall_seconds", "images_per_second",
    "peak_memory_bytes", "parameters", "slots",
}  # fmt: skip


def test_there_are_records_written_before():
    assert len(WRITTEN) >= 9


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_record_written_before_is_written_again_byte_for_byte(path, tmp_path):
    found = read_record(path)
    assert isinstance(found, Run)
    found.save(tmp_path)
    assert (tmp_path / "result.json").read_bytes() == path.read_bytes()


def test_an_external_record_has_the_keys_of_a_run_with_null_where_nothing_is_known(tmp_path):
    external(3).save(tmp_path)
    content = json.loads((tmp_path / "result.json").read_text())
    assert list(content) == list(json.loads(record().model_dump_json()))
    assert {key for key, value in content.items() if value is None} == UNKNOWN
    assert (content["kind"], content["overrides"], content["seed"]) == ("external", {}, 3)
    assert read_record(tmp_path) == external(3)


def test_how_predictions_came_about_is_not_a_field_of_theirs(tmp_path):
    content = json.loads(external().model_dump_json()) | {"steps": 300}
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ObjbenchError, match=r"\(steps: Extra inputs are not permitted\)"):
        read_record(tmp_path)


def test_a_run_must_say_how_it_came_about(tmp_path):
    content = json.loads(record().model_dump_json()) | {"n_train": None}
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(
        ObjbenchError, match=r"not a record of this version of objbench \(n_train: Input should"
    ):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_train", -1), ("steps", -1), ("slots", 0), ("train_seconds", -5.0), ("wall_seconds", -5.0),
     ("images_per_second", -1.0), ("peak_memory_bytes", -1), ("parameters", -5)],
)  # fmt: skip
def test_a_run_with_impossible_numbers_is_no_record(tmp_path, name, value):
    (tmp_path / "result.json").write_text(json.dumps(json.loads(record().model_dump_json()) | {name: value}))
    with pytest.raises(ObjbenchError, match=rf"\({name}: Input should be greater than or equal to"):
        read_record(tmp_path)


def test_a_run_has_scores_of_its_own_test_split(tmp_path):
    on = {"tetrominoes/generated": scored(source="generated")}
    content = json.loads(record().model_dump_json())
    content |= {name: {"tetrominoes/generated": content[name]["test"]} for name in ("metrics", "scored")}
    (tmp_path / "result.json").write_text(json.dumps(content))
    with pytest.raises(ObjbenchError, match="no scores of 'test', the test split of its own dataset"):
        read_record(tmp_path)
    assert external(on=on, metrics=dict.fromkeys(on, scores())).scored == on


@pytest.mark.parametrize("content", ["[]", "5", '"run"', "null", "{}"])
def test_json_that_is_no_record_is_refused(tmp_path, content):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ObjbenchError, match="not a record of this version of objbench"):
        read_record(tmp_path)


def test_a_kind_that_is_not_known_is_refused(tmp_path):
    (tmp_path / "result.json").write_text(
        record().model_dump_json().replace('"kind":"run"', '"kind":"guess"')
    )
    with pytest.raises(
        ObjbenchError,
        match=r"not a record .* \(.*'guess' found using 'kind' .* expected tags: 'run', 'external'",
    ):
        read_record(tmp_path)


def test_scores_are_put_into_a_record_of_the_same_kind():
    on = scored(definition="deepmind")
    for item in (record(), external()):
        more = item.with_scores("test#deepmind", scores(ari=0.1), on, "0.2.0+abc", item.torch_version)
        assert type(more) is type(item)
        assert more.metrics == {"test": scores(), "test#deepmind": scores(ari=0.1)}
        assert more.scored == {"test": scored(), "test#deepmind": on}
        assert more.code_version == f"{item.code_version}, then 0.2.0+abc"
        assert more.torch_version == item.torch_version
        again = more.with_scores("test", scores(), scored(), "0.2.0+abc", item.torch_version)
        assert again.code_version == more.code_version
    assert isinstance(external(), External)


def test_how_a_run_was_trained_is_a_part_of_it():
    assert record().trained == Trained(n_train=59_680, steps=154_440, config_hash="objmae-config", slots=4)


def test_a_run_is_the_same_by_configuration_seed_and_known_weights():
    run = record(weights_sha256="one")
    more = run.with_scores("other", scores(), scored(), "0.2.0", "2.13.0")
    assert run.is_of_the_run(more)
    for changed in ({"config_hash": "another"}, {"seed": 1}, {"weights_sha256": "two"}):
        assert not run.is_of_the_run(run.model_copy(update=changed))
    assert not record().is_of_the_run(record())
    assert not run.is_of_the_run(external())


def test_what_scores_were_measured_on_can_be_a_key_and_is_equal_only_in_every_field():
    on = scored(**GENERATED)
    assert {on: 1}[scored(**GENERATED)] == 1
    changes = {
        "standard": False, "height": 64, "width": 64, "generator": {"version": 2, "seed": 0},
        **dict.fromkeys(on.names, "another"),
    }  # fmt: skip
    assert changes.keys() == Scored.model_fields.keys()
    assert all(scored(**GENERATED | {name: value}) != on for name, value in changes.items())


def test_an_infinite_score_is_written_and_read_back(tmp_path):
    exact = scores(psnr=float("inf"))
    record(metrics={"test": exact}).save(tmp_path)
    assert '"mean": Infinity' in (tmp_path / "result.json").read_text()
    assert read_record(tmp_path).metrics["test"].values["psnr"].mean == float("inf")
