"""A dataset's block says how its release is laid out; what it says wrongly is refused before any file is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from objbench import registry
from objbench.data.generate.generator import Generator, generator_of
from objbench.data.sources import release
from objbench.data.sources.base import SourceRequest
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
