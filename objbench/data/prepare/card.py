"""README.md of a prepared dataset: a card for people, with the front matter that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from objbench.data.format.manifest import Manifest
from objbench.data.prepare.features import features
from objbench.markdown import render as render_markdown
from objbench.spec.datasets import DatasetRef

_HUB_LICENCES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc0-1.0"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render(dataset: DatasetRef, manifest: Manifest, factors: Sequence[Mapping[str, Any]]) -> str:
    """The card of a prepared dataset, front matter included.

    Args:
        factors: Those of one sample of each split.
    """
    spec, source = dataset.spec, dataset.spec.sources[manifest.source]
    splits = manifest.splits
    return render_markdown(
        "objbench.data.prepare",
        "card.md.jinja",
        front_matter(dataset, manifest, factors),
        dataset=dataset,
        spec=spec,
        source=source,
        protocol=dataset.rule,
        manifest=manifest,
        splits=splits,
        object_counts=sorted({count for split in splits.values() for count in split.object_counts}),
        skipped=[(name, scene) for name, split in splits.items() for scene in split.skipped],
        errata=[*spec.errata, *source.errata],
    )


def front_matter(
    dataset: DatasetRef, manifest: Manifest, factors: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
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
        "dataset_info": {"features": features(factors)},
    }
