"""What score accepts, refuses and returns, and how a plugin's metric takes part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from objbench import registry
from objbench.errors import ObjbenchError
from objbench.metrics import Metric, ari, mse, mse_sum, score
from objbench.metrics.batch import Comparison

LABELS = torch.tensor([[[0, 1], [2, 2]], [[0, 0], [1, 1]]])
IMAGES = torch.full((2, 3, 2, 2), 0.5)
SEGMENTATION = [
    "ari",
    "ari_fg",
    "miou",
    "miou_fg",
    "miou_gt",
    "dice",
    "dice_fg",
    "mbo",
    "msc",
    "msc_clevrtex",
    "count_accuracy",
]


def test_every_registered_name_is_a_documented_metric_of_that_name() -> None:
    for name in registry.BUILT_IN["metrics"]:
        metric = registry.get("metrics", name)
        assert metric.__name__ == name
        assert metric.__doc__
        assert metric.__doc__ != Metric.__doc__


def test_mse_is_left_out_without_a_reconstruction() -> None:
    assert set(score(LABELS, LABELS)) == set(SEGMENTATION)
    assert set(score(LABELS, LABELS, None, IMAGES)) == set(SEGMENTATION)
    assert set(score(LABELS, LABELS, IMAGES, IMAGES)) == {*SEGMENTATION, "mse", "mse_sum", "psnr"}


def test_values_are_float64_one_per_image() -> None:
    for values in score(LABELS, LABELS, IMAGES, IMAGES).values():
        assert values.dtype == torch.float64
        assert values.shape == (2,)


def test_true_may_have_a_channel() -> None:
    assert score(LABELS, LABELS[:, None].byte())["ari"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "images", [torch.full((2, 3, 2, 2), 0.2), torch.full((2, 3, 2, 2), 51, dtype=torch.uint8)]
)
def test_mse_in_both_conventions(images: Tensor) -> None:
    reconstruction = torch.full((2, 3, 2, 2), 0.5)
    reconstruction[1, 0, 0, 0] = 1.2
    expected = [12 * 0.09, 11 * 0.09 + 1.0]
    assert mse_sum(LABELS, LABELS, reconstruction, images).tolist() == pytest.approx(expected)
    assert mse(LABELS, LABELS, reconstruction, images).tolist() == pytest.approx([x / 12 for x in expected])


def test_mse_of_an_image_is_the_same_bits_in_any_batch() -> None:
    images = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(4, 128, 128, dtype=torch.uint8)
    whole = mse(labels, labels, images.flip(0), images).tolist()
    alone = [float(mse(labels[:1], labels[:1], images[3 - i][None], images[i][None])) for i in range(4)]
    assert whole == alone


def test_mse_alone_asks_for_what_it_needs() -> None:
    with pytest.raises(ObjbenchError, match="mse needs both a reconstruction and images"):
        mse(LABELS, LABELS)


def test_a_single_metric_gives_what_score_gives() -> None:
    pred = LABELS.flip(0)
    assert ari(pred, LABELS).tolist() == score(pred, LABELS)["ari"].tolist()


def test_arrays_are_refused() -> None:
    with pytest.raises(ObjbenchError, match="true must be a tensor, found ndarray"):
        score(LABELS, LABELS.numpy())  # type: ignore[arg-type]
    with pytest.raises(
        ObjbenchError, match=r"pred must be a tensor, found None; a Segmentation has .* a prediction"
    ):
        score(None, LABELS)  # type: ignore[arg-type]


def test_sparse_tensors_and_floats_of_8_bits_are_refused() -> None:
    with pytest.raises(ObjbenchError, match=r"true must be a dense tensor .*of layout torch.sparse_coo"):
        score(LABELS, LABELS.to_sparse())
    with pytest.raises(
        ObjbenchError, match="reconstruction must have floats of 16 bits or more, found float8"
    ):
        score(LABELS, LABELS, IMAGES.to(torch.float8_e4m3fn), IMAGES)


def test_no_value_is_part_of_a_graph() -> None:
    reconstruction, images = IMAGES.clone().requires_grad_(), IMAGES.clone().requires_grad_()
    assert not any(values.requires_grad for values in score(LABELS, LABELS, reconstruction, images).values())


REFUSALS: list[tuple[dict[str, Any], str]] = [
    (
        {"pred": LABELS.float()},
        r"pred must be integer .* or float masks .* pred float32 \(2, 2, 2\) and true int64",
    ),
    ({"pred": LABELS[:, None]}, r"pred must be .* found pred int64 \(2, 1, 2, 2\)"),
    (
        {"pred": LABELS[:1]},
        r"differ in the number or the size .* pred int64 \(1, 2, 2\) and true int64 \(2, 2, 2\)",
    ),
    (
        {"pred": torch.zeros(2, 5, 4, 4)},
        r"differ in .* pred float32 \(2, 5, 4, 4\) and true int64 \(2, 2, 2\)",
    ),
    ({"true": torch.zeros(2, 5, 2, 2)}, r"true must be integer label maps .* true float32 \(2, 5, 2, 2\)"),
    ({"true": torch.zeros(2, 5, 2, 2).byte()}, r"true must be .* true uint8 \(2, 5, 2, 2\)"),
    ({"pred": LABELS[:0], "true": LABELS[:0]}, r"nothing to score: found pred int64 \(0, 2, 2\)"),
    ({"pred": LABELS - 1}, r"pred holds labels from -1 to 1; expected 0 to 1023"),
    ({"true": LABELS * 600}, r"true holds labels from 0 to 1200; expected 0 to 1023"),
    ({"images": IMAGES[:1]}, r"must both be \(B,C,H,W\) with B = 2; .* images float32 \(1, 3, 2, 2\)"),
    (
        {"reconstruction": IMAGES[:1], "images": IMAGES[:1]},
        r"with B = 2; found reconstruction float32 \(1, 3, 2, 2\)",
    ),
    (
        {"reconstruction": IMAGES[:, 0], "images": IMAGES[:, 0]},
        r"must both be \(B,C,H,W\) .* images float32 \(2, 2, 2\)",
    ),
    (
        {"reconstruction": IMAGES[..., :1]},
        r"reconstruction float32 \(2, 3, 2, 1\) and images float32 \(2, 3, 2, 2\)",
    ),
    ({"reconstruction": IMAGES.byte()}, r"reconstruction must be float, .* reconstruction uint8"),
    ({"images": IMAGES.int()}, r"images float in \[0,1\] or uint8; .* images int32"),
    (
        {"images": IMAGES * 2 - 1.5},
        r"images must be float in \[0,1\] or uint8; found values from -0.5 to -0.5",
    ),
    ({"images": IMAGES * 255}, r"found values from 127.5 to 127.5"),
    (
        {"reconstruction": IMAGES * 255},
        r"in image units, \[0,1\] .* values from 127.5 to 127.5 .* divide it by 255\?",
    ),
    ({"reconstruction": IMAGES / 0}, r"reconstruction of image 0 .* is not finite .* 2 of 2 images"),
    ({"pred": LABELS.to("meta")}, r"the tensors are on cpu and meta"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS, ids=[message[:40] for _, message in REFUSALS])
def test_what_does_not_fit_is_refused(changes: dict[str, Tensor], message: str) -> None:
    arguments = {"pred": LABELS, "true": LABELS, "reconstruction": IMAGES, "images": IMAGES, **changes}
    with pytest.raises(ObjbenchError, match=message):
        score(**arguments)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Register one more metric, "own", before the others."""

    def register(metric: Any) -> None:
        known = {"own": "somewhere:own", **registry.names("metrics")}
        found = registry.get
        monkeypatch.setattr("objbench.metrics.definitions.names", lambda kind: known)
        monkeypatch.setattr(
            "objbench.metrics.definitions.get",
            lambda kind, name: metric if name == "own" else found(kind, name),
        )

    return register


