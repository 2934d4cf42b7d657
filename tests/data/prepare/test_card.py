"""README.md of a prepared dataset, letter by letter."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from helpers import toy
from helpers.paths import ROOT

from objbench.data.format.manifest import Manifest, Records, Settings, Skipped, SourceFile, Split
from objbench.data.format.settings import SourceSettings
from objbench.data.prepare.card import render
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetRef:
    layer = tmp_path / "toy.yaml"
    layer.write_text(toy.YAML)
    return load_spec(layer).dataset("toy")


def manifest(
    object_counts: dict[int, int], generator: dict[str, int] | None = None, skipped: int = 0, files: int = 0
) -> Manifest:
    """The manifest of two splits of the toy dataset; the first one with `skipped` damaged scenes."""
    train = Split(
        count=1200,
        standard=False,
        in_train=False,
        records=Records(file="data", start=0, stop=1300),
        fingerprint="0123456789abcdef" * 4,
        object_counts=object_counts,
        skipped=[Skipped(index=index, reason="a mask <8 bit>") for index in range(skipped)],
        shards=[],
    )
    test = train.model_copy(
        update={"count": 4, "standard": True, "in_train": True, "object_counts": {5: 4}, "skipped": []}
    )
    settings = Settings(
        sizes={},
        seed=None,
        height=5,
        width=7,
        scenes_per_shard=10,
        rules={},
        select=None,
        transform=None,
        options={},
        source=SourceSettings(options={}, order=[]),
    )
    return Manifest(
        objbench="0.1.0",
        dataset="toy",
        protocol="standard",
        source="toy",
        height=5,
        width=7,
        settings=settings,
        generator=generator,
        files=[SourceFile(name=f"scenes-{i}.h5", bytes=12_000_000, sha256="ab12") for i in range(files)],
        splits={"train": train, "test": test},
    )


CARD = """\
---
FRONT
---

# Toy scenes

Random pixels.

Prepared by objbench 0.1.0 from: A random number generator. Protocol `standard`: All of them.

## Splits

| split | scenes | of these records of the source | standard | fingerprint |
|---|---|---|---|---|
| train | 1,200 | data [0, 1300) | no | `0123456789abcdef` |
| test | 4 | data [0, 1300) | yes, also in train | `0123456789abcdef` |

## Objects

Scenes by their number of objects, the background not counted.

| objects | train | test |
|---|---|---|
| 2 | 1,200 | 0 |
| 5 | 0 | 4 |

## Samples

Every sample is three files of a tar archive (WebDataset): `KEY.png`, the image (RGB); `KEY.mask.png`, the label map
(8-bit, 0 = background, 1.. = the object ids of the source, never renumbered); `KEY.json` with `index` (record number
in the source), `n_objects`, `visible` (ids of objects that own at least one pixel; [0] if none does) and, where the
source has them, `factors` (name -> one value per entity, entity e belonging to mask value e, or one for the whole
scene).

## Factors

| factor | meaning and codes |
|---|---|
| `size` | in pixels |

## Left out

Damaged scenes of the source, left out by `--skip-bad`:

- train, record 0: a mask <8 bit>
- train, record 1: a mask <8 bit>

## Provenance

- source `toy`: A random number generator, https://example.org/toy
- licence: Apache-2.0
- citation: kabra2019 (in objbench's benchmarks.yaml)
- generator: version 3, seed 7
- `scenes-0.h5`: 12,000,000 bytes, sha256 `ab12`
- `scenes-1.h5`: 12,000,000 bytes, sha256 `ab12`

## Known errata

- These are no scenes at all.

## How to load it

```python
import objbench
scenes = objbench.load("toy", split="train", source="toy")

import datasets  # in this folder; all splits, with the types declared above
datasets.load_dataset(".")
```
"""


def test_the_card_has_a_section_for_everything_that_is_known(dataset: DatasetRef) -> None:
    card = render(dataset, manifest({2: 1200}, {"version": 3, "seed": 7}, skipped=2, files=2), [{}])
    front = card.partition("---\n")[2].partition("\n---")[0]
    assert card == CARD.replace("FRONT", front)


def test_the_card_leaves_out_what_is_not_there(dataset: DatasetRef) -> None:
    card = render(dataset, manifest({2: 1200}), [{}])
    assert "generator:" not in card
    assert "Left out" not in card
    assert "\n\n\n" not in card
    assert "(in objbench's benchmarks.yaml)\n\n## Known errata\n" in card


def test_many_damaged_scenes_are_not_all_listed(dataset: DatasetRef) -> None:
    card = render(dataset, manifest({2: 1200}, skipped=1053), [{}])
    assert "record 49: a mask <8 bit>\n- and 1,003 more, in manifest.json\n\n## Provenance\n" in card


def test_the_front_matter_is_what_hugging_face_reads(dataset: DatasetRef) -> None:
    meta = yaml.safe_load(render(dataset, manifest({2: 1200}), [{}]).split("---\n")[1])
    assert meta["license"] == "apache-2.0"
    assert meta["task_categories"] == ["image-segmentation"]
    assert meta["size_categories"] == ["1K<n<10K"]
    assert meta["configs"][0]["data_files"] == [
        {"split": "train", "path": "train-*.tar"},
        {"split": "test", "path": "test-*.tar"},
    ]


def test_the_wheel_carries_the_template() -> None:
    built = {found.distribution_path for found in WheelBuilder(str(ROOT)).recurse_included_files()}
    assert "objbench/data/prepare/card.md.jinja" in built
