from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.default_dtype import float64_by_default
from helpers.generated import assert_same

import objbench
from objbench.data.format.manifest import read_manifest
from objbench.data.generate.clevr.generator import Clevr
from objbench.data.generate.generator import generator_of
from objbench.data.generate.tensors import SceneTensors
from objbench.data.generate.tetrominoes import Tetrominoes
from objbench.data.prepare.in_memory import splits_in_memory
from objbench.data.prepare.prepare import prepare
from objbench.data.read.load import load
from objbench.data.scene import SceneBatch
from objbench.errors import ObjbenchError, RequestError
from objbench.spec.load import load_spec

CPU = torch.device("cpu")
Change = Callable[[torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(
    ("dataset", "sizes", "seed"),
    [
        ("tetrominoes@aligned", {"train": 2100, "val": 30, "test": 20}, 3),
        ("clevr6", {"train": 3, "val": 2, "test": 1}, 0),
    ],
)
def test_splits_in_memory_are_those_that_prepare_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, sizes: dict[str, int], seed: int
) -> None:
    monkeypatch.setattr(Clevr, "block", 2)  # so that there is work for more than one process
    reference = load_spec().dataset(dataset)
    here = splits_in_memory(reference, sizes, CPU, seed)
    written = prepare(reference, "generated", tmp_path, sizes=sizes, seed=seed)
    assert list(here) == list(written.splits) == ["train", "val", "test"]
    for name, scenes in here.items():
        there = load(dataset, name, data=tmp_path)
        assert torch.equal(scenes.images, there.images)
        assert torch.equal(scenes.masks, there.masks)
        assert (scenes.keys, scenes.split, scenes.spec) == (there.keys, name, reference)
        assert scenes.factors.keys() == there.factors.keys()
        for factor, values in scenes.factors.items():
            assert np.array_equal(values, there.factors[factor])
        assert scenes.manifest is not None
        assert scenes.manifest.splits[name] == written.splits[name].model_copy(update={"shards": []})
    without_shards = {name: split.model_copy(update={"shards": []}) for name, split in written.splits.items()}
    assert here["train"].manifest == read_manifest(tmp_path / dataset / "generated").model_copy(
        update={"splits": without_shards}
    )


def test_a_split_may_be_left_out_but_not_all() -> None:
    reference = load_spec().dataset("tetrominoes@aligned")
    assert list(splits_in_memory(reference, {"train": 5, "val": 0, "test": 2}, CPU)) == ["train", "test"]
    with pytest.raises(RequestError, match="all splits are of size 0"):
        splits_in_memory(reference, {"train": 0, "val": 0, "test": 0}, CPU)


def test_a_protocol_without_a_generator_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown source of clevr6@first70k 'generated'"):
        splits_in_memory(load_spec().dataset("clevr6@first70k"), {}, CPU)


def test_blocks_make_up_the_stream() -> None:
    generator = generator_of(load_spec().dataset("tetrominoes"))
    whole = SceneBatch.concatenate([batch.arrays() for batch in generator.scenes("val", 3, 2600, 1)])
    blocks = list(generator.blocks("val", 3, 2600, 1))
    assert [len(block) for block in blocks] == [2000, 597]
    assert_same(SceneBatch.concatenate([block.decode() for block in blocks]), whole)
    assert_same(blocks[1][10:20].decode(), whole[2010:2020])
    assert len(blocks[1][590:900]) == 7
    assert len(blocks[1][9:4]) == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dataset", ["multi_dsprites", "clevr6"])
def test_on_a_gpu_only_train_is_made_there(dataset: str) -> None:
    sizes = {"train": 40, "val": 4, "test": 4}
    reference = load_spec().dataset(dataset)
    cuda, cpu = (splits_in_memory(reference, sizes, torch.device(d)) for d in ("cuda", "cpu"))
    for split in ("val", "test"):
        assert cuda[split].images.is_cuda
        assert torch.equal(cuda[split].images.cpu(), cpu[split].images)
    assert torch.equal(cuda["train"].masks.cpu(), cpu["train"].masks)
    assert (cuda["train"].images.cpu().int() - cpu["train"].images.int()).abs().max() <= 1


def test_generate_gives_scenes_in_memory() -> None:
    scenes = objbench.generate("tetrominoes@aligned", 12, seed=4, split="val")
    (made,) = generator_of(load_spec().dataset("tetrominoes@aligned")).scenes("val", 0, 12, 4)
    expected = made.arrays()
    assert torch.equal(scenes.images, torch.from_numpy(expected.images).permute(0, 3, 1, 2))
    assert torch.equal(scenes.masks, torch.from_numpy(expected.masks))
    assert scenes.keys[:2] == ["00000000", "00000001"]
    assert np.array_equal(scenes.factors["x"], expected.factors["x"])
    assert (str(scenes.spec), scenes.split, len(scenes)) == ("tetrominoes@aligned", "val", 12)


@pytest.mark.parametrize("dataset", ["tetrominoes@striped", "multi_dsprites", "clevr6", "clevrtex"])
def test_another_default_type_changes_no_scene(dataset: str) -> None:
    expected = objbench.generate(dataset, 2)
    with float64_by_default():
        found = objbench.generate(dataset, 2)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.masks, expected.masks)
    for name, values in expected.factors.items():
        assert np.array_equal(found.factors[name], values)
        assert found.factors[name].dtype == values.dtype


