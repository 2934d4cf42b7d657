"""Crop and resize: Pillow's, and no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import clevr
from PIL import Image

from objbench.data.prepare.preprocessing import Preprocessing
from objbench.data.scene import SceneBatch
from objbench.errors import ObjbenchError

EMORL = Preprocessing((128, 128), clevr.BOX, "bicubic", "nearest")


def batch(*rows: int) -> SceneBatch:
    images, masks = zip(*map(clevr.native, rows), strict=True)
    return SceneBatch(np.array(rows), np.stack(images), np.stack(masks), {"x": np.array(rows)[:, None]})


def test_scenes_are_cropped_and_then_resized_by_pillow() -> None:
    found = EMORL(batch(0, 2))
    for row, (image, mask) in enumerate([clevr.expected(0), clevr.expected(2)]):
        assert np.array_equal(found.images[row], image)
        assert np.array_equal(found.masks[row], mask)
    assert found.index.tolist() == [0, 2]
    assert found.factors["x"].tolist() == [[0], [2]]


def test_labels_keep_their_values_and_gaps() -> None:
    found = EMORL(batch(3))
    assert np.unique(found.masks).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert np.unique(EMORL(batch(2)).masks).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10]


def test_a_resize_with_a_box_gives_other_pixels() -> None:
    image, _ = clevr.native(0)
    boxed = Image.fromarray(image).resize((128, 128), Image.Resampling.BICUBIC, box=clevr.BOX)
    assert not np.array_equal(EMORL(batch(0)).images[0], np.asarray(boxed))


def test_the_nearest_of_torch_takes_other_pixels_of_the_mask() -> None:
    left, top, right, bottom = clevr.BOX
    cropped = torch.from_numpy(clevr.native(0)[1][top:bottom, left:right].copy())[None, None].float()
    resize = torch.nn.functional.interpolate
    found = EMORL(batch(0)).masks[0]
    assert not np.array_equal(found, resize(cropped, (128, 128), mode="nearest")[0, 0].byte().numpy())
    assert np.array_equal(found, resize(cropped, (128, 128), mode="nearest-exact")[0, 0].byte().numpy())


def test_a_crop_of_the_right_size_is_not_resized() -> None:
    found = Preprocessing((192, 192), clevr.BOX)(batch(1))
    image, mask = clevr.expected(1, 192)
    assert np.array_equal(found.images[0], image)
    assert np.array_equal(found.masks[0], mask)


def test_a_crop_may_reach_the_edges() -> None:
    found = Preprocessing((120, 160), (160, 120, 320, 240))(batch(1))
    image, mask = clevr.native(1)
    assert np.array_equal(found.images[0], image[120:, 160:])
    assert np.array_equal(found.masks[0], mask[120:, 160:])


def test_scenes_of_the_right_size_are_left_alone() -> None:
    scenes = batch(1)
    assert Preprocessing((240, 320))(scenes) is scenes


def test_only_scenes_that_still_qualify_after_the_crop_are_kept() -> None:
    found = Preprocessing((192, 192), clevr.BOX, max_visible=6)(batch(0, 1, 2, 3))
    assert found.index.tolist() == [1, 3]
    assert found.factors["x"].tolist() == [[1], [3]]
    assert Preprocessing((240, 320), max_visible=6)(batch(0, 1, 2, 3)).index.tolist() == [1]


def test_no_scene_may_qualify() -> None:
    assert len(Preprocessing((128, 128), clevr.BOX, "bicubic", "nearest", max_visible=1)(batch(0, 1))) == 0


@pytest.mark.parametrize(
    ("preprocessing", "message"),
    [
        (Preprocessing((128, 128)), r"scenes must be 128x128; the source gave images \(1, 240, 320, 3\)"),
        (Preprocessing((8, 8), image="bicubic"), r"scenes must be 8x8; .* and masks \(1, 240, 320\)"),
        (Preprocessing((8, 8), mask="nearest"), r"scenes must be 8x8; .* and masks \(1, 240, 320\)"),
        (Preprocessing((8, 8), (0, 0, 320, 241)), r"\(0, 0, 320, 241\) does not fit into .* 240x320"),
        (Preprocessing((8, 8), (0, 0, 321, 240)), r"\(0, 0, 321, 240\) does not fit into .* 240x320"),
    ],
)
def test_scenes_of_an_odd_size_are_refused(preprocessing: Preprocessing, message: str) -> None:
    with pytest.raises(ObjbenchError, match=message):
        preprocessing(batch(0))
