"""A dataset of one's own, declared by the command that prepares it."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.commands import call, refused
from helpers.own import png, scene, write_folder, write_tar

from objbench.cli.common import Context
from objbench.cli.declare import write_declaration
from objbench.locks import exclusive_lock
from objbench.spec.own import declare
from objbench.spec.yaml_text import parse_yaml
from objbench.stores import Store
from objbench.train.interrupt import Interrupts

COUNT = 30


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_folder(tmp_path / "pictures", COUNT)


def prepare(*more: object, name: str = "my_set", size: str = "16", slots: int = 4) -> tuple[object, ...]:
    return (
        "prepare",
        name,
        "--source",
        "folder",
        "--raw",
        "pictures",
        "--slots",
        slots,
        "--size",
        size,
        *more,
    )


@pytest.mark.usefixtures("pictures")
def test_every_command_knows_it_afterwards(tmp_path: Path) -> None:
    result = call(*prepare())
    assert result.exit_code == 0, result.output
    assert "my_set" in call("list", "datasets").stdout
    told = call("info", "my_set").stdout
    assert "16x16 pixels, K = 4 slots" in told
    by_name = "what is named {} there; where nothing is, {} of ten scenes, by the hash of their names"
    for split, share in (("train", "eight"), ("val", "one"), ("test", "one")):
        assert by_name.format(split, share) in " ".join(told.split())
    for line in ("verify my_set --deep", "show my_set --output sheet.png"):
        assert call(*line.split()).exit_code == 0
    for method in ("color_kmeans", "slot_attention"):
        steps = ["--set", "recipe.steps=2", "--set", "recipe.evaluations=1", "--set", "recipe.batch_size=4"]
        result = call("run", method, "--dataset", "my_set", *steps)
        assert result.exit_code == 0, result.output
    (folder,) = (tmp_path / "runs/my_set/folder").glob("slot_attention+*")
    for arguments in (
        ("evaluate", folder / "seed-0", "--dataset", "my_set"),
        ("segment", folder, "pictures/images/000.png", "--output", "found"),
    ):
        result = call(*arguments)
        assert result.exit_code == 0, result.output
    assert "Slot Attention" in call("report", "--dataset", "my_set").stdout


@pytest.mark.usefixtures("pictures")
def test_the_same_command_finds_it_prepared_and_another_is_refused(tmp_path: Path) -> None:
    assert call(*prepare()).exit_code == 0
    assert "already prepared" in call(*prepare()).stderr
    assert "already prepared" in call("prepare", "my_set").stderr
    message = refused(2, *prepare(slots=5))
    assert (
        "dataset.yaml: declares the dataset otherwise: slots is 4 there, 5 asked. --force replaces it"
        in message
    )
    assert call(*prepare("--force", slots=5)).exit_code == 0
    assert "K = 5 slots" in call("info", "my_set").stdout


@pytest.mark.parametrize("change", ["another folder", "a picture more", "a picture of the same size"])
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_what_was_prepared_from_other_files_is_not_what_is_asked(
    pictures: Path, change: str, dry: tuple[str]
) -> None:
    first = pictures / "images/000.png"
    assert call(*prepare()).exit_code == 0
    if change == "another folder":
        pictures.rename("before")
        write_folder(pictures, COUNT - 5)
    elif change == "a picture more":
        write_folder(pictures, COUNT + 1)
    else:
        first.write_bytes(first.read_bytes()[:-1] + b"\x00")
    message = refused(2, *prepare(*dry))
    assert "it was prepared from other files than those of pictures: pictures/ (" in message
    assert "--force replaces it" in message
    assert call("prepare", "my_set").exit_code == 0  # whatever it was made from


@pytest.mark.usefixtures("pictures")
def test_files_that_are_gone_are_not_missed(pictures: Path) -> None:
    assert call(*prepare()).exit_code == 0
    pictures.rename("before")
    told = call(*prepare()).stderr
    assert "already prepared; pictures is not there, so nothing was compared with it" in told


@pytest.mark.usefixtures("pictures")
def test_files_may_be_elsewhere_now(pictures: Path) -> None:
    assert call(*prepare()).exit_code == 0
    pictures.rename("elsewhere")
    assert "already prepared" in call("prepare", "my_set", "--raw", "elsewhere").stderr


@pytest.mark.usefixtures("pictures")
def test_a_dry_run_declares_nothing(tmp_path: Path) -> None:
    result = call(*prepare("--dry-run", "--json"))
    found = json.loads(result.stdout)
    assert sum(split["count"] for split in found["splits"].values()) == COUNT
    size = sum(path.stat().st_size for path in (tmp_path / "pictures").rglob("*.png"))
    assert found["files"] == [{"path": "pictures/", "bytes": size}]
    assert not (tmp_path / "data").exists()


@pytest.mark.usefixtures("pictures")
def test_a_declared_prepare_that_failed_continues_without_its_options(tmp_path: Path) -> None:
    bad = tmp_path / "pictures/masks/002.png"
    content = bad.read_bytes()
    bad.write_bytes(b"x")
    message = refused(1, *prepare())
    assert message.startswith("objbench: pictures/masks/002.png: is no label map in a PNG, or a damaged one")
    bad.write_bytes(content)
    assert call("prepare", "my_set", "--raw", "pictures", "--force").exit_code == 0


@pytest.mark.usefixtures("pictures")
def test_a_declaration_of_which_nothing_was_made_does_not_bind() -> None:
    message = refused(1, *prepare(slots=2))
    assert "--slots 4 would do" in message
    assert call(*prepare(slots=4)).exit_code == 0


@pytest.mark.usefixtures("pictures")
def test_repairs_of_ones_own_data_name_the_files(tmp_path: Path) -> None:
    assert call(*prepare()).exit_code == 0
    next((tmp_path / "data/my_set/folder").glob("*.tar")).unlink()
    given = f"--source folder --raw PATH --data {tmp_path / 'data'} --force"
    command = f"objbench prepare my_set {given} prepares it again"
    assert command in call("verify", "my_set").stderr
    (tmp_path / "data/my_set/folder/manifest.json").unlink()
    assert "objbench prepare my_set --source folder --raw PATH --data" in refused(1, "verify", "my_set")


@pytest.mark.parametrize("name", ["grid", "ari"])
@pytest.mark.usefixtures("pictures")
def test_names_of_methods_and_metrics_are_taken(name: str) -> None:
    assert f"'{name}' is the name of a method or metric" in refused(2, *prepare(name=name))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("transform", "{crop: [4, 12, 4, 12], image: nearest, mask: nearest}", "my_set.protocols.other.transform.crop: expected [left, top, right, bottom] with 0 <= left < right"),
        ("transform", "{crop: [-5, 0, 8, 8], image: nearest, mask: nearest}", "found [-5, 0, 8, 8]"),
        ("select", "{folder: {max_objects: 2}}", "the source 'folder' cannot select by max_objects"),
        ("select", "{folder: {max_visible: 2}}", "the source 'folder' cannot select by max_visible"),
    ],
)  # fmt: skip
def test_a_protocol_of_ones_own_does_what_it_says_or_is_refused(
    pictures: Path, tmp_path: Path, key: str, value: str, message: str
) -> None:
    assert call(*prepare()).exit_code == 0
    sources = "{folder: {train: {about: 20}, val: {about: 3}, test: {about: 3}}}"
    layer = tmp_path / "mine.yaml"
    other = {"description": "d.", "transform": {"image": "bilinear", "mask": "nearest"}}
    other |= {key: parse_yaml(value), "sources": parse_yaml(sources)}
    layer.write_text(json.dumps({"datasets": {"my_set": {"protocols": {"other": other}}}}))
    assert message in refused(2, "prepare", "my_set@other", "--raw", pictures, "--config", layer)
    assert not (tmp_path / "data/my_set@other").exists()


@pytest.mark.usefixtures("pictures")
def test_what_cannot_be_declared_is_refused() -> None:
    assert "give --size N or --size HxW" in refused(
        2, "prepare", "my_set", "--source", "folder", "--slots", 4
    )
    assert "my_set is a new dataset: give --slots N and --size" in refused(
        2, "prepare", "my_set", "--source", "folder"
    )
    assert "there is a dataset 'clevr6' already" in refused(2, *prepare(name="clevr6"))
    assert "there is a dataset 'clevr6@standard' already" in refused(2, *prepare(name="clevr6@standard"))
    assert "unknown dataset 'my_set'" in refused(2, "prepare", "my_set")
    assert "unknown source for a dataset of one's own 'emorl'" in refused(
        2, "prepare", "my_set", "--source", "emorl", "--slots", 4, "--size", 16
    )


def test_a_colleagues_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for split, first, stop in (("train", 0, 6), ("val", 6, 8), ("test", 8, 10)):
        content = {}
        for index in range(first, stop):
            image, labels = scene(index)
            content |= {f"{index}.rgb.png": png(image), f"{index}.seg.png": png(labels)}
        write_tar(tmp_path / "tars" / f"{split}.tar", content)
    options = ("--option", "image=rgb.png", "--option", "labels=seg.png")
    line = (
        "prepare",
        "tars",
        "--source",
        "webdataset",
        "--raw",
        "tars",
        "--slots",
        4,
        "--size",
        "24x32",
        *options,
    )
    result = call(*line)
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "data/tars/webdataset/manifest.json").read_text())
    assert {name: split["count"] for name, split in manifest["splits"].items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    assert [file["name"] for file in manifest["files"]] == ["test.tar", "train.tar", "val.tar"]
    assert call("run", "one_slot", "--dataset", "tars").exit_code == 0


@pytest.mark.parametrize("kind", ["folder", "webdataset"])
def test_it_is_read_from_a_store(
    kind: str, tmp_path: Path, memory: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "given"
    if kind == "folder":
        write_folder(raw, COUNT)
    else:
        kinds = ("png", "seg.png")
        pixels = {
            f"{i:03}.{end}": png(part)
            for i in range(COUNT)
            for end, part in zip(kinds, scene(i), strict=True)
        }
        write_tar(raw / "all.tar", pixels)
    for path in raw.rglob("*"):
        if path.is_file():
            (memory / f"given/{path.relative_to(raw)}").put(path)
    line = ("prepare", "my_set", "--source", kind, "--slots", 4, "--size", 16)
    for place, data in ((raw, "here"), (f"{memory}/given", "there")):
        result = call(*line, "--raw", place, "--data", tmp_path / data)
        assert result.exit_code == 0, result.output
    here, there = (
        {
            str(path.relative_to(tmp_path / data)): path.read_bytes()
            for path in (tmp_path / data).rglob("*.tar")
        }
        for data in ("here", "there")
    )
    assert here == there != {}


@pytest.mark.usefixtures("pictures")
def test_a_command_that_does_not_see_the_declaration_says_where_it_looks(tmp_path: Path) -> None:
    there = ("--data", "there")
    assert call(*prepare(*there)).exit_code == 0
    for method in ("grid", "slot_attention"):
        steps = ("--set", "recipe.steps=1", "--set", "recipe.batch_size=2") if method != "grid" else ()
        assert call("run", method, "--dataset", "my_set", *there, *steps).exit_code == 0
    (folder,) = (tmp_path / "runs/my_set/folder").glob("slot_attention+*")
    images = (folder, "pictures/images/000.png", "--output", "found")
    message = refused(2, "segment", *images)
    assert "unknown dataset 'my_set'" in message
    assert "what you declared yourself is found with --data (a dataset's folder) or --config" in message
    assert call("segment", *images, *there).exit_code == 0
    assert call("publish", folder, "--output", "model", *there).exit_code == 0
    table = call("report").stdout
    assert "my_set" in table
    assert "my_set" in call("report", "--dataset", "my_set@standard").stdout
    assert "not the default one" not in table
    assert "@standard" not in table


@pytest.mark.usefixtures("pictures")
def test_a_declaration_stays_while_it_is_prepared(tmp_path: Path) -> None:
    assert "--slots 4 would do" in refused(1, *prepare(slots=2))
    folder = tmp_path / "data/my_set"
    before = (folder / "dataset.yaml").read_text()
    with exclusive_lock(folder / "folder/.lock"):
        assert "another prepare is running here" in refused(1, *prepare(slots=7))
    assert (folder / "dataset.yaml").read_text() == before
    assert call(*prepare(slots=7)).exit_code == 0


def test_parts_that_start_at_once_declare_it_together(tmp_path: Path) -> None:
    context = Context(tmp_path, tmp_path, None, False, False, Interrupts())
    path = tmp_path / "my_set/dataset.yaml"
    with ThreadPoolExecutor(8) as pool:
        for slots in range(3, 20):
            block = declare("my_set", "folder", slots, "16", [])
            list(pool.map(lambda _, block=block: write_declaration(context, "my_set", block), range(16)))
            assert f"slots: {slots}" in path.read_text()
    assert sorted(found.name for found in path.parent.iterdir()) == [".declaration.lock", "dataset.yaml"]


def test_it_is_declared_in_a_folder_and_prepared_into_a_store_by_a_yaml(
    pictures: Path, tmp_path: Path, memory: Store
) -> None:
    message = refused(2, *prepare("--data", memory))
    assert (
        "a dataset is declared in a folder of the disk; for a store, write its block into a yaml" in message
    )
    assert call(*prepare()).exit_code == 0
    declared = tmp_path / "data/my_set/dataset.yaml"
    line = ("--data", memory, "--config", declared)
    result = call("prepare", "my_set", "--raw", pictures, *line)
    assert result.exit_code == 0, result.output
    assert call("verify", "my_set", "--deep", *line).exit_code == 0
    shard = "my_set/folder/train-000000.tar"
    assert (memory / shard).read_bytes() == (tmp_path / "data" / shard).read_bytes()


def test_a_seed_for_a_source_that_draws_nothing_is_refused(pictures):
    command = ("prepare", "mine", "--source", "folder", "--raw", pictures, "--slots", 7, "--size", 16)
    message = (
        "--seed 6: the source 'folder' draws nothing, its scenes are those of the release; leave out --seed"
    )
    assert message in refused(2, *command, "--seed", 6)
    assert call(*command).exit_code == 0
    assert message in refused(2, *command, "--seed", 6)  # of what is prepared too


@pytest.mark.usefixtures("pictures")
def test_a_pattern_given_twice_is_refused() -> None:
    twice = ("--option", "labels=a.png", "--option", "labels=b.png")
    assert "--option labels=b.png: labels is given twice" in refused(2, *prepare(*twice))


@pytest.mark.usefixtures("pictures")
def test_another_source_by_force_is_the_only_one_afterwards(tmp_path: Path) -> None:
    assert call(*prepare()).exit_code == 0
    members = {}
    for index in range(COUNT):
        image, labels = scene(index)
        members |= {f"{index:03}.jpg": png(image), f"{index:03}.seg.png": png(labels)}
    write_tar(tmp_path / "scenes.tar", members)
    own = ("my_set", "--source", "webdataset", "--raw", "scenes.tar", "--slots", 4, "--size", 16)
    assert call("prepare", *own, "--force").exit_code == 0
    result = call("run", "grid", "--dataset", "my_set")
    assert result.exit_code == 0, result.output
    assert "webdataset" in result.stdout
    assert "prepared: webdataset" in call("list", "datasets").stdout


@pytest.mark.parametrize("name", [b"pictures-\xfc", "pictures-\u00fc".encode()])
def test_a_folder_of_any_name_is_read_and_goes_on(pictures: Path, name: bytes) -> None:
    raw = os.fsdecode(name)
    os.rename("pictures", raw)
    words = [raw if word == "pictures" else word for word in prepare()]
    for _ in range(2):
        result = call(*words)
        assert result.exit_code == 0, result.output
    assert call("verify", "my_set", "--deep").exit_code == 0
