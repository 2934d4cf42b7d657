"""The network against its definition: loops, the literal form of its equations, symmetries, counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from objbench.errors import RequestError
from objbench.spec.settings import parse
from objmae.model import (
    Autoencoder,
    Model,
    object_function,
    patchify,
    position_table,
    random_patches,
    unpatchify,
)


def subset(batch: int, patches: int, kept: int) -> torch.Tensor:
    torch.manual_seed(1)
    return random_patches(batch, patches, kept, torch.device("cpu"))


def test_patchify_goes_row_by_row_and_channel_fastest():
    images = torch.arange(3 * 4 * 6).reshape(1, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (1, 6, 12)
    for index in range(6):
        corner_y, corner_x = 2 * (index // 3), 2 * (index % 3)
        expected = [
            images[0, channel, corner_y + row, corner_x + column].item()
            for row in range(2)
            for column in range(2)
            for channel in range(3)
        ]
        assert patches[0, index].tolist() == expected


def test_unpatchify_is_the_inverse_of_patchify_under_any_leading_dimensions():
    images = torch.rand(2, 5, 3, 4, 6)
    assert torch.equal(unpatchify(patchify(images, 2), (2, 3), 2), images)


def test_position_table_equals_a_loop():
    rows, columns, width = 2, 3, 8
    expected = []
    for row in range(rows):
        for column in range(columns):
            code = []
            for place in (column, row):
                angles = [place * 10000 ** (-j / 2) for j in range(2)]
                code += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            expected.append(code)
    table = position_table((rows, columns), width)
    assert table.dtype is torch.float32
    torch.testing.assert_close(table, torch.tensor(expected))


def test_random_patches_are_distinct_and_uniform():
    ids = subset(4000, 6, 2)
    assert ids.shape == (4000, 2)
    assert (ids[:, 0] != ids[:, 1]).all()
    frequency = ids.flatten().bincount(minlength=6) / 8000
    assert (frequency - 1 / 6).abs().max() < 0.02  # nearly five standard deviations of a fair choice


def test_object_function_equals_a_loop():
    torch.manual_seed(0)
    B, K, n, D = 2, 3, 5, 8
    classes, patches = torch.randn(B, K, D, dtype=torch.float64), torch.randn(B, n, D, dtype=torch.float64)
    slots, log_attention = object_function(classes.float(), patches.float())
    for b in range(B):
        attention = [[0.0] * K for _ in range(n)]
        for i in range(n):
            scores = [float(patches[b, i] @ classes[b, k]) / math.sqrt(D) for k in range(K)]
            total = sum(math.exp(score) for score in scores)
            attention[i] = [math.exp(score) / total for score in scores]
            assert log_attention[b, i].exp().tolist() == pytest.approx(attention[i], rel=1e-4)
        for k in range(K):
            mass = sum(attention[i][k] for i in range(n)) + 1e-8
            slot = sum(attention[i][k] / mass * patches[b, i] for i in range(n))
            assert slots[b, k].tolist() == pytest.approx(slot.tolist(), rel=1e-4, abs=1e-5)


def test_broadcast_equals_concatenation_projection_and_unshuffling(tiny):
    B, K, N, n = 2, 3, 6, 4
    ids = subset(B, N, n)
    slots, log_attention = torch.randn(B, K, 8), torch.randn(B, n, K).log_softmax(2)

    repeated = slots[:, :, None].expand(B, K, n, 8)
    tokens = tiny.slot_projection(torch.cat([repeated, log_attention.mT[..., None]], dim=3))  # (B,K,n,d)
    tokens = torch.cat([tokens, tiny.mask_token.expand(B, K, N - n, 12)], dim=2)
    literal = torch.empty(B, K, N, 12)
    for b in range(B):
        dropped = [p for p in range(N) if p not in ids[b].tolist()]
        for source, place in enumerate([*ids[b].tolist(), *dropped]):
            literal[b, :, place] = tokens[b, :, source] + tiny.decoder_position[place]

    torch.testing.assert_close(tiny.broadcast(slots, log_attention, ids), literal)


def test_output_shapes(tiny):
    out = tiny(torch.rand(2, 6, 12), subset(2, 6, 4))
    assert out.rgb.shape == (2, 3, 6, 4, 3)
    assert out.log_masks.shape == (2, 3, 6, 4)
    assert out.slots.shape == (2, 3, 8)
    assert out.log_attention.shape == (2, 4, 3)
    assert out.reconstruction.shape == (2, 6, 12)


def test_masks_are_a_distribution_over_slots(tiny):
    out = tiny(torch.rand(2, 6, 12), subset(2, 6, 4))
    torch.testing.assert_close(out.log_masks.exp().sum(1), torch.ones(2, 6, 4))


def test_reconstruction_is_the_mixture_of_the_slots_images(tiny):
    out = tiny(torch.rand(2, 6, 12), subset(2, 6, 4))
    mixture = sum(out.log_masks[:, k, ..., None].exp() * out.rgb[:, k] for k in range(3))
    torch.testing.assert_close(out.reconstruction, mixture.reshape(2, 6, 12))


def test_dropped_patches_do_not_matter_and_kept_ones_do(tiny):
    ids, patches = subset(2, 6, 4), torch.rand(2, 6, 12)
    slots = tiny(patches, ids).slots
    dropped, kept = patches.clone(), patches.clone()
    for b in range(2):
        dropped[b, [p for p in range(6) if p not in ids[b].tolist()]] = 9
        kept[b, ids[b, 0]] = 9
    assert torch.equal(tiny(dropped, ids).slots, slots)
    assert not torch.allclose(tiny(kept, ids).slots, slots, atol=1e-3)


def test_the_order_of_kept_patches_does_not_matter(tiny):
    ids, patches = subset(2, 6, 4), torch.rand(2, 6, 12)
    torch.testing.assert_close(tiny(patches, ids.flip(1)).log_masks, tiny(patches, ids).log_masks)


def test_the_place_of_a_patch_matters(tiny):
    ids, patches = subset(2, 6, 6), torch.rand(2, 6, 12)
    assert not torch.allclose(tiny(patches.flip(1), ids).slots, tiny(patches, ids).slots, atol=1e-3)


def test_permuted_class_tokens_permute_the_slots(tiny):
    ids, patches, order = subset(2, 6, 4), torch.rand(2, 6, 12), torch.tensor([2, 0, 1])
    before = tiny(patches, ids)
    tiny.class_tokens.data = tiny.class_tokens.data[order]
    after = tiny(patches, ids)
    torch.testing.assert_close(after.slots, before.slots[:, order])
    torch.testing.assert_close(after.rgb, before.rgb[:, order])
    torch.testing.assert_close(after.log_masks, before.log_masks[:, order])
    torch.testing.assert_close(after.reconstruction, before.reconstruction)


def test_noise_is_added_to_the_class_tokens(tiny):
    ids, patches, noise = subset(2, 6, 4), torch.rand(2, 6, 12), torch.randn(3, 8)
    noisy = tiny(patches, ids, noise.expand(2, 3, 8)).slots
    tiny.class_tokens.data += noise
    torch.testing.assert_close(noisy, tiny(patches, ids).slots)


def test_low_precision_keeps_the_mixture_and_the_object_function_in_float32(tiny):
    patches, ids = torch.rand(2, 6, 12), subset(2, 6, 4)
    exact = tiny(patches, ids)
    with torch.autocast("cpu", torch.bfloat16):
        out = tiny(patches, ids)
    assert {value.dtype for value in out} == {torch.float32}
    torch.testing.assert_close(out.log_attention.exp().sum(2), torch.ones(2, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.log_masks.exp().sum(1), torch.ones(2, 6, 4), rtol=0, atol=1e-6)
    torch.testing.assert_close(out.reconstruction, exact.reconstruction, rtol=0, atol=0.05)
    assert not torch.equal(out.reconstruction, exact.reconstruction)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_what_the_cpu_gives(tiny):
    patches, ids = torch.rand(2, 6, 12), subset(2, 6, 4)
    expected = tiny(patches, ids)
    found = tiny.cuda()(patches.cuda(), ids.cuda())
    for value, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dataset", "name", "expected"),
    [
        ("tetrominoes", "objmae", 1_506_916),
        ("multi_dsprites", "objmae", 6_032_256),
        ("clevr6", "objmae", 24_632_320),
        ("clevrtex", "objmae", 24_635_392),
        ("tetrominoes", "objmae:demo", 137_652),
    ],
)
def test_number_of_trainable_parameters(build, dataset, name, expected):
    with torch.device("meta"):
        model = build(dataset, name).model
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


def test_linear_layers_start_xavier_uniform_with_zero_bias(build):
    model = build().model
    for module in model.modules():
        if isinstance(module, nn.Linear):
            bound = math.sqrt(6 / (module.in_features + module.out_features))
            assert 0.99 * bound < module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
            assert (module.bias == 0).all() == (module is not model.patch_projection)


def test_patch_projection_bias_starts_as_that_of_a_convolution(build):
    bias = build("clevr6").model.patch_projection.bias
    bound = 1 / math.sqrt(16 * 16 * 3)
    assert 0.98 * bound < bias.abs().max() <= bound
    assert bias.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_tokens_start_small_and_layer_norms_neutral(build):
    model = build().model
    assert model.class_tokens.std().item() == pytest.approx(0.002, rel=0.1)
    assert model.mask_token.std().item() == pytest.approx(0.02, rel=0.2)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * (4 + 2) + 2
    for norm in norms:
        assert norm.eps == 1e-5
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()


def test_position_tables_are_neither_trained_nor_saved(tiny):
    assert not [name for name in tiny.state_dict() if "position" in name]
    assert not tiny.encoder_position.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 4}, r"model\.patch: expected a divisor of the image size 35x35, found 4"),
        ({"heads": 5}, r"model\.heads: expected a divisor of model\.width=192, found 5"),
        (
            {"decoder_heads": 3},
            r"model\.decoder_heads: expected a divisor of model\.decoder_width=128, found 3",
        ),
        ({"width": 90, "heads": 3}, r"width: expected a multiple of 4 > 0, found 90"),
    ],
)
def test_impossible_geometry_is_refused(configure, change, message):
    with pytest.raises(RequestError, match=message):
        Autoencoder(parse(Model, configure()["model"] | change), (35, 35), slots=4)
