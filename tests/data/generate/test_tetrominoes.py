from __future__ import annotations

import hashlib
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.generated import arrays, assert_same, even
from helpers.tfrecords import MINI_ARRAYS, request

from objbench.data.generate import tetrominoes as law
from objbench.data.generate.generator import _one_thread, generator_of
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SplitPlan
from objbench.data.sources.generated import GeneratedSource
from objbench.errors import RequestError
from objbench.spec.load import load_spec

LAW_SCENES = 40_000
KEY = law.Tetrominoes().stream_key("train", 0)


@pytest.fixture(scope="module")
def scenes() -> SceneBatch:
    return SceneBatch.concatenate(
        [
            arrays(law.Tetrominoes, "train", start, start + 2000, seed=0)
            for start in range(0, LAW_SCENES, 2000)
        ]
    )


def test_the_real_factors_render_to_the_real_pixels() -> None:
    with np.load(MINI_ARRAYS) as real:
        pieces = law.Pieces(
            *(torch.from_numpy(real[name][:, 1:]).long() for name in ("shape", "x", "y", "color"))
        )
        images, masks = law.render(pieces)
        assert np.array_equal(images.numpy(), real["image"])
        assert np.array_equal(masks.numpy(), real["mask"].argmax(1))


def test_every_shape_has_four_cells_and_its_own_pattern() -> None:
    assert [shape.count("#") for shape in law.SHAPES] == [4] * 19
    assert len(set(law.SHAPES)) == 19