def test_numbers_of_numpy_are_numbers() -> None:
    expected = objbench.generate("tetrominoes", 2, seed=5)
    found = objbench.generate("tetrominoes", np.int64(2), seed=np.uint8(5))
    assert torch.equal(found.images, expected.images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objbench.generate("tetrominos", 1), "did you mean 'tetrominoes'"),
        (lambda: objbench.generate("tetrominoes@align", 1), "did you mean 'aligned'"),
        (lambda: objbench.generate("tetrominoes", 1, split="trian"), "did you mean 'train'"),
        (lambda: objbench.generate("clevr6@first70k", 4), "unknown source of clevr6@first70k 'generated'"),
        (
            lambda: objbench.generate("tetrominoes", 1, seed=-3),
            "seed: expected a whole number of at least 0, found -3",
        ),
        (lambda: objbench.generate("tetrominoes", 1, seed=1.0), "seed: expected a whole number .* found 1.0"),
        (
            lambda: objbench.generate("tetrominoes", 1, seed=True),
            "seed: expected a whole number .* found True",
        ),
        (
            lambda: objbench.generate("tetrominoes", 1, seed=None),
            "seed: expected a whole number .* found None",
        ),
        (lambda: objbench.generate("tetrominoes", 0), "n: expected a whole number of at least 1, found 0"),
        (
            lambda: objbench.generate("tetrominoes", 2.0),
            "n: expected a whole number of at least 1, found 2.0",
        ),
        (
            lambda: objbench.generate("tetrominoes", "3"),
            "n: expected a whole number of at least 1, found '3'",
        ),
        (
            lambda: objbench.generate("tetrominoes", np.True_),
            "n: expected a whole number of at least 1, found np.T",
        ),
        (lambda: objbench.generate("tetrominoes", 1, device="tpu"), "unknown device 'tpu'"),
    ],
)
def test_generate_refuses_what_it_does_not_know(call: Callable[[], object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        call()


def _same(values: torch.Tensor) -> torch.Tensor:
    return values


def _three(values: torch.Tensor) -> torch.Tensor:
    return values[:3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": _three, "images": _three, "masks": _three}, "gave 3 scenes, 0 to 2; asked for 4, 0 to 3"),
        ({"index": lambda index: index + 1}, "gave 4 scenes, 1 to 4; asked for 4, 0 to 3"),
        ({"images": _three}, r"gave images \(3, 35, 35, 3\) and masks \(4, 35, 35\) for 4 scenes"),
        ({"masks": lambda masks: masks[..., None]}, r"masks \(4, 35, 35, 1\) for 4 scenes; expected"),
        ({"images": lambda images: images / 255}, "gave float32 images and uint8 masks, not uint8"),
        ({"masks": torch.Tensor.long}, "gave uint8 images and int64 masks, not uint8"),
        ({"masks": torch.Tensor.bool}, "gave uint8 images and bool masks, not uint8"),
        ({"x": _three}, r"gave the factor 'x' as \(3, 4\) for 4 scenes; expected \(N,E,...\) or \(N,\)"),
        (
            {"x": lambda x: x.where(x.sum(1, True) != x[2].sum(), torch.nan)},
            "scene 2: its factor 'x' holds nan",
        ),
        ({"x": lambda x: x * 1j}, "gave the factor 'x' as complex64 .*, expected a tensor of whole numbers"),
    ],
)
def test_a_generator_that_breaks_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Change], message: str
) -> None:
    make = Tetrominoes.make

    def broken(*args: Any) -> SceneTensors:
        made = make(*args)
        factors = {name: change.get(name, _same)(values) for name, values in made.factors.items()}
        fields = {name: change.get(name, _same)(getattr(made, name)) for name in ("index", "images", "masks")}
        return SceneTensors(**fields, factors=factors, names=made.names)

    monkeypatch.setattr(Tetrominoes, "make", broken)
    tetrominoes = load_spec().dataset("tetrominoes")
    sizes = {"train": 4, "val": 0, "test": 0}
    for call in (
        lambda: objbench.generate("tetrominoes", 4),
        lambda: splits_in_memory(tetrominoes, sizes, CPU),
        lambda: prepare(tetrominoes, "generated", tmp_path, sizes=sizes, workers=1),
    ):
        with pytest.raises(ObjbenchError, match=f"the generator Tetrominoes.*{message}"):
            call()


def test_a_generator_that_gives_no_tensors_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tetrominoes, "make", lambda *_: None)
    with pytest.raises(ObjbenchError, match="the generator Tetrominoes gave None, expected SceneTensors"):
        objbench.generate("tetrominoes", 4)