def test_a_plugin_function_is_called_with_label_maps(plugin: Callable[[Any], None]) -> None:
    def planes(
        pred: Tensor, true: Tensor, reconstruction: Tensor | None = None, images: Tensor | None = None
    ) -> Tensor:
        return pred.flatten(1).amax(1) + 1

    plugin(planes)
    masks = torch.nn.functional.one_hot(LABELS, 5).movedim(-1, 1).float()
    assert score(masks, LABELS)["own"].tolist() == [3.0, 2.0]


def test_a_plugin_metric_shares_the_table(plugin: Callable[[Any], None]) -> None:
    def pixels(batch: Comparison) -> Tensor:
        """Number of pixels."""
        return batch.table.sum((1, 2))

    plugin(Metric(pixels))
    assert score(LABELS, LABELS)["own"].tolist() == [4.0, 4.0]


def test_a_plugin_may_not_apply(plugin: Callable[[Any], None]) -> None:
    plugin(lambda pred, true, reconstruction, images: None)
    assert set(score(LABELS, LABELS)) == set(SEGMENTATION)


def test_a_plugin_that_does_not_return_one_value_per_image_is_named(plugin: Callable[[Any], None]) -> None:
    plugin(lambda pred, true, reconstruction, images: pred.float().mean())
    with pytest.raises(ObjbenchError, match=r"metric 'own' returned shape \(\) for 2 images"):
        score(LABELS, LABELS)


def _overwritten(pred: Tensor, true: Tensor, reconstruction: Tensor | None, images: Tensor | None) -> Tensor:
    true[true == 1] = 0
    return true.flatten(1).sum(1)


def _by_numpy(batch: Comparison) -> Tensor:
    batch.true.numpy()[:] = 0
    batch.pred.numpy()[:] = 0
    return batch.true.flatten(1).sum(1)


def _shared(batch: Comparison) -> Tensor:
    for tensor in (batch.table, batch.iou, batch.matching.pred, batch.matching.iou):
        tensor.zero_()
    return batch.table.sum((1, 2))


@pytest.mark.parametrize("metric", [_overwritten, Metric(_by_numpy), Metric(_shared)])
def test_a_plugin_that_writes_into_what_it_is_given_changes_no_other_metric(
    plugin: Callable[[Any], None], metric: Any
) -> None:
    expected = score(LABELS, LABELS.flip(0))
    plugin(metric)
    pred, true = LABELS.clone(), LABELS.flip(0).clone()
    found = score(pred, true)
    assert torch.equal(pred, LABELS)
    assert torch.equal(true, LABELS.flip(0))
    again = score(pred, true)
    for name, values in expected.items():
        assert torch.equal(found[name], values), name
        assert torch.equal(again[name], values), name


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 0.5], "list"),
        (np.ones(2), "ndarray"),
        (torch.ones(2, dtype=torch.complex64), "torch.complex64"),
    ],
)
def test_a_plugin_that_returns_no_real_tensor_is_named(
    plugin: Callable[[Any], None], values: Any, kind: str
) -> None:
    plugin(lambda pred, true, reconstruction, images: values)
    with pytest.raises(
        ObjbenchError, match=f"metric 'own' returned {kind}; expected a tensor of real numbers"
    ):
        score(LABELS.clone(), LABELS.clone())
