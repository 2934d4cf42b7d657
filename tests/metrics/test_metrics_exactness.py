"""Equality with scikit-learn and with the plain restatement, wherever an evaluator could slip."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from helpers.restatement import restate
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from objbench.metrics import ari, hungarian, miou, miou_fg, miou_gt, msc, msc_clevrtex, score

RNG = np.random.default_rng(0)


def assert_equal(pred: np.ndarray, true: np.ndarray, planes: int = 1) -> None:
    """Images (B,H,W), all in one batch."""
    scores = score(torch.from_numpy(pred), torch.from_numpy(true))
    for i in range(len(pred)):
        expected = restate(pred[i], true[i], planes, batch_max=int(true.max()))
        for name, value in expected.items():
            assert float(scores[name][i]) == pytest.approx(value, abs=1e-9, nan_ok=True), (name, i)


def blobs(count: int, height: int, width: int, objects: int) -> np.ndarray:
    """Label maps of overlapping discs on a background."""
    rows, columns = np.mgrid[:height, :width]
    maps = np.zeros((count, height, width), np.uint8)
    for image in maps:
        for label in range(1, objects + 1):
            row, column, radius = RNG.random(3) * (height, width, min(height, width) / 4)
            image[(rows - row) ** 2 + (columns - column) ** 2 < (radius + 1) ** 2] = label
    return maps


def noisy(maps: np.ndarray, share: float, planes: int) -> np.ndarray:
    return np.where(RNG.random(maps.shape) < share, RNG.integers(0, planes, maps.shape), maps)


@pytest.mark.parametrize(
    ("size", "planes", "objects"), [(2, 3, 3), (3, 6, 4), (8, 5, 4), (8, 4, 9), (35, 4, 4)]
)
def test_random_labels(size: int, planes: int, objects: int) -> None:
    shape = (60, size, size)
    assert_equal(RNG.integers(0, planes, shape), RNG.integers(0, objects, shape), planes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.int64])
def test_structured_labels_of_any_integer_type(dtype: type) -> None:
    true = blobs(4, 64, 64, 6)
    permuted = RNG.permutation(11)[true]
    assert_equal(noisy(permuted, 0.05, 11).astype(dtype), true.astype(dtype), planes=11)


@pytest.mark.parametrize(
    ("pred", "true"),
    [
        pytest.param([[0, 0], [0, 0]], [[0, 0], [0, 0]], id="no foreground, one plane"),
        pytest.param([[0, 1], [1, 2]], [[0, 0], [0, 0]], id="no foreground, split"),
        pytest.param([[0, 1], [1, 1]], [[0, 1], [1, 1]], id="one object"),
        pytest.param([[0, 1], [2, 2]], [[0, 1], [1, 1]], id="one object, split"),
        pytest.param([[3, 3], [3, 3]], [[0, 1], [2, 2]], id="everything in the last plane"),
        pytest.param([[0, 0], [9, 9]], [[0, 0], [4, 4]], id="empty planes between"),
        pytest.param([[0, 0], [1, 1]], [[0, 255], [255, 17]], id="gaps in the labels up to 255"),
        pytest.param([[0, 0], [255, 255]], [[0, 0], [255, 255]], id="a mask of 0 and 255"),
        pytest.param([[0, 1], [0, 1]], [[1, 2], [3, 4]], id="more objects than planes, no background"),
        pytest.param([[0, 0], [0, 0]], [[1, 1], [1, 1]], id="one object that fills the image"),
        pytest.param([[0]], [[0]], id="one background pixel"),
        pytest.param([[1]], [[0]], id="one pixel, other plane"),
        pytest.param([[0]], [[5]], id="one foreground pixel"),
    ],
)
def test_degenerate_labels(pred: list[list[int]], true: list[list[int]]) -> None:
    assert_equal(np.array([pred]), np.array([true]))


def test_256_planes_and_256_objects() -> None:
    shape = (2, 48, 48)
    true = RNG.integers(0, 256, shape).astype(np.uint8)
    assert_equal(noisy(true, 0.3, 256).astype(np.uint8), true, planes=256)


def test_480_by_640_where_products_of_pair_counts_exceed_int64() -> None:
    true = blobs(3, 480, 640, 8)
    assert_equal(noisy(true, 0.2, 11), true, planes=11)


def test_known_values_of_a_constant_prediction() -> None:
    true = torch.tensor([[[0, 0, 1, 2]]])
    values = {name: float(value) for name, value in score(torch.zeros_like(true), true).items()}
    assert values == {
        "ari": 0.0,
        "ari_fg": 0.0,
        "miou": pytest.approx(1 / 6),
        "miou_fg": 0.0,
        "miou_gt": pytest.approx(1 / 6),
        "dice": pytest.approx(2 / 9),
        "dice_fg": 0.0,
        "mbo": pytest.approx(1 / 4),
        "msc": pytest.approx((2 / 2 + 1 / 4 + 1 / 4) / 4),
        "msc_clevrtex": 0.0,
        "count_accuracy": 0.0,
    }


def test_miou_fg_is_undefined_for_a_single_pair_only() -> None:
    background = torch.zeros(1, 2, 2, dtype=torch.long)
    split = torch.tensor([[[0, 1], [1, 1]]])
    assert math.isnan(float(miou_fg(background, background)))
    assert float(miou_fg(split, background)) == 0.0


def test_miou_fg_exceeds_one_without_background_as_in_the_reference() -> None:
    halves = torch.tensor([[[1, 1, 2, 2]]])
    assert float(miou_fg(halves, halves)) == 2.0


def test_the_partner_of_a_stray_pixel_depends_on_its_plane() -> None:
    """One stray pixel and one missed object: paired with each other, or each with an empty plane."""
    true = torch.tensor([[[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2]]])
    stray_in_2 = torch.tensor([[[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]]])
    stray_in_4 = torch.tensor([[[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]]])
    assert float(miou(stray_in_2, true)) == pytest.approx((9 / 12 + 1) / 3)
    assert float(miou(stray_in_4, true)) == pytest.approx((9 / 12 + 1) / 4)
    assert float(miou_gt(stray_in_2, true)) == float(miou_gt(stray_in_4, true))
    assert float(ari(stray_in_2, true)) == float(ari(stray_in_4, true))


def test_the_covering_of_clevrtex_leaves_the_last_plane_of_each_side_out() -> None:
    true = torch.tensor([[[0, 0, 0, 0, 1, 1, 2, 2]]])
    last_object_lost = torch.tensor([[[0, 0, 0, 0, 1, 1, 0, 0]]])
    assert float(msc(true, true)) == float(msc_clevrtex(true, true)) == 1.0
    assert float(msc(last_object_lost, true)) == pytest.approx((4 * 4 / 6 + 2 + 2 * 2 / 6) / 8)
    assert float(msc_clevrtex(last_object_lost, true)) == pytest.approx((4 * 4 / 6 + 0) / 6)


def test_the_covering_of_clevrtex_depends_on_the_order_of_planes() -> None:
    true = torch.tensor([[[0, 0, 0, 0, 1, 1, 2, 2, 3, 3]]])
    pred = torch.tensor([[[0, 4, 0, 0, 1, 1, 0, 2, 2, 2]]])
    renamed = torch.tensor([[[2, 1, 2, 2, 0, 0, 2, 4, 4, 4]]])
    assert float(msc_clevrtex(pred, true)) == pytest.approx(0.6125)
    assert float(msc_clevrtex(renamed, true)) == pytest.approx(0.6)
    assert float(msc(renamed, true)) == pytest.approx(float(msc(pred, true)), abs=1e-12)


@pytest.mark.parametrize("levels", [1, 2, 7])
def test_no_empty_plane_behind_the_last_occupied_one_changes_an_assignment(levels: int) -> None:
    """Against scipy on the larger square, with as many ties as there can be."""
    for _ in range(500):
        T, P = RNG.integers(1, 9, 2)
        iou = RNG.integers(0, levels + 1, (T, P)) / levels * (RNG.random((T, P)) < 0.6)
        for size in (max(T, P), max(T, P) + 1, 12):
            square = np.zeros((size, size))
            square[:T, :P] = iou
            expected = linear_sum_assignment(square.astype(np.float32), maximize=True)[1]
            assert hungarian(torch.from_numpy(square.T[None]))[0].tolist() == expected.tolist()


def test_a_value_depends_neither_on_the_batch_nor_on_the_passes_it_is_worked_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true = np.concatenate([blobs(5, 16, 16, 3), blobs(5, 16, 16, 12)])
    pred = noisy(RNG.permutation(13)[true], 0.1, 13)
    images = torch.rand(10, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    reconstruction = images.flip(0)
    pred, true = torch.from_numpy(pred), torch.from_numpy(true)
    whole = score(pred, true, reconstruction, images)
    alone = [
        score(pred[i : i + 1], true[i : i + 1], reconstruction[i : i + 1], images[i : i + 1])
        for i in range(10)
    ]
    monkeypatch.setattr("objbench.metrics.scoring.CPU_PASS", 3 * 256)
    in_passes = score(pred, true, reconstruction, images)
    for name, values in whole.items():
        assert values.tolist() == [float(one[name]) for one in alone] == in_passes[name].tolist(), name


label_maps = st.integers(1, 5).flatmap(
    lambda planes: st.tuples(*[st.lists(st.integers(0, planes), min_size=12, max_size=12)] * 2)
)


@settings(max_examples=100, deadline=None)
@given(maps=label_maps, order=st.permutations(range(6)))
def test_most_metrics_do_not_depend_on_the_order_of_planes(
    maps: tuple[list[int], list[int]], order: list[int]
) -> None:
    pred, true = (torch.tensor(labels).view(1, 3, 4) for labels in maps)
    before, after = score(pred, true), score(torch.tensor(order)[pred], true)
    for name in ("ari", "ari_fg", "miou_gt", "mbo", "msc", "count_accuracy"):
        assert float(after[name]) == pytest.approx(float(before[name]), abs=1e-6, nan_ok=True), name


@settings(max_examples=100, deadline=None)
@given(maps=label_maps)
def test_bounds_symmetry_and_the_perfect_score(maps: tuple[list[int], list[int]]) -> None:
    pred, true = (torch.tensor(labels).view(1, 3, 4) for labels in maps)
    scores = {name: float(value) for name, value in score(pred, true).items()}
    assert -1 <= scores["ari"] <= 1
    assert 0 <= scores["miou"] <= scores["miou_gt"] <= 1
    assert float(ari(true, pred)) == scores["ari"]
    perfect = score(true, true)
    assert [float(perfect[name]) for name in ("ari", "ari_fg", "miou", "miou_gt", "count_accuracy")] == [
        1.0
    ] * 5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_device_gives_what_the_cpu_gives() -> None:
    true = torch.from_numpy(blobs(70, 128, 128, 10))
    masks = torch.rand(70, 11, 128, 128)
    images = torch.rand(70, 3, 128, 128)
    on_cpu = score(masks, true, images.flip(0), images)
    on_device = score(masks.cuda(), true.cuda(), images.flip(0).cuda(), images.cuda())
    for name, values in on_cpu.items():
        assert on_device[name].is_cuda
        torch.testing.assert_close(on_device[name].cpu(), values, rtol=1e-12, atol=1e-12)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_host_waits_for_the_device_as_often_for_many_images_as_for_few() -> None:
    def waits(count: int) -> int:
        true = torch.from_numpy(blobs(count, 64, 64, 6)).cuda()
        masks = torch.rand(count, 7, 64, 64, device="cuda")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                score(masks, true)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return len(caught)

    assert waits(64) == waits(2) > 0