def test_factors_describe_what_is_in_the_picture(scenes: SceneBatch) -> None:
    part = scenes[:200]
    x, y, shape, color = (part.factors[name] for name in ("x", "y", "shape", "color"))
    for n in range(len(part)):
        for entity in (1, 2, 3):
            rows, columns = np.nonzero(part.masks[n] == entity)
            assert (rows.min(), columns.min()) == (x[n, entity], y[n, entity])
            pattern = law.SHAPES[int(shape[n, entity]) - 1].split("/")
            cells = {(r, c) for r, row in enumerate(pattern) for c, mark in enumerate(row) if mark == "#"}
            found = {
                (int(r), int(c))
                for r, c in zip((rows - rows.min()) // 5, (columns - columns.min()) // 5, strict=True)
            }
            assert found == cells
            assert np.array_equal(part.images[n][rows, columns].max(0) > 0, color[n, entity] > 0)
    assert not part.images[part.masks == 0].any()


def test_factors_have_the_upstream_form(scenes: SceneBatch) -> None:
    assert {name: values.shape[1:] for name, values in scenes.factors.items()} == {
        "x": (4,), "y": (4,), "shape": (4,), "visibility": (4,), "color": (4, 3),
    }  # fmt: skip
    assert {values.dtype for values in scenes.factors.values()} == {np.dtype(np.float32)}
    for name in ("x", "y", "shape", "color"):
        assert not scenes.factors[name][:, 0].any()
    assert (scenes.factors["visibility"] == 1).all()


def test_pieces_never_overlap_and_are_never_clipped(scenes: SceneBatch) -> None:
    areas = np.stack([(scenes.masks == entity).sum(axis=(1, 2)) for entity in range(4)], axis=1)
    assert (areas == [925, 100, 100, 100]).all()


def test_colours_are_uniform(scenes: SceneBatch) -> None:
    codes = scenes.factors["color"][:, 1:] @ np.array([4, 2, 1], np.float32)
    for entity in range(3):
        counts = np.bincount(codes[:, entity].astype(int), minlength=8)
        assert counts[0] == counts[7] == 0
        assert even(counts[1:7])


def test_the_share_of_scenes_with_z_or_s_is_upstreams(scenes: SceneBatch) -> None:
    with_z_or_s = np.isin(scenes.factors["shape"], [11, 12, 13, 14]).any(axis=1).mean()
    # 496,682 of upstream's million; redrawing only the place of a colliding piece would give 0.509
    assert abs(with_z_or_s - 0.4967) < 3.5 * math.sqrt(0.25 / LAW_SCENES)


def test_mirrored_shapes_are_equally_likely(scenes: SceneBatch) -> None:
    patterns = list(law.SHAPES)
    mirrored = ["/".join(row[::-1] for row in pattern.split("/")) for pattern in patterns]
    counts = np.bincount(scenes.factors["shape"][:, 1:].astype(int).ravel(), minlength=20)[1:]
    for i, mirror in enumerate(mirrored):
        assert even(counts[[i, patterns.index(mirror)]])


def test_proposals_are_uniform() -> None:
    index = torch.arange(100_000)
    pieces = law.propose(index, torch.zeros_like(index), KEY, 1)
    for p in range(3):
        shape, row, column = (values[:, p].numpy() for values in pieces[:3])
        assert even(np.bincount(shape, minlength=20)[1:])
        for i, pattern in enumerate(law.SHAPES, start=1):
            height, width = len(pattern.split("/")), len(pattern.split("/")[0])
            for places, cells in [(row[shape == i], height), (column[shape == i], width)]:
                counts = np.bincount(places)
                assert len(counts) == 35 - 5 * cells + 1
                assert even(counts)


def test_a_scene_is_the_first_proposal_without_overlap() -> None:
    index = torch.arange(50)
    drawn = law.draw(index, KEY, 1)
    for n in range(len(index)):
        attempt = 0
        while True:
            one = law.propose(index[n : n + 1], torch.tensor([attempt]), KEY, 1)
            if all(count_pixels(one, p) for p in range(3)):
                break
            attempt += 1
        for values, expected in zip(drawn, one, strict=True):
            assert torch.equal(values[n], expected[0])


def count_pixels(pieces: law.Pieces, p: int) -> bool:
    """Whether piece p shares no pixel with the others: by drawing each alone."""
    alone = [law.render(law.Pieces(*(values[:, [q]] for values in pieces)))[1] > 0 for q in range(3)]
    return not any((alone[p] & alone[q]).any() for q in range(3) if q != p)


def test_the_stream_of_version_1_is_fixed() -> None:
    digest = hashlib.sha256()
    for split, grid in [("train", 1), ("val", 1), ("test", 5)]:
        batch = arrays(law.Tetrominoes, split, 0, 100, seed=3, grid=grid)
        digest.update(batch.images.tobytes() + batch.masks.tobytes())
    assert law.Tetrominoes.version == 1
    assert digest.hexdigest() == "d051c766e916e2e8398fbbd3d9cea01e0dd389bc3ac435aa784677339108b264"


@pytest.mark.parametrize("cut", [1, 17, 99])
def test_the_batch_size_changes_nothing(scenes: SceneBatch, cut: int) -> None:
    parts = [arrays(law.Tetrominoes, "train", 0, cut, 0), arrays(law.Tetrominoes, "train", cut, 100, 0)]
    assert_same(SceneBatch.concatenate(parts), scenes[:100])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_changes_nothing(scenes: SceneBatch) -> None:
    assert_same(arrays(law.Tetrominoes, "train", 0, 5000, 0, device="cuda"), scenes[:5000])


def test_an_index_beyond_32_bits_is_another_scene() -> None:
    near, far = (
        arrays(law.Tetrominoes, "train", 5, 6, 0),
        arrays(law.Tetrominoes, "train", 2**32 + 5, 2**32 + 6, 0),
    )
    assert not np.array_equal(near.images, far.images)


@pytest.mark.parametrize(
    ("split", "seed", "grid"),
    [("val", 0, 5), ("test", 0, 5), ("train", 1, 5), ("train", 0, 1), ("train", 0, 10)],
)
def test_every_stream_is_its_own(split: str, seed: int, grid: int) -> None:
    base, other = (
        arrays(law.Tetrominoes, "train", 0, 200, 0, grid=5),
        arrays(law.Tetrominoes, split, 0, 200, seed, grid=grid),
    )
    shapes = [batch.factors["shape"][:, 1:] for batch in (base, other)]
    assert (shapes[0] == shapes[1]).mean() < 0.1  # by chance one in 19


def test_the_grid_aligns_positions_and_reaches_every_place() -> None:
    factors = arrays(law.Tetrominoes, "train", 0, 3000, 0, grid=5).factors
    shape, row, column = (factors[name][:, 1:].astype(int).ravel() for name in ("shape", "x", "y"))
    for i, pattern in enumerate(law.SHAPES, start=1):
        height, width = len(pattern.split("/")), len(pattern.split("/")[0])
        assert set(row[shape == i]) == set(range(0, 35 - 5 * height + 1, 5))
        assert set(column[shape == i]) == set(range(0, 35 - 5 * width + 1, 5))


@pytest.mark.parametrize("grid", [0, -5, 11, 2.5])
def test_a_grid_without_sense_is_refused(grid: int) -> None:
    with pytest.raises(RequestError, match=rf"'grid' of tetrominoes is {grid}; it must be 1 to 10 pixels"):
        arrays(law.Tetrominoes, "train", 0, 1, 0, grid=grid)


@pytest.fixture(scope="module")
def striped() -> SceneBatch:
    return arrays(law.Tetrominoes, "train", 0, 4000, 0, grid=5, striped=True)


def test_stripes_are_those_of_the_factors(striped: SceneBatch) -> None:
    for n in range(20):
        for row in range(35):
            for column in range(35):
                entity = striped.masks[n, row, column]
                along = (row, column, row + column, row - column)[
                    int(striped.factors["direction"][n, entity])
                ]
                first = (along + striped.factors["phase"][n, entity]) % 5 in (0, 1)
                color = striped.factors["color" if first else "second_color"][n, entity]
                assert (striped.images[n, row, column] == 255 * color).all()


def test_stripes_change_neither_pieces_nor_places(striped: SceneBatch) -> None:
    plain = arrays(law.Tetrominoes, "train", 0, 4000, 0, grid=5)
    assert np.array_equal(plain.masks, striped.masks)
    for name in ("x", "y", "shape", "visibility"):
        assert np.array_equal(plain.factors[name], striped.factors[name])


def test_stripes_are_uniform_for_every_entity(striped: SceneBatch) -> None:
    bits = np.array([4, 2, 1], np.float32)
    for entity in range(4):
        first, second, direction, phase = (
            values[:, entity] @ bits if values.ndim == 3 else values[:, entity]
            for values in (striped.factors[name] for name in ("color", "second_color", "direction", "phase"))
        )
        pairs = np.bincount((first * 8 + second).astype(int), minlength=64)
        assert even(pairs[[8 * a + b for a in range(1, 7) for b in range(1, 7) if a != b]])
        assert even(np.bincount(direction.astype(int), minlength=4))
        assert even(np.bincount(phase.astype(int), minlength=5))


def test_the_stripes_of_version_1_are_fixed(striped: SceneBatch) -> None:
    digest = hashlib.sha256(striped[:100].images.tobytes()).hexdigest()
    assert law.Tetrominoes.version == 1
    assert digest == "4b7d66d19bc1b166809180c5fec63f117cb65b4a2ed109197b016644374cb285"


def test_all_cells_of_a_striped_entity_look_the_same(striped: SceneBatch) -> None:
    for n in range(50):
        cells = striped.images[n].reshape(7, 5, 7, 5, 3).swapaxes(1, 2).reshape(49, 75)
        owners = striped.masks[n][::5, ::5].ravel()
        for entity in range(4):
            assert len(np.unique(cells[owners == entity], axis=0)) == 1


@pytest.mark.parametrize("cut", [1, 17])
def test_the_batch_size_changes_no_stripe(striped: SceneBatch, cut: int) -> None:
    parts = [
        arrays(law.Tetrominoes, "train", start, stop, 0, grid=5, striped=True)
        for start, stop in [(0, cut), (cut, 100)]
    ]
    assert_same(SceneBatch.concatenate(parts), striped[:100])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_changes_no_stripe(striped: SceneBatch) -> None:
    assert_same(arrays(law.Tetrominoes, "train", 0, 4000, 0, device="cuda", grid=5, striped=True), striped)


def test_the_protocol_striped_is_striped_on_the_grid() -> None:
    assert generator_of(load_spec().dataset("tetrominoes@striped")) == law.Tetrominoes(grid=5, striped=True)


def source(dataset: str = "tetrominoes", raw: Path | None = None, **sizes: int) -> GeneratedSource:
    return GeneratedSource(request("generated", raw, dataset, **sizes))


def test_the_source_plans_the_protocols_sizes() -> None:
    assert source().plan() == [
        SplitPlan("train", "data", 0, 60_000),
        SplitPlan("val", "data", 0, 320),
        SplitPlan("test", "data", 0, 320),
    ]
    assert source().files == []
    assert source().generator == {"version": 1, "seed": 0}


def test_the_source_plans_other_sizes_as_not_standard() -> None:
    assert source(train=70_000, val=0, test=5).plan() == [
        SplitPlan("train", "data", 0, 70_000, standard=False),
        SplitPlan("test", "data", 0, 5, standard=False),
    ]


@pytest.mark.parametrize("split", ["val", "test"])
def test_val_and_test_cannot_be_larger(split: str) -> None:
    with pytest.raises(RequestError, match=rf"--{split} 321: .* has 320 {split} scenes; only train"):
        source(**{split: 321}).plan()


def test_the_source_reads_no_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="reads no files; leave out --raw"):
        source(raw=tmp_path)


