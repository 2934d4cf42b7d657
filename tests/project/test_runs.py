"""docs/runs.md says what a changed setting does; each is tried, and none may be left out."""

from __future__ import annotations

import re
from typing import Any

import pytest
from helpers.paths import ROOT
from pydantic import BaseModel

from objbench.data.format.settings import refuse_changed_settings, settings_of
from objbench.errors import RequestError
from objbench.spec.datasets import DatasetSpec, ProtocolSpec, Select, SplitRule, Transform
from objbench.spec.metrics import MetricSpec
from objbench.spec.nested import deep_merge, unflatten
from objbench.spec.published import PublishedRow, Reference
from objbench.spec.resolve import resolve
from objbench.spec.schema import MethodSpec, Spec, VariantSpec
from objbench.spec.settings import Recipe
from objbench.spec.sources import SourceSpec

TYPES: dict[str, type[BaseModel]] = {
    "datasets.D": DatasetSpec,
    "datasets.D.sources.S": SourceSpec,
    "datasets.D.protocols.P": ProtocolSpec,
    "datasets.D.protocols.P.sources.S.SPLIT": SplitRule,
    "datasets.D.protocols.P.select.S": Select,
    "datasets.D.protocols.P.transform": Transform,
    "methods.M": MethodSpec,
    "methods.M.variants.V": VariantSpec,
    "recipe": Recipe,
    "metrics.N": MetricSpec,
    "references.R": Reference,
}
PLACES = {
    "D": "scenes", "S": "emorl", "P": "standard", "SPLIT": "train", "M": "learner", "V": "small", "N": "overlap",
    "R": "paper",
}  # fmt: skip
RECIPE = {
    "steps": 10, "epochs": None, "nominal_epochs": 330, "batch_size": 4, "clip_norm": 1.0, "precision": "fp32",
    "stepper": "auto", "checkpoint_steps": 10, "checkpoint_minutes": 5.0, "log_steps": 5, "evaluations": 2,
    "evaluation_batch_size": 4, "evaluation_images": None,
}  # fmt: skip
PROTOCOL = {
    "description": "all",
    "sources": {
        "emorl": {"train": {"stop": 20, "about": 9}, "test": {"start": -4}},
        "generated": {"test": {"stop": 4}},
    },
    "select": {"emorl": {"max_objects": 3}},
    "transform": {"crop": [0, 0, 8, 8], "image": "nearest", "mask": "nearest"},
}
BASE: dict[str, Any] = {
    "references": {"paper": {"text": "A paper"}},
    "recipe": RECIPE,
    "metrics": {"overlap": {"title": "Overlap"}},
    "datasets": {
        "scenes": {
            "title": "Scenes", "description": "none", "slots": 4, "height": 8, "width": 8, "scenes_per_shard": 10,
            "citation": [], "default_source": "emorl",
            "sources": {
                "emorl": {
                    "title": "A release", "licence": "CC0-1.0", "options": {"layout": "tetrominoes"},
                    "files": {"data": ["a.h5"], "more": ["b.h5"]},
                },
                "generated": {"title": "Ours", "licence": "CC0-1.0"},
            },
            "protocols": {"standard": PROTOCOL},
        },
        "others": {
            "title": "Others", "description": "none", "slots": 4, "height": 16, "width": 16, "scenes_per_shard": 10,
            "citation": [], "default_source": "emorl", "sources": {"emorl": {"title": "A", "licence": "CC0-1.0"}},
            "protocols": {"standard": {"description": "all", "sources": {"emorl": {"test": {}}}}},
        },
    },
    "methods": {
        "learner": {
            "title": "Learner", "summary": "learns", "class": "somewhere:Learner", "config": {"model": {"width": 8}},
            "datasets": {"scenes": {"model": {"width": 16}}},
            "variants": {"small": {"description": "smaller", "config": {"model": {"width": 4}}}},
        },
        "stranger": {
            "title": "Stranger", "summary": "has no block for scenes", "class": "somewhere:Stranger",
            "config": {"width": 8}, "datasets": {"others": {"width": 16}},
        },
    },
}  # fmt: skip
RULE = {"train": {"stop": 3}}
# Another value for each key whose type does not tell one.
OTHER: dict[str, Any] = {
    "datasets.D.citation": ["paper"],
    "datasets.D.default_source": "generated",
    "datasets.D.also_test": ["others"],
    "datasets.D.settings_like": "others",
    "datasets.D.probe": {"size": "numeric"},
    "datasets.D.errata": ["wrong"],
    "datasets.D.sources": {"emorl": {"options": {"layout": "clevr"}}},
    "datasets.D.protocols": {"standard": {"options": {"grid": 5}}},
    "datasets.D.sources.S.url": "https://example.org",
    "datasets.D.sources.S.download": {"folder": "emorl", "urls": ["https://example.org/"], "files": ["a.h5"]},
    "datasets.D.sources.S.options": {"layout": "clevr"},
    "datasets.D.sources.S.files": {"data": ["c.h5"]},
    "datasets.D.sources.S.records": {"data": 7},
    "datasets.D.sources.S.entities": [5],
    "datasets.D.sources.S.factors": {"size": "in pixels"},
    "datasets.D.sources.S.order": ["test", "val", "train"],
    "datasets.D.sources.S.errata": ["wrong"],
    "datasets.D.protocols.P.used_by": "nobody",
    "datasets.D.protocols.P.sources": {"emorl": RULE},
    "datasets.D.protocols.P.select": {"emorl": {"max_objects": 2}},
    "datasets.D.protocols.P.transform": {"image": "bicubic"},
    "datasets.D.protocols.P.height": 16,
    "datasets.D.protocols.P.width": 16,
    "datasets.D.protocols.P.options": {"grid": 5},
    "methods.M.masks": {"hard": "by thresholds"},
    "methods.M.resources": {"timeout_min": 30},
    "datasets.D.protocols.P.sources.S.SPLIT.file": "more",
    "datasets.D.protocols.P.sources.S.SPLIT.records": [0, 100],
    "datasets.D.protocols.P.sources.S.SPLIT.in_train": True,
    "datasets.D.protocols.P.sources.S.SPLIT.about": 15,
    "datasets.D.protocols.P.transform.crop": [1, 1, 9, 9],
    "datasets.D.protocols.P.transform.image": "bicubic",
    "datasets.D.protocols.P.transform.mask": None,
    "methods.M.citation": "paper",
    "methods.M.group": "boxes",
    "methods.M.config": {"model": {"depth": 2}},
    "methods.M.datasets": {"scenes": {"model": {"width": 32}}},
    "methods.M.variants": {"small": {"config": {"model": {"width": 2}}}},
    "methods.M.variants.V.config": {"model": {"width": 2}},
    "methods.M.variants.V.datasets": {"scenes": {"model": {"width": 2}}},
    "recipe.epochs": 3,
    "recipe.precision": "bf16",
    "recipe.stepper": "plain",
    "recipe.evaluation_images": 5,
    "metrics.N.unit": "percent",
    "metrics.N.better": "lower",
    "metrics.N.range": [0, 1],
    "metrics.N.column": True,
    "metrics.N.computed_from": "boxes",
    "metrics.N.cost": True,
    "references.R.url": "https://example.org",
    "references.R.author": "Last, First",
    "references.R.title": "A title",
    "references.R.venue": "ICML 2026",
    "references.R.year": 2026,
    "datasets.D.short": "S",
}


