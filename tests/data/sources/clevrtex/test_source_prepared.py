"""ClevrTex prepared: the shards against Pillow, and the same ones from every form of the release."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers.clevrtex import FORMS, OBJECTS, SIZES, expected, files, unpack
from PIL import Image

import objbench
from objbench.data.format.manifest import Manifest, read_manifest
from objbench.data.prepare.prepare import prepare
from objbench.data.read.verify import verify
from objbench.errors import ObjbenchError, RequestError
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.train.run_data import prepared_run_data


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes, unpacked."""
    return unpack(tmp_path_factory.mktemp("unpacked"))


def prepared(
    raw: Path, data: Path, dataset: str = "clevrtex", skip_bad: bool = False, **sizes: int
) -> Manifest:
    reference = load_spec().dataset(dataset)
    return prepare(reference, "official", data, raw, sizes or SIZES, workers=1, skip_bad=skip_bad)


@pytest.mark.parametrize(("dataset", "variant"), [("clevrtex", "full"), ("clevrtex_vbg", "vbg")])
def test_the_shards_hold_what_pillow_makes_of_the_release(tmp_path: Path, dataset: str, variant: str) -> None:
    prepared(unpack(tmp_path / "raw", variant=variant), tmp_path, dataset)
    index = 0
    for split in ("test", "val", "train"):
        with tarfile.open(tmp_path / dataset / "official" / f"{split}-000000.tar") as shard:
            content = {member.name: shard.extractfile(member).read() for member in shard}  # type: ignore[union-attr]
        for _ in range(SIZES[split]):
            image, mask = expected(variant, index)
            with (
                Image.open(io.BytesIO(content[f"{index:08d}.png"])) as stored,
                Image.open(io.BytesIO(content[f"{index:08d}.mask.png"])) as labels,
            ):
                assert np.array_equal(np.asarray(stored), image)
                assert np.array_equal(np.asarray(labels), mask)
            facts = json.loads(content[f"{index:08d}.json"])
            assert facts["visible"] == [label for label in np.unique(mask).tolist() if label]
            assert facts["n_objects"] == OBJECTS[variant][index % len(OBJECTS[variant])]
            index += 1
    assert index == 12


def test_every_form_is_prepared_to_the_same_fingerprints(tmp_path: Path, unpacked: Path) -> None:
    prints = [split.fingerprint for split in prepared(unpacked, tmp_path / "data").splits.values()]
    for form, make in FORMS.items():
        manifest = prepared(make(tmp_path / form), tmp_path / f"{form} data")
        assert [split.fingerprint for split in manifest.splits.values()] == prints, form


def test_a_prepared_set_verifies_and_loads_with_its_names(tmp_path: Path, unpacked: Path) -> None:
    prepared(unpacked, tmp_path)
    folder = tmp_path / "clevrtex" / "official"
    assert verify(folder, read_manifest(folder), deep=True) == []
    test = objbench.load("clevrtex", "test", data=tmp_path)
    facts = files("full", 1)["clevrtex_full/0/CLEVRTEX_full_000001.json"]
    objects = json.loads(facts)["objects"]
    assert test.factors["material"][1, 1:].tolist() == [item["material"] for item in objects]
    assert test.factors["ground_material"].tolist()[1] == json.loads(facts)["ground_material"]
    assert test.n_objects.tolist() == [6, 10, 8]


def test_a_damaged_scene_is_left_out_and_listed_if_asked_for(tmp_path: Path) -> None:
    raw = unpack(tmp_path / "raw")
    (raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000004_flat.png").unlink()
    with pytest.raises(
        ObjbenchError, match=r"CLEVRTEX_full_000004_flat.png: the mask is missing; --skip-bad"
    ):
        prepared(raw, tmp_path)
    val = prepared(raw, tmp_path, skip_bad=True).splits["val"]
    assert (val.count, val.standard) == (2, False)
    assert [(scene.index, scene.reason) for scene in val.skipped] == [(4, "the mask is missing")]


def test_a_test_set_has_nothing_to_train_on(tmp_path: Path, unpacked: Path) -> None:
    full = load_spec().dataset("clevrtex")
    ood = load_spec().dataset("clevrtex_ood").spec.protocols
    test_only = DatasetRef("clevrtex", "standard", full.spec.model_copy(update={"protocols": ood}))
    prepare(test_only, "official", tmp_path, unpacked, {"test": 3}, workers=1)
    with pytest.raises(RequestError, match=r"clevrtex \(official\) is a test set without training scenes"):
        prepared_run_data(load_spec(), test_only, None, tmp_path, "cpu")