def test_the_source_gives_the_scenes_that_are_not_done() -> None:
    opened = source("tetrominoes@aligned", train=2300, val=4, test=0)
    batches = list(opened.read(opened.plan(), {"train": 100}))
    assert [(split, len(batch)) for split, batch in batches] == [("train", 2000), ("train", 200), ("val", 4)]
    train = SceneBatch.concatenate([batch for split, batch in batches if split == "train"])
    assert_same(train, arrays(law.Tetrominoes, "train", 100, 2300, 0, grid=5))
    assert_same(batches[-1][1], arrays(law.Tetrominoes, "val", 0, 4, 0, grid=5))


def test_torch_keeps_its_threads() -> None:
    torch.set_num_threads(2)
    list(generator_of(load_spec().dataset("tetrominoes")).scenes("train", 0, 3, 0))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_torch_keeps_its_threads_where_several_generate() -> None:
    torch.set_num_threads(2)
    inside, left = threading.Event(), threading.Event()

    def hold() -> int:
        with _one_thread:
            inside.set()
            assert left.wait(60)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(hold)
        assert inside.wait(60)
        with _one_thread:
            assert torch.get_num_threads() == 1
        left.set()
        assert held.result() == 2
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
    torch.set_num_threads(1)


def test_an_option_that_the_generator_does_not_know_is_refused(tmp_path: Path) -> None:
    layer = tmp_path / "mine.yaml"
    layer.write_text("datasets: {tetrominoes: {protocols: {aligned: {options: {gird: 5}}}}}")
    with pytest.raises(RequestError, match="option of the tetrominoes generator 'gird': did you mean 'grid'"):
        generator_of(load_spec(layer).dataset("tetrominoes@aligned"))