def rows() -> list[tuple[str, str]]:
    """(block.key, fate) of every key in the table."""
    lines = re.findall(
        r"^\| `([^`]+)` \| ([^|]+) \| (run|data|report|none) \|$", (ROOT / "docs/runs.md").read_text(), re.M
    )
    return [(f"{block}.{key}", fate) for block, keys, fate in lines for key in re.findall(r"`(\w+)`", keys)]


def changed(place: str) -> dict[str, Any]:
    """A layer that gives the key at `place` another value."""
    block, _, key = place.rpartition(".")
    names = [PLACES.get(part, part) for part in block.split(".")]
    if block.endswith(".select.S"):  # exactly one of the two is given
        other = {"max_objects": {"max_objects": 2}, "max_visible": {"max_objects": None, "max_visible": 3}}
        return unflatten({f"{'.'.join(names)}.{name}": value for name, value in other[key].items()})
    if place in OTHER:
        return unflatten({".".join([*names, key]): OTHER[place]})
    before: Any = BASE
    for name in names:
        before = before[name]
    value = before[key] if key in before else TYPES[block].model_fields[key].default
    return unflatten({".".join([*names, key]): f"another {key}" if isinstance(value, str) else value + 1})


def state(spec: Spec) -> tuple[tuple[str, ...], str | None]:
    """The hashes of three runs, and why the dataset that was prepared as BASE says is refused."""
    dataset = spec.dataset("scenes")
    runs = tuple(resolve(spec, name, dataset, {}).hash for name in ("learner", "learner:small", "stranger"))
    here = settings_of(Spec.model_validate(BASE).dataset("scenes"), "emorl", {}, None, native=True)
    try:
        refuse_changed_settings(ROOT, here, dataset, "emorl")
    except RequestError as error:
        return runs, str(error)
    return runs, None


def test_the_table_has_every_key_of_every_block_once() -> None:
    known = [
        f"{block}.{field.alias or name}"
        for block, kind in TYPES.items()
        for name, field in kind.model_fields.items()
    ]
    assert sorted(place for place, _ in rows()) == sorted(known)
    kinds = {*TYPES.values(), PublishedRow}  # published numbers are no settings
    assert {name for kind in (Spec, *kinds) for name in nested(kind)} <= {kind.__name__ for kind in kinds} | {
        "Download", "RemoteFile"  # where files are found
    }  # fmt: skip


def nested(kind: type[BaseModel]) -> set[str]:
    """The names of the typed blocks that the fields of a block hold."""
    found = set()
    for field in kind.model_fields.values():
        parts = [field.annotation]
        while parts:
            part = parts.pop()
            parts += getattr(part, "__args__", ())
            if isinstance(part, type) and issubclass(part, BaseModel):
                found.add(part.__name__)
    return found


@pytest.mark.parametrize(("place", "fate"), rows())
def test_a_changed_value_does_what_the_table_says(place: str, fate: str) -> None:
    layer = changed(place)
    assert deep_merge(BASE, layer) != BASE
    runs, refused = state(Spec.model_validate(deep_merge(BASE, layer)))
    assert (runs != state(Spec.model_validate(BASE))[0]) == (fate == "run")
    assert (refused is not None) == (fate == "data"), refused
