from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from helpers.generated import arrays
from PIL import Image

from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.generator import Clevr
from objbench.data.generate.generator import generator_of
from objbench.data.generate.tracer import tonemap
from objbench.data.generate.tracer.objects import Objects
from objbench.data.scene import SceneBatch
from objbench.errors import RequestError
from objbench.spec.load import load_spec

KEY = Clevr().stream_key("train", 0)
DRAWN = 120


@pytest.fixture(scope="module")
def world() -> sampling.World:
    return sampling.find(sampling.CLEVR, torch.arange(DRAWN), KEY, 10, ahead=32).world


@pytest.fixture(scope="module")
def scenes() -> SceneBatch:
    return arrays(Clevr, "train", 0, 6, 0)


def even(values: torch.Tensor, first: int, last: int) -> bool:
    """Whether integers are as drawn uniformly from first..last, every count within five standard deviations."""
    kinds = last - first + 1
    found = torch.bincount(values, minlength=last + 1)
    deviation = math.sqrt(len(values) * (1 - 1 / kinds) / kinds)
    return bool(found[:first].sum() == 0 and len(found) == last + 1) and bool(
        ((found[first:] - len(values) / kinds).abs() < 5 * deviation).all()
    )


def present(objects: Objects) -> torch.Tensor:
    return objects.shape > 0


@pytest.mark.parametrize("most", [6, 10])
def test_counts_are_uniform(most: int) -> None:
    assert even(sampling.counts(torch.arange(20_000), KEY, most), 3, most)


def test_proposed_kinds_are_uniform() -> None:
    index = torch.arange(400)
    objects, _ = sampling.propose(index, torch.zeros_like(index), torch.full_like(index, 10), KEY)
    for values, last in (
        (objects.size, 2),
        (objects.material, 2),
        (objects.shape, 3),
        (objects.color, 8),
    ):
        assert even(values.flatten(), 1, last)
    tens = (objects.rotation.flatten() / 36).floor().long()
    assert even(tens, 0, 9)
    first = objects.place[:2, :, 0]  # nothing stands in the way of the first object
    assert first.abs().max() < 3
    assert even(((first.flatten() + 3) / 0.6).floor().long(), 0, 9)


def test_an_object_takes_the_first_free_of_fifty_tries() -> None:
    index = torch.arange(40)
    count = torch.full_like(index, 10)
    objects, placed = sampling.propose(index, torch.zeros_like(index), count, KEY)
    for n in range(len(index)):
        good = True
        for k in range(10):
            words = sampling.words_of(index[n : n + 1, None], 0, torch.arange(50), KEY, k)[0]
            places = 6 * words[:, :2].double() * 2.0**-32 - 3
            free = [p for p in places if all(clear(p, objects, n, k, j) for j in range(k))]
            good &= bool(free)
            if free:
                assert torch.allclose(objects.place[:2, n, k], free[0], atol=1e-12)
        assert good == placed[n]
    assert 0 < placed.sum() < len(index)


def clear(place: torch.Tensor, objects: Objects, n: int, k: int, j: int) -> bool:
    """Whether object k of scene n may stand at `place` beside object j, in upstream's words."""
    dx, dy = (place - objects.place[:2, n, j]).tolist()
    if math.hypot(dx, dy) - float(objects.radius[n, k]) - float(objects.radius[n, j]) < 0.25:
        return False
    right, behind = (0.6563112735748291, 0.7544902563095093), (-0.754490315914154, 0.6563112735748291)
    return all(abs(dx * axis[0] + dy * axis[1]) >= 0.4 for axis in (right, behind))


def test_every_pair_of_objects_keeps_its_distance_and_margins(world: sampling.World) -> None:
    objects = world.objects
    for n in range(DRAWN):
        count = int(present(objects)[n].sum())
        for k in range(count):
            assert all(clear(objects.place[:2, n, k], objects, n, k, j) for j in range(k))


def test_sizes_and_heights(world: sampling.World) -> None:
    objects, there = world.objects, present(world.objects)
    assert torch.equal(
        objects.radius[there], torch.tensor([0.0, 0.7, 0.35], dtype=torch.float64)[objects.size[there]]
    )
    assert torch.equal(objects.place[2][there], objects.radius[there])
    assert (there.sum(1) >= 3).all()
    assert (there.int().diff(dim=1) <= 0).all()  # no gap before an object
    for values in (objects.size, objects.material, objects.color):
        assert torch.equal(values > 0, there)


def test_every_object_shows_200_pixels(world: sampling.World) -> None:
    shown = torch.stack([(world.masks == entity).sum((1, 2)) for entity in range(1, 11)], 1)
    there = present(world.objects)
    assert shown[there].min() >= 200
    assert shown[~there].max() == 0
    assert torch.equal(shown, sampling.visible_pixels(world.masks))


