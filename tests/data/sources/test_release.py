"""A dataset's block says how its release is laid out; what it says wrongly is refused before any file is read."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from objbench import registry
from objbench.data.generate.generator import Generator, generator_of
from objbench.data.sources import release
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.data.sources.clevrtex.names import VARIANTS
from objbench.data.sources.layouts import LAYOUTS
from objbench.errors import RequestError
from objbench.spec.load import load_spec

BLOCKS = [(name, source) for name, dataset in load_spec().datasets.items() for source in dataset.sources]


@pytest.mark.parametrize(("dataset", "source"), BLOCKS)
def test_every_block_says_what_its_source_must_know(dataset: str, source: str) -> None:
    request = SourceRequest(load_spec().dataset(dataset), source)
    if source == "generated":
        assert isinstance(generator_of(request.dataset), Generator)
    elif source == "official":
        assert release.option(request, "variant", VARIANTS) in VARIANTS
    else:
        assert release.option(request, "layout", LAYOUTS) in LAYOUTS


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("emorl", "{layout: tetromino}", "unknown layout in datasets.mine.sources.emorl.options 'tetromino': "
         "did you mean 'tetrominoes'"),
        ("deepmind", "{layout: clever}", "unknown layout .* 'clever': did you mean 'clevr'"),
        ("deepmind", "{layuot: clevr}", "unknown key in datasets.mine.sources.deepmind.options 'layuot': "
         "did you mean 'layout'"),
        ("emorl", "{}", "datasets.mine.sources.emorl.options: 'layout' is missing; it is one of: tetrominoes, "),
        ("deepmind", "{layout: clevr}", r"mine \(deepmind\): expected one number of `entities` in its block, found \[\]"),
        ("official", "{variant: out}", "unknown variant in .* 'out': did you mean 'outd'"),
        ("official", "{}", "'variant' is missing; it is one of: full, outd"),
        ("generated", "{generator: clever}", "unknown generator 'clever': did you mean 'clevr'"),
        ("generated", "{}", "dataset 'mine' has no generator: its block has no sources.generated.options.generator"),
        ("generated", "{generator: clevr, max_object: 4}", "option of the clevr generator 'max_object': "
         "did you mean 'max_objects'"),
    ],
)  # fmt: skip
def test_options_are_checked(tmp_path: Path, source: str, options: str, message: str) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text(f"""
datasets:
  mine:
    title: Mine
    description: My own.
    slots: 4
    height: 35
    width: 35
    scenes_per_shard: 10
    citation: []
    default_source: {source}
    sources:
      {source}: {{title: Mine, licence: CC0, options: {options}}}
    protocols:
      standard: {{description: All., sources: {{{source}: {{train: {{stop: 5}}}}}}}}
""")
    with pytest.raises(RequestError, match=message):
        registry.get("sources", source)(SourceRequest(load_spec(layer).dataset("mine"), source))


def plan(start: int, stop: int, cut: tuple[int, int | None] | None = None) -> SplitPlan:
    return SplitPlan("any", "data", start, stop, cut=cut)


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        (plan(0, 10), plan(10, 20), False),
        (plan(0, 10), plan(9, 20), True),
        (plan(0, 9, (0, -4)), plan(0, 9, (-4, None)), False),
        (plan(0, 9, (0, -4)), plan(0, 9, (-5, -4)), True),
        (plan(0, 9, (0, None)), plan(0, 9, (-4, -2)), True),
        (plan(0, 9, (0, 4)), plan(0, 9, (-4, None)), False),  # how many qualify is not known
        (plan(0, 9, (0, 4)), plan(0, 9, (4, None)), False),
        (plan(0, 9, (0, 5)), plan(0, 9, (4, None)), True),
        (plan(0, 9, (-8, -4)), plan(0, 9, (-4, None)), False),
        (plan(0, 9, (-8, -3)), plan(0, 9, (-4, None)), True),
    ],
)
def test_splits_share_scenes_where_their_bounds_say_so(
    one: SplitPlan, other: SplitPlan, shared: bool
) -> None:
    assert one.shares(other) == other.shares(one) == shared
    assert not one.shares(dataclasses.replace(other, file="another"))


def test_no_built_in_protocol_has_test_scenes_in_train_without_a_word(tmp_path: Path) -> None:
    layer = tmp_path / "mine.yaml"
    splits = (
        "{train: {file: train}, val: {file: train, start: -6}, test: {file: train, stop: 10, in_train: true}}"
    )
    protocol = f"{{description: d, sources: {{emorl: {splits}}}}}"
    layer.write_text(f"datasets: {{tetrominoes: {{protocols: {{mine: {protocol}}}}}}}")
    request = SourceRequest(load_spec(layer).dataset("tetrominoes@mine"), "emorl")
    with pytest.raises(
        RequestError, match=r"emorl\.val: has records of train; give it others, or say in_train: true"
    ):
        release.protocol_plan(request, {"train": 60})
    for name, source in BLOCKS:
        for protocol in load_spec().datasets[name].protocols:
            asked = SourceRequest(load_spec().dataset(f"{name}@{protocol}"), source)
            if source in asked.dataset.sources and source in ("emorl", "deepmind"):
                release.protocol_plan(asked, dict.fromkeys(release.source_spec(asked).records, 100_000))
