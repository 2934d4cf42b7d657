"""README.md of a prepared dataset: a card for people, with the front matter that Hugging Face reads."""

from __future__ import annotations

from typing import Any

import yaml

from objbench.data.format.manifest import Manifest
from objbench.spec.datasets import DatasetRef

_HUB_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_SHOWN = 50  # skipped scenes in the card; the manifest has all

_MEMBERS = """\
Every sample is three files of a tar archive (WebDataset): `KEY.png`, the image (RGB); `KEY.mask.png`, the label map
(8-bit, 0 = background, 1.. = the object ids of the source, never renumbered); `KEY.json` with `index` (record number
in the source), `n_objects`, `visible` (ids that own at least one pixel) and `factors` (name -> one value per entity,
entity e belonging to mask value e, or one for the whole scene)."""


def render(dataset: DatasetRef, manifest: Manifest) -> str:
    """The card of a prepared dataset, front matter included."""
    spec, source = dataset.spec, dataset.spec.sources[manifest.source]
    front = yaml.safe_dump(front_matter(dataset, manifest), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{front}---\n\n# {spec.title}\n\n{spec.description}",
        f"Prepared by objbench {manifest.objbench} from: {source.title}. Protocol `{manifest.protocol}`: "
        f"{dataset.rule.description.strip()}",
        "## Splits\n\n" + _splits(manifest),
        "## Objects\n\nScenes by their number of objects, the background not counted.\n\n"
        + _objects(manifest),
        "## Samples\n\n" + _MEMBERS,
    ]
    if source.factors:
        rows = [f"| `{name}` | {text.strip()} |" for name, text in source.factors.items()]
        sections.append("## Factors\n\n" + "\n".join(["| factor | meaning and codes |", "|---|---|", *rows]))
    if skipped := _skipped(manifest):
        sections.append(
            "## Left out\n\nDamaged scenes of the source, left out by `--skip-bad`:\n\n" + skipped
        )
    sections.append("## Provenance\n\n" + _bullets(_provenance(dataset, manifest)))
    if errata := [*spec.errata, *source.errata]:
        sections.append("## Known errata\n\n" + _bullets(errata))
    sections.append("## How to load it\n\n" + _usage(dataset, manifest))
    return "\n\n".join(sections) + "\n"


def front_matter(dataset: DatasetRef, manifest: Manifest) -> dict[str, Any]:
    """The metadata that Hugging Face reads from a dataset card."""
    licence = dataset.spec.sources[manifest.source].licence
    total = sum(split.count for split in manifest.splits.values())
    known = licence.lower() in _HUB_LICENCES
    files = [{"split": name, "path": f"{name}-*.tar"} for name in manifest.splits]
    return {
        "pretty_name": dataset.spec.title,
        **({"license": licence.lower()} if known else {"license": "other", "license_name": licence}),
        "task_categories": ["image-segmentation"],
        "tags": ["object-centric learning", "webdataset"],
        "size_categories": [next((label for bound, label in _SIZES if total < bound), "1M<n<10M")],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _splits(manifest: Manifest) -> str:
    rows = [
        "| split | scenes | of these records of the source | standard | fingerprint |",
        "|---|---|---|---|---|",
    ]
    for name, split in manifest.splits.items():
        standard = ("yes" if split.standard else "no") + (", also in train" if split.in_train else "")
        records = f"{split.records.file} [{split.records.start}, {split.records.stop})"
        rows.append(f"| {name} | {split.count:,} | {records} | {standard} | `{split.fingerprint[:16]}` |")
    return "\n".join(rows)


def _objects(manifest: Manifest) -> str:
    counts = sorted({count for split in manifest.splits.values() for count in split.object_counts})
    rows = ["| objects | " + " | ".join(manifest.splits) + " |", "|---" * (1 + len(manifest.splits)) + "|"]
    for count in counts:
        scenes = [f"{split.object_counts.get(count, 0):,}" for split in manifest.splits.values()]
        rows.append(f"| {count} | " + " | ".join(scenes) + " |")
    return "\n".join(rows)


def _skipped(manifest: Manifest) -> str:
    scenes = [(name, scene) for name, split in manifest.splits.items() for scene in split.skipped]
    lines = [f"{name}, record {scene.index}: {scene.reason}" for name, scene in scenes[:_SHOWN]]
    if len(scenes) > _SHOWN:
        lines.append(f"and {len(scenes) - _SHOWN:,} more, in manifest.json")
    return _bullets(lines)


def _provenance(dataset: DatasetRef, manifest: Manifest) -> list[str]:
    source = dataset.spec.sources[manifest.source]
    lines = [f"source `{manifest.source}`: {source.title}" + (f", {source.url}" if source.url else "")]
    lines.append(f"licence: {source.licence}")
    lines.append(f"citation: {', '.join(dataset.spec.citation)} (in objbench's benchmarks.yaml)")
    if manifest.generator is not None:
        lines.append("generator: " + ", ".join(f"{key} {value}" for key, value in manifest.generator.items()))
    lines += [f"`{file.name}`: {file.bytes:,} bytes, sha256 `{file.sha256}`" for file in manifest.files]
    return lines


def _usage(dataset: DatasetRef, manifest: Manifest) -> str:
    split = next(iter(manifest.splits))
    return "\n".join(
        [
            "```python",
            "import objbench",
            f'scenes = objbench.load("{dataset}", split="{split}", source="{manifest.source}")',
            "",
            "import datasets  # in this folder",
            f'datasets.load_dataset("webdataset", data_files="{split}-*.tar", split="train")',
            "```",
        ]
    )


def _bullets(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)