def test_a_scene_is_the_first_good_proposal() -> None:
    index = torch.arange(4)
    world = sampling.find(sampling.CLEVR, index, KEY, 10).world
    count = sampling.counts(index, KEY, 10)
    for n in range(len(index)):
        for attempt in range(1000):
            one, placed = sampling.propose(index[n : n + 1], torch.tensor([attempt]), count[n : n + 1], KEY)
            masks = sampling.label_map(one, world.camera.only(torch.tensor([n])))
            shown = sampling.visible_pixels(masks)[0, : int(count[n])]
            if placed and shown.min() >= 200:
                break
        assert torch.equal(world.objects.place[:, n], one.place[:, 0])
        assert torch.equal(world.masks[n], masks[0])


def test_camera_and_lamps_are_jittered(world: sampling.World) -> None:
    for places, middle, reach in (
        (world.camera.place[:, :, None], [sampling.CAMERA], 0.5),
        (world.lamps, sampling.LAMPS, 1.0),
    ):
        offset = places - torch.tensor(middle).double().T[:, None]
        assert 0.95 * reach < offset.abs().max() <= reach
        assert offset.mean(1).abs().max() < 5 * reach / math.sqrt(3 * DRAWN)


def test_factors_have_the_upstream_form(scenes: SceneBatch) -> None:
    expected = {
        **dict.fromkeys(("x", "y", "z", "rotation", "visibility"), ((11,), np.float32)),
        "pixel_coords": ((11, 3), np.float32),
        **dict.fromkeys(("size", "material", "shape", "color"), ((11,), np.uint8)),
    }
    assert {name: (v.shape[1:], v.dtype.type) for name, v in scenes.factors.items()} == expected
    visible = scenes.factors["visibility"]
    assert (visible[:, 0] == 1).all()
    for name in expected.keys() - {"visibility"}:
        assert not scenes.factors[name][:, 0].any()
        assert not scenes.factors[name][visible == 0].any()
    assert scenes.images.shape == (6, 128, 128, 3)
    assert scenes.images.dtype == scenes.masks.dtype == np.uint8


def test_masks_name_the_objects_of_the_factors(scenes: SceneBatch) -> None:
    """Each object's pixels lie around its projected centre, and are of its colour's hue."""
    hue = {1: (0,), 2: (1, 2), 3: (1,), 4: (2,), 5: (0,), 7: (0, 2), 8: (0, 1)}  # strongest channels
    for n in range(len(scenes)):
        for entity in set(np.unique(scenes.masks[n])) - {0}:
            rows, columns = np.nonzero(scenes.masks[n] == entity)
            column, row = (scenes.factors["pixel_coords"][n, entity, :2] - (64, 29)) / 1.5
            if 0 <= column < 128 and 0 <= row < 128:  # else the crop cuts the object
                assert rows.min() - 15 < row < rows.max() + 15
                assert columns.min() - 15 < column < columns.max() + 15
            color = int(scenes.factors["color"][n, entity])
            if len(rows) > 60 and color in hue:
                mean = scenes.images[n][rows, columns].mean(0)
                assert mean.argmax() in hue[color]


def test_the_batch_changes_nothing(scenes: SceneBatch) -> None:
    parts = [arrays(Clevr, "train", 0, 1, 0), arrays(Clevr, "train", 1, 6, 0)]
    again = SceneBatch.concatenate(parts)
    assert np.array_equal(again.masks, scenes.masks)
    assert np.array_equal(again.images, scenes.images)
    for name, values in scenes.factors.items():
        assert np.array_equal(again.factors[name], values)


def test_trying_ahead_changes_nothing(world: sampling.World) -> None:
    other = sampling.find(sampling.CLEVR, torch.arange(20), KEY, 10, ahead=1).world
    for values, expected in zip(other.objects, world.objects, strict=True):
        assert torch.equal(values, expected[..., :20, :])
    assert torch.equal(other.masks, world.masks[:20])


@pytest.mark.parametrize(
    ("split", "seed", "most"), [("val", 0, 10), ("test", 0, 10), ("train", 1, 10), ("train", 0, 6)]
)
def test_every_stream_is_its_own(world: sampling.World, split: str, seed: int, most: int) -> None:
    other = sampling.find(sampling.CLEVR, torch.arange(3), Clevr(most).stream_key(split, seed), most).world
    assert not torch.isclose(other.camera.place, world.camera.place[:, :3]).any()


def test_an_index_beyond_32_bits_is_another_scene(world: sampling.World) -> None:
    far = sampling.find(sampling.CLEVR, torch.arange(3) + 2**32, KEY, 10).world
    assert not torch.isclose(far.camera.place, world.camera.place[:, :3]).any()


