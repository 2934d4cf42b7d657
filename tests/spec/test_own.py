from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from objbench.errors import RequestError
from objbench.spec.load import load_spec
from objbench.spec.own import declaration_text, declare, declared_reference

BLOCK = declare("mine", "webdataset", 7, "48x64", ["labels=seg.png", "image=a=b"])


def write(data: Path, name: str, text: str) -> Path:
    (data / name).mkdir(parents=True, exist_ok=True)
    path = data / name / "dataset.yaml"
    path.write_text(text)
    return path


def test_a_declaration_says_what_was_asked_for() -> None:
    dataset = declared_reference("mine", BLOCK)
    assert (dataset.spec.slots, dataset.spec.height, dataset.spec.width) == (7, 48, 64)
    assert dataset.spec.sources["webdataset"].options == {"labels": "seg.png", "image": "a=b"}
    assert set(dataset.rule.sources["webdataset"]) == {"train", "val", "test"}
    square = declared_reference("mine", declare("mine", "folder", 2, "9", []))
    assert (square.spec.height, square.spec.width) == (9, 9)


def test_a_declared_dataset_is_known_where_its_folder_is(tmp_path: Path) -> None:
    write(tmp_path / "here", "mine", declaration_text("mine", BLOCK))
    assert load_spec(data=tmp_path / "here").dataset("mine").spec == declared_reference("mine", BLOCK).spec
    with pytest.raises(RequestError, match="unknown dataset 'mine'"):
        load_spec(data=tmp_path).dataset("mine")


def test_the_folder_is_the_standard_one_if_none_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "other", "mine", declaration_text("mine", BLOCK))
    monkeypatch.setenv("OBJBENCH_DATA", str(tmp_path / "other"))
    assert "mine" in load_spec().datasets


def test_a_yaml_of_ones_own_lies_over_it(tmp_path: Path) -> None:
    write(tmp_path, "mine", declaration_text("mine", BLOCK))
    config = tmp_path / "more.yaml"
    config.write_text("datasets: {mine: {slots: 9}}")
    assert load_spec(config, tmp_path).datasets["mine"].slots == 9


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other", declaration_text("mine", BLOCK), "expected `datasets: {other: ...}` alone"),
        (
            "mine",
            yaml.safe_dump({"datasets": {"mine": BLOCK}, "recipe": {"steps": 1}}),
            "expected `datasets: {mine: ",
        ),
        (
            "clevr6",
            declaration_text("clevr6", BLOCK),
            "a dataset 'clevr6' of its own; rename or remove this folder",
        ),
        ("mine", "datasets: {mine: {slots: none}}", "slots"),
        ("mine", "datasets: [", "dataset.yaml"),
    ],
)
def test_a_declaration_of_anything_else_is_refused(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    path = write(tmp_path, name, text)
    with pytest.raises(RequestError) as caught:
        load_spec(data=tmp_path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("mine", "emorl", 7, "64", []),
            "unknown source for a dataset of one's own 'emorl'. .*Known: folder, webdataset",
        ),
        (("a/b", "folder", 7, "64", []), "'a/b' is no name for a dataset"),
        ((".a", "folder", 7, "64", []), "is no name"),
        (("a@b", "folder", 7, "64", []), "is no name"),
        (("mine", "folder", None, None, []), "give --slots N and --size N or --size HxW"),
        (("mine", "folder", 7, None, []), "give --size N or --size HxW .slots"),
        (("mine", "folder", 7, "0", []), "--size 0: expected the side of a square"),
        (("mine", "folder", 7, "64x", []), "--size 64x"),
        (("mine", "folder", 7, "99999", []), "--size 99999"),
        (("mine", "folder", 7, "4097x4096", []), "--size 4097x4096: expected at most 16,777,216 pixels"),
        (("mine", "folder", 7, "4097", []), "--size 4097: expected at most"),
        (("mine", "webdataset", 7, "64", ["labels"]), "--option labels: expected KEY=VALUE"),
    ],
)
def test_a_malformed_request_is_refused(
    arguments: tuple[str, str, int | None, str | None, list[str]], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        declare(*arguments)
