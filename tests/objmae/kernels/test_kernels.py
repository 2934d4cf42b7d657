"""The plain forms of the kernels against the network and its losses, and where the fused forms are chosen."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from objmae.kernels import attention as attention_module
from objmae.kernels import available
from objmae.kernels.attention import attention, attention_by_products, plain_attention
from objmae.kernels.broadcast import broadcast
from objmae.kernels.mixture import mixture_losses
from objmae.kernels.residual_norm import residual_norm
from objmae.losses import object_entropy, pixel_entropy, reconstruction_error
from objmae.model import Block, Prediction, random_patches


def test_mixture_losses_equal_those_of_the_decoded_prediction(tiny):
    torch.manual_seed(0)
    x, target = torch.randn(2, 3, 6, 12), 2 * torch.rand(2, 6, 12) - 1
    rgb, log_masks = tiny.decode(x)
    expected = (
        reconstruction_error(Prediction(rgb, log_masks, x, x).reconstruction, target),
        pixel_entropy(log_masks),
        object_entropy(log_masks),
    )
    y = tiny.head(tiny.decoder_norm(tiny.decoder(x.flatten(0, 1))))  # (B*K,N,P*P*4)
    assert mixture_losses(y.reshape(2, 3, 6, 4, 4), target) == expected


def test_a_target_of_bytes_is_brought_to_the_range_of_the_reconstruction():
    y = torch.zeros(1, 2, 1, 1, 4)  # reconstructs 0, the middle of the range
    losses = mixture_losses(y, torch.tensor([[[0, 255, 51]]], dtype=torch.uint8))
    assert losses.reconstruction.item() == pytest.approx((1 + 1 + 0.6**2) / 3)


def test_broadcast_equals_the_networks(tiny):
    torch.manual_seed(0)
    slots, log_attention = torch.randn(2, 3, 8), torch.randn(2, 4, 3).log_softmax(2)
    ids = random_patches(2, 6, 4, torch.device("cpu"))
    weight, bias = tiny.slot_projection.weight, tiny.slot_projection.bias
    base = F.linear(slots, weight[:, :-1], bias)
    x = broadcast(
        base, log_attention, ids, weight[:, -1], tiny.mask_token, tiny.decoder_position, torch.float32
    )
    assert torch.equal(x, tiny.broadcast(slots, log_attention, ids))


def test_broadcast_is_computed_in_float32_and_rounded_once(tiny):
    torch.manual_seed(0)
    base, log_attention = torch.randn(2, 3, 12).bfloat16(), torch.randn(2, 4, 3)
    rest = random_patches(2, 6, 4, torch.device("cpu")), torch.randn(12), torch.randn(12), torch.randn(6, 12)
    low = broadcast(base, log_attention, *rest, torch.bfloat16)
    assert torch.equal(low, broadcast(base.float(), log_attention, *rest, torch.float32).bfloat16())


def test_gradients_of_broadcast():
    torch.manual_seed(0)
    values = [torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3, 4), (2, 2, 3), (4,), (4,))]
    base, log_attention, weight, token = (value.requires_grad_() for value in values)
    ids, position = random_patches(2, 5, 2, torch.device("cpu")), torch.randn(5, 4, dtype=torch.float64)

    def of_leaves(base, log_attention, weight, token):
        return broadcast(base, log_attention, ids, weight, token, position, torch.float64)

    assert gradcheck(of_leaves, (base, log_attention, weight, token))


def test_residual_norm_equals_addition_and_norm(tiny):
    residual, branch = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    norm = tiny.encoder_norm
    total, normalised = residual_norm(residual, branch, norm.weight, norm.bias, norm.eps)
    assert torch.equal(total, residual + branch)
    assert torch.equal(normalised, norm(residual + branch))


def test_residual_norm_normalises_the_sum_as_it_is_stored():
    torch.manual_seed(0)
    residual, branch = torch.randn(4, 8).bfloat16(), torch.randn(4, 8).bfloat16()
    weight, bias = torch.randn(8), torch.randn(8)
    total, normalised = residual_norm(residual, branch, weight, bias, 1e-5)
    assert total.dtype is normalised.dtype is torch.bfloat16
    expected = F.layer_norm(total.float(), (8,), weight, bias, 1e-5)
    assert torch.equal(normalised, expected.bfloat16())


def test_residual_norm_keeps_a_residual_of_high_precision():
    residual, branch = torch.full((1, 4), 1e-4), torch.ones(1, 4).bfloat16()
    total, normalised = residual_norm(residual, branch, torch.ones(4), torch.zeros(4), 1e-5)
    assert total.tolist() == [[pytest.approx(1.0001, abs=1e-7)] * 4]
    assert normalised.dtype is torch.bfloat16


def test_gradients_of_residual_norm():
    torch.manual_seed(0)
    shapes = (3, 4), (3, 4), (4,), (4,)
    leaves = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert gradcheck(lambda *leaves: residual_norm(*leaves, 1e-5), leaves)


def test_attention_equals_the_blocks():
    torch.manual_seed(0)
    block, x = Block(12, 3, 2), torch.randn(2, 5, 12)
    assert torch.equal(attention(block.qkv(x).unflatten(2, (3, 3, 4))), block.attention(x))


def test_gradients_of_attention():
    torch.manual_seed(0)
    assert gradcheck(attention, torch.randn(1, 3, 3, 2, 4, dtype=torch.float64, requires_grad=True))


def test_attention_by_products_is_the_plain_one():
    torch.manual_seed(0)
    qkv = 2 * torch.randn(2, 7, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(attention_by_products(qkv), plain_attention(qkv), rtol=1e-12, atol=1e-13)


def test_attention_in_bfloat16_is_close_to_that_in_float64():
    """Errors of a bfloat16 result, of the size of one rounding: 2^-8 of the largest value."""
    torch.manual_seed(0)
    qkv, weight = torch.randn(3, 49, 3, 4, 16), torch.randn(3, 49, 64)
    found = []
    for dtype in (torch.bfloat16, torch.float64):
        leaf = qkv.bfloat16().to(dtype).requires_grad_()
        out = attention(leaf)
        (gradient,) = torch.autograd.grad(out, leaf, weight.to(dtype))
        assert out.dtype is gradient.dtype is dtype
        found.append((out.double(), gradient.double()))
    for low, exact in zip(*found, strict=True):
        assert (low - exact).abs().max() < 2**-7 * exact.abs().max()
        assert (low - exact).square().mean().sqrt() < 2**-7 * exact.square().mean().sqrt()


def test_on_the_cpu_attention_in_bfloat16_is_by_products(monkeypatch):
    taken = []
    monkeypatch.setattr(attention_module, "attention_by_products", lambda qkv: taken.append(qkv.dtype))
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        attention(torch.zeros(1, 2, 3, 1, 4, dtype=dtype))
    assert taken == [torch.bfloat16]


@pytest.mark.parametrize(
    ("is_cuda", "dtype", "installed", "capability", "expected"),
    [
        (True, torch.bfloat16, True, (8, 0), True),
        (True, torch.float32, True, (10, 0), True),
        (True, torch.float64, True, (9, 0), False),
        (True, torch.bfloat16, False, (9, 0), False),
        (True, torch.float32, True, (7, 0), False),
        (True, torch.bfloat16, True, (7, 5), False),
        (False, torch.float32, True, None, False),
    ],
)
def test_kernels_run_on_cuda_where_triton_is_installed_and_supports_the_gpu(
    monkeypatch, is_cuda, dtype, installed, capability, expected
):
    monkeypatch.setattr(available, "triton_installed", lambda: installed)
    monkeypatch.setattr(
        available, "triton_supports", available.triton_supports.__wrapped__
    )  # keeps no answer
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert available.fused(SimpleNamespace(is_cuda=is_cuda, dtype=dtype, device="cuda:0")) is expected