def test_the_stream_of_version_1_is_fixed(world: sampling.World, scenes: SceneBatch) -> None:
    digest = hashlib.sha256()
    for values in (*world.objects, world.camera.place, world.lamps, world.masks):
        digest.update(values.contiguous().numpy().tobytes())
    assert Clevr.version == 1
    assert digest.hexdigest() == "c0a5e1ab79eec5570a70e2cc12da794c32d08169dbf6e1519b2f823a247a0c6c"
    assert np.allclose(scenes.images.mean((1, 2)), MEANS, atol=0.05)


MEANS = [
    [107.57, 104.24, 102.45],
    [132.02, 130.44, 121.6],
    [121.73, 117.55, 119.56],
    [109.33, 94.55, 108.65],
    [122.77, 112.61, 111.25],
    [114.21, 109.19, 101.53],
]  # RGB of the first six pictures


@pytest.mark.parametrize("most", [2, 11, 6.5])
def test_a_number_of_objects_without_sense_is_refused(most: int) -> None:
    with pytest.raises(RequestError, match=rf"'max_objects' of clevr is {most}; it must be 3 to 10"):
        arrays(Clevr, "train", 0, 1, 0, max_objects=most)


@pytest.mark.parametrize("side", [0, 193, 1.5])
def test_a_side_without_sense_is_refused(side: int) -> None:
    with pytest.raises(RequestError, match=rf"'side' of clevr is {side}; it must be 1 to 192 pixels"):
        arrays(Clevr, "train", 0, 1, 0, side=side)


def test_the_side_of_the_image_does_not_change_the_scenes(scenes: SceneBatch) -> None:
    small = arrays(Clevr, "train", 0, 2, 0, side=64)
    large = arrays(Clevr, "train", 0, 2, 0, side=192)
    assert small.images.shape == (2, 64, 64, 3)
    assert np.array_equal(small.masks, large.masks[:, 1::3, 1::3])
    for frame, reduced in zip(large.images, small.images, strict=True):
        expected = np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BICUBIC))
        assert np.array_equal(reduced, expected)
    for name, values in small.factors.items():
        assert np.array_equal(values, scenes.factors[name][:2])


def test_the_small_set_has_one_material_and_colour_in_each_scene() -> None:
    generator = generator_of(load_spec().dataset("clevr_small"))
    assert generator == Clevr(max_objects=4, side=64, alike=True)
    world = sampling.find(
        sampling.CLEVR._replace(alike=True), torch.arange(300), Clevr(4, 64, True).stream_key("val", 0), 4, 32
    ).world
    found = arrays(Clevr, "val", 0, 6, 0, max_objects=4, side=64, alike=True).factors
    for name, codes in (("material", 2), ("color", 8), ("shape", 3), ("size", 2)):
        values = getattr(world.objects, name)[:, :4]
        there = world.objects.shape[:, :4] > 0
        kinds = [len(values[n][there[n]].unique()) for n in range(300)]
        assert (max(kinds) == 1) == (name in ("material", "color")), name
        assert len(values[there].unique()) == codes
        assert np.array_equal(found[name][:, 1:5], values[:6].numpy())
    assert sorted((world.objects.shape > 0).sum(1).unique().tolist()) == [3, 4]


def test_alike_scenes_are_a_stream_of_their_own() -> None:
    assert Clevr(4).stream_key("val", 0) != Clevr(4, alike=True).stream_key("val", 0)
    assert Clevr(4).stream_key("val", 0) == Clevr(4, side=64).stream_key("val", 0)


def test_the_picture_is_reduced_as_pillow_does() -> None:
    frames = torch.randint(0, 256, (2, 3, 192, 192), generator=torch.Generator().manual_seed(0))
    reduced = tonemap.reduce(frames.float(), 128).permute(0, 2, 3, 1).numpy().astype(int)
    for frame, small in zip(frames, reduced, strict=True):
        picture = Image.fromarray(frame.permute(1, 2, 0).numpy().astype(np.uint8))
        expected = np.asarray(picture.resize((128, 128), Image.Resampling.BICUBIC)).astype(int)
        assert np.array_equal(small, expected)


def test_the_mask_is_reduced_as_pillow_does() -> None:
    masks = torch.randint(0, 11, (1, 192, 192), generator=torch.Generator().manual_seed(0)).byte()
    expected = Image.fromarray(masks[0].numpy()).resize((128, 128), Image.Resampling.NEAREST)
    assert np.array_equal(tonemap.pick(masks, 128)[0].numpy(), np.asarray(expected))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_changes_one_grey_level_at_most() -> None:
    cpu, cuda = (arrays(Clevr, "train", 0, 32, 0, device=device) for device in ("cpu", "cuda"))
    assert np.array_equal(cpu.masks, cuda.masks)
    for name, values in cpu.factors.items():
        assert np.array_equal(values, cuda.factors[name])
    assert abs(cpu.images.astype(int) - cuda.images.astype(int)).max() <= 1
