"""PSNR and SSIM against torchmetrics, against sums written out, and at their ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from objbench.errors import ObjbenchError
from objbench.metrics import mse, psnr, score, ssim


def pair(
    height: int = 35, width: int = 20, count: int = 3, noise: float = 0.1
) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(height * width)
    images = torch.randint(0, 256, (count, 3, height, width), generator=random, dtype=torch.uint8)
    rough = images.double() / 255
    smooth = (rough + rough.roll(1, 2) + rough.roll(1, 3)) / 3
    return (smooth + noise * torch.randn(smooth.shape, generator=random)).float(), images


def labels_of(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(images), *images.shape[2:], dtype=torch.int64)


@pytest.mark.parametrize(("height", "width"), [(35, 20), (11, 11), (64, 128)])
def test_equal_to_torchmetrics(height, width):
    found, images = pair(height, width)
    true = images.double() / 255
    both = (labels_of(images), labels_of(images), found, images)
    for i in range(3):
        one, other = found[i : i + 1].double(), true[i : i + 1]
        expected = float(peak_signal_noise_ratio(one, other, data_range=1.0))
        assert float(psnr(*both)[i]) == pytest.approx(expected, abs=1e-5)
        _, everywhere = structural_similarity_index_measure(
            one, other, data_range=1.0, return_full_image=True
        )
        expected = float(everywhere[..., 5:-5, 5:-5].mean())  # torchmetrics counts the border too, reflected
        assert float(ssim(*both)[i]) == pytest.approx(expected, abs=1e-6)


def test_ssim_is_the_formula_written_out():
    found, images = pair(13, 12, count=1)
    x, y = images[0].double().numpy() / 255, found[0].double().numpy()
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for channel in range(3):
        for row in range(3):
            for column in range(2):
                a, b = (v[channel, row : row + 11, column : column + 11] for v in (x, y))
                m, n = (window * a).sum(), (window * b).sum()
                s, t, c = (
                    (window * p * q).sum() - r for p, q, r in ((a, a, m * m), (b, b, n * n), (a, b, m * n))
                )
                values.append((2 * m * n + 1e-4) * (2 * c + 9e-4) / ((m * m + n * n + 1e-4) * (s + t + 9e-4)))
    result = ssim(labels_of(images), labels_of(images), found, images)
    assert float(result) == pytest.approx(np.mean(values), abs=1e-12)


def test_an_exact_reconstruction():
    _, images = pair()
    both = (labels_of(images), labels_of(images), images.double() / 255, images)
    assert psnr(*both).tolist() == [math.inf] * 3
    assert ssim(*both).tolist() == pytest.approx([1.0] * 3, abs=1e-12)


def test_psnr_is_that_of_mse():
    found, images = pair()
    both = (labels_of(images), labels_of(images), found, images)
    assert psnr(*both).tolist() == pytest.approx([-10 * math.log10(value) for value in mse(*both).tolist()])


def test_the_batch_changes_no_bit():
    found, images = pair(count=5)
    whole = [metric(labels_of(images), labels_of(images), found, images) for metric in (psnr, ssim)]
    channels_last = found.to(memory_format=torch.channels_last)
    for i in range(5):
        one = labels_of(images[i : i + 1])
        for metric, values in zip((psnr, ssim), whole, strict=True):
            for some in (found, channels_last):
                assert float(metric(one, one, some[i : i + 1], images[i : i + 1])) == float(values[i])


def test_images_smaller_than_the_window_have_no_ssim():
    found, images = pair(11, 10)
    assert {"mse", "psnr"} <= set(score(labels_of(images), labels_of(images), found, images))
    assert "ssim" not in score(labels_of(images), labels_of(images), found, images)


def test_images_smaller_than_the_window_are_told_from_missing_ones():
    images, labels = torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8).long()
    with pytest.raises(ObjbenchError, match="ssim is not defined for images so small"):
        ssim(labels, labels, images, images)
    with pytest.raises(ObjbenchError, match="ssim needs both a reconstruction and images"):
        ssim(labels, labels, images)