def test_factors_have_the_same_types_in_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    make = Tetrominoes.make

    def broken(generator: Tetrominoes, split: str, start: int, *args: Any) -> SceneTensors:
        made = make(generator, split, start, *args)
        return replace(
            made, factors={**made.factors, "x": made.factors["x"].int() if start else made.factors["x"]}
        )

    monkeypatch.setattr(Tetrominoes, "make", broken)
    monkeypatch.setattr("objbench.data.generate.generator.BATCH", 3)
    message = "the factors must have the same names, types and shapes in every scene: found .*'x': '.*int"
    with pytest.raises(ObjbenchError, match=message):
        objbench.generate("tetrominoes", 4)
    with pytest.raises(ObjbenchError, match=message):
        splits_in_memory(load_spec().dataset("tetrominoes"), {"train": 4, "val": 0, "test": 0}, CPU)


def test_scenes_that_do_not_fit_into_memory_are_refused_before_any_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 4 * 35 * 35 * 25  # of 10 + 3 + 2 scenes, the 10 are there twice for a moment
    monkeypatch.setattr("objbench.data.prepare.in_memory.free_memory", lambda device: free)
    tetrominoes = load_spec().dataset("tetrominoes")
    sizes = {"train": 10, "val": 3, "test": 2}
    assert len(splits_in_memory(tetrominoes, sizes, torch.device("cpu"))["train"]) == 10
    monkeypatch.setattr(Tetrominoes, "make", None)  # nothing may be made
    message = (
        r"tetrominoes: 16 scenes need about 0.1 MB of memory \(cpu\), only 0.1 MB are free; ask for fewer"
    )
    with pytest.raises(RequestError, match=message):
        splits_in_memory(tetrominoes, sizes | {"test": 3}, torch.device("cpu"))
    with pytest.raises(RequestError, match="13 scenes need about"):
        objbench.generate("tetrominoes", 13)


def test_generate_takes_a_dataset_of_ones_own(tmp_path: Path) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text("""
datasets:
  crowded:
    title: Crowded CLEVR
    description: Three or four objects.
    slots: 5
    height: 128
    width: 128
    scenes_per_shard: 10
    citation: []
    default_source: generated
    sources:
      generated: {title: Own, licence: CC0, options: {generator: clevr, max_objects: 5}}
    protocols:
      standard: {description: All., options: {max_objects: 4}, sources: {generated: {test: {stop: 3}}}}
""")
    scenes = objbench.generate("crowded", 2, seed=1, split="test", config=layer)
    (made,) = Clevr(max_objects=4).scenes("test", 0, 2, 1)  # the protocol's option over the source's
    assert torch.equal(scenes.masks, made.masks)


def test_generated_scenes_cannot_be_selected(tmp_path: Path) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text(
        "datasets: {tetrominoes: {protocols: {few: {description: Few., select: {generated: {max_objects: 2}}, "
        "sources: {generated: {train: {stop: 9}, test: {stop: 3}}}}}}}"
    )
    message = r"tetrominoes.protocols.few.select: the source 'generated' cannot select by max_objects"
    with pytest.raises(RequestError, match=message):
        objbench.generate("tetrominoes@few", 1, config=layer)
    with pytest.raises(RequestError, match=message):
        splits_in_memory(load_spec(layer).dataset("tetrominoes@few"), {}, torch.device("cpu"))


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ("{}", "found start 0 and stop null"),
        ("{stop: -4}", "found start 0 and stop -4"),
        ("{start: 5, stop: 3}", "found start 5 and stop 3"),
        ("{start: -2, stop: 3}", "found start -2 and stop 3"),
    ],
)
def test_a_split_of_a_stream_has_an_end(tmp_path: Path, rule: str, found: str) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text(
        f"datasets: {{tetrominoes: {{protocols: {{own: {{description: d, sources: {{generated: {{train: {rule}, "
        "val: {stop: 2}, test: {stop: 2}}}}}}}"
    )
    tetrominoes = load_spec(layer).dataset("tetrominoes@own")
    message = (
        rf"tetrominoes\.protocols\.own\.sources\.generated\.train: expected 0 <= start < stop, .*; {found}"
    )
    with pytest.raises(RequestError, match=message):
        prepare(tetrominoes, "generated", tmp_path, workers=1)
    with pytest.raises(RequestError, match=message):
        splits_in_memory(tetrominoes, {}, CPU)


def test_a_size_that_the_generator_does_not_make_is_refused(tmp_path: Path) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text("datasets: {tetrominoes: {height: 64}}")
    message = "generator makes scenes of 35x35, but height and width say 64x35"
    with pytest.raises(RequestError, match=message):
        objbench.generate("tetrominoes", 1, config=layer)
    with pytest.raises(RequestError, match=message):
        splits_in_memory(
            load_spec(layer).dataset("tetrominoes"), {"train": 2, "test": 1}, torch.device("cpu")
        )
