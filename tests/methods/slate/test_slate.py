"""SLATE: sizes, its loss by its formula, masks from tokens, rates and temperature, refusals, and the method contract."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.known import first_slots, tensors_kept
from torch.nn.functional import one_hot

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
TINY = {
    "model.vocabulary": 8,
    "model.dvae_channels": 4,
    "model.width": 8,
    "model.slot_width": 6,
    "model.mlp_width": 8,
    "model.iterations": 2,
    "model.blocks": 2,
    "model.heads": 2,
}


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("slate", dataset, **{**TINY, **overrides})


@pytest.mark.parametrize(
    ("name", "dataset", "tokens", "count"),
    [
        ("slate", "multi_dsprites", (16, 16), 3_616_451),  # the published default, of 3.6 M
        ("slate", "tetrominoes", (9, 9), 3_616_451 - 192 * (256 - 81)),  # less positions
        ("slate", "clevr6", (32, 32), 7_707_587),  # 7.7 M
        ("slate", "clevr10", (32, 32), 7_707_587),
        ("slate", "clevrtex", (32, 32), 7_707_587),
        ("slate:shapes3d", "clevr6", (32, 32), 3_616_451 + 192 * (1024 - 256)),
        ("slate:demo", "tetrominoes", (7, 7), 223_155),
    ],
)
def test_number_of_tokens_and_parameters(name, dataset, tokens, count):
    method = create(name, dataset)
    assert method.size == tokens
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize("variant", ["", ":shapes3d", ":demo"])
def test_contract(variant):
    overrides = {} if variant == ":demo" else TINY
    passed = check_method(f"slate{variant}", "tetrominoes", overrides=overrides)
    assert {
        "gradients",
        "determinism",
        "resume",
        "captured_steps",
        "batch_size_does_not_matter",
        "other_slots",
    } <= set(passed)


def test_loss_is_the_squared_error_of_the_relaxed_tokens_and_the_cross_entropy_of_others(monkeypatch):
    method, images = tiny(**{"model.dropout": 0.0}), torch.rand(2, 3, 35, 35)
    method.clock.step.fill_(15_000)  # half of the way: 0.55
    first, second = torch.rand(2, 2, 8, 9, 9).exponential_().log().neg()
    drawn = iter([first, second])
    noise = torch.randn(2, 4, 6)
    monkeypatch.setattr(method, "_gumbel", lambda like: next(drawn))
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    losses = method.training_loss(images, START)
    canvas = torch.zeros(2, 3, 36, 36)
    canvas[..., :35, :35] = images
    logits = method.dvae.encoder(canvas)
    relaxed = torch.softmax((logits + first) / 0.55, 1)
    error = (method.dvae.decoder(relaxed)[..., :35, :35] - images).square().sum() / 2
    tokens = (logits + second).argmax(1).view(2, 81)
    embedded = method.embedding(tokens)
    slots, _ = method.attention(
        method.features(embedded[:, 1:]), method.slot_mean + method.slot_log_std.exp() * noise
    )
    told = method.decoder(embedded[:, :-1], slots).softmax(-1)
    entropy = -(told * one_hot(tokens, 8)).sum(-1).log().sum() / 2
    torch.testing.assert_close(losses.parts["dvae_error"], error)
    torch.testing.assert_close(losses.parts["cross_entropy"], entropy)
    torch.testing.assert_close(losses.total, error + entropy)
    assert float(losses.parts["temperature"]) == pytest.approx(0.55)


def test_the_two_samples_have_noise_of_their_own(monkeypatch):
    method, seen = tiny(), []
    noise_of = method._gumbel
    monkeypatch.setattr(method, "_gumbel", lambda like: seen.append(noise_of(like)) or seen[-1])
    method.training_loss(torch.rand(2, 3, 35, 35), START)
    one, two = seen
    assert one.shape == two.shape == (2, 8, 9, 9)
    assert (one != two).all()
    assert float(torch.cat(seen).mean()) == pytest.approx(0.577, abs=0.1)


@pytest.mark.parametrize("part", ["dvae_error", "cross_entropy"])
def test_the_dvae_learns_from_its_own_error_alone_and_all_else_from_the_tokens(part):
    method = tiny()
    method.training_loss(torch.rand(2, 3, 35, 35), START).parts[part].backward()
    reached = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    dvae = {name for name, _ in method.named_parameters() if name.startswith("dvae.")}
    everything = {name for name, _ in method.named_parameters()}
    assert reached == (dvae if part == "dvae_error" else everything - dvae)


def test_masks_are_the_attention_repeated_over_each_token_and_cropped():
    method = tiny().eval()
    found = method.segment(torch.rand(2, 3, 35, 35))
    assert found.attention.shape == (2, 4, 9, 9)
    assert found.masks.shape == (2, 4, 35, 35)
    for row, column in ((0, 0), (3, 4), (34, 31), (17, 34)):
        pixel = found.masks[..., row, column]
        torch.testing.assert_close(pixel, found.attention[..., row // 4, column // 4])
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))
    assert found.slots.shape == (2, 4, 6)


def test_attention_is_that_of_the_last_round_to_the_most_probable_tokens(monkeypatch):
    method, images = tiny().eval(), torch.rand(2, 3, 35, 35)
    noise = torch.randn(2, 4, 6)
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    tokens = method.dvae.encoder(method.canvas.put(images)).argmax(1).flatten(1)
    inputs = method.features(method.embedding(tokens)[:, 1:])
    _, attention = method.attention(inputs, method.slot_mean + method.slot_log_std.exp() * noise)
    found = method.segment(images).attention
    torch.testing.assert_close(found.flatten(2), attention.mT)
    method.attention.iterations = 1
    _, first = method.attention(inputs, method.slot_mean + method.slot_log_std.exp() * noise)
    assert not torch.allclose(found.flatten(2), first.mT, atol=1e-4)


def test_there_is_no_reconstruction_as_none_has_gone_through_the_slots():
    found = tiny().eval().segment(torch.rand(1, 3, 35, 35), START)
    assert found.reconstruction is found.components is None


def test_during_the_training_a_segmentation_has_the_loss_of_its_tokens(monkeypatch):
    method, images = tiny().eval(), torch.rand(2, 3, 35, 35)
    noise = torch.randn(2, 4, 6)
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    assert "loss" not in method.segment(images).extras
    found = method.segment(images, START)
    tokens = method.dvae.encoder(method.canvas.put(images)).argmax(1)
    picture = method.dvae.decoder(one_hot(tokens, 8).movedim(-1, 1).float())[..., :35, :35]
    told = method.decoder(method.embedding(tokens.flatten(1))[:, :-1], found.slots).softmax(-1)
    entropy = -(told * one_hot(tokens.flatten(1), 8)).sum(-1).log().sum(1)
    expected = (picture - images).square().sum((1, 2, 3)) + entropy
    torch.testing.assert_close(found.extras["loss"], expected)


def rates(method, step, steps=2000):
    """Of the dVAE, and of slots and transformer."""
    (stage,) = method.stages()
    return [rate(Progress("train", step, steps, 0, 330)) for _, rate in method.optimizers(stage)]


def test_slots_and_transformer_warm_up_and_both_rates_fall_after_four_evaluations_in_vain():
    method = tiny()
    # 30,000 of 200,000 steps of warm-up are 300 of 2,000.
    assert [rates(method, step) for step in (0, 150, 300, 1999)] == [
        pytest.approx([3e-4, 1e-4 * warmth]) for warmth in (0, 0.5, 1, 1)
    ]
    seen = []
    for loss in (5.0, 6.0, 5.0, 7.0, 5.0, 5.0, 4.0, 4.5, 4.5, 4.5):
        method.after_evaluation(START, {"loss": loss, "ari_fg": 0.5})
        seen.append(rates(method, 1999)[0] / 3e-4)
    assert seen == pytest.approx([1] * 4 + [0.5] * 6)
    method.after_evaluation(START, {"ari_fg": 0.5})  # the evaluation after the last step
    method.after_evaluation(START, {"loss": 4.5})
    assert rates(method, 1999) == pytest.approx([3e-4 / 4, 1e-4 / 4])


def test_each_parameter_has_one_optimizer():
    method = tiny()
    dvae, others = [
        {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for optimizer, _ in method.optimizers(method.stages()[0])
    ]
    assert dvae == {id(parameter) for parameter in method.dvae.parameters()}
    assert dvae | others == {id(parameter) for parameter in method.parameters()}
    assert not dvae & others


def test_the_temperature_falls_along_a_cosine_with_the_steps_that_are_taken():
    method, found = tiny(), []
    method.setup(torch.rand(2, 3, 35, 35), method.stages()[0])
    for step in range(4):
        progress = Progress("train", step, 20, 0, 330)  # 20 of 20 steps are 200,000
        losses = method.training_loss(torch.rand(2, 3, 35, 35), progress)
        found.append(float(losses.parts["temperature"]))
        method.after_step(progress, losses, [])
    assert found == pytest.approx([1.0, 0.1 + 0.9 * 0.75, 0.1 + 0.9 * 0.25, 0.1])


def test_gradients_are_clipped_by_the_largest_of_them():
    (stage,) = tiny().stages()
    assert (stage.clip_norm, stage.clip_order) == (1.0, math.inf)


def test_slots_start_from_the_learned_normal_distribution():
    start = first_slots(tiny(**{"model.iterations": 1}))
    assert start.shape == (400, 4, 6)
    assert float(start.mean()) == pytest.approx(3, abs=0.02)
    assert float(start.std()) == pytest.approx(0.3679, abs=0.02)


def test_initial_values_of_slots_and_their_attention():
    torch.manual_seed(0)
    method = create("slate", "multi_dsprites")
    attention = method.attention
    recurrent = attention.gru.weight_hh
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(192), rtol=0, atol=1e-5)

    def largest(values):
        return float(values.detach().abs().max())

    glorot, kaiming = (6 / 384) ** 0.5, (6 / 192) ** 0.5
    for linear in (attention.query, attention.key, attention.value, attention.mlp[2], method.features[3]):
        assert largest(linear.weight) == pytest.approx(glorot, rel=0.01)
    for linear in (attention.mlp[0], method.features[1]):
        assert largest(linear.weight) == pytest.approx(kaiming, rel=0.01)
    assert largest(attention.gru.weight_ih) == pytest.approx((6 / (4 * 192)) ** 0.5, rel=0.01)
    for values in (method.slot_mean, method.slot_log_std):  # of shape 1,1,192
        assert 0.9 * glorot < largest(values) <= glorot
    biases = [p for name, p in method.named_parameters() if "bias" in name and p.ndim == 1]
    assert all(not bias.any() for bias in biases)


def test_smaller_images_have_fewer_tokens_and_masks_of_the_full_size():
    method = tiny("multi_dsprites", **{"model.resolution": 32}).eval()
    found = method.segment(torch.rand(1, 3, 64, 64))
    assert found.attention.shape == (1, 6, 8, 8)
    torch.testing.assert_close(found.masks, found.attention.repeat_interleave(8, 2).repeat_interleave(8, 3))


def test_steps_leave_no_tensors_behind():
    assert tensors_kept(tiny(), START) == 0


@pytest.mark.parametrize(
    ("dataset", "changed", "message"),
    [
        ("tetrominoes", {"model.canvas": None}, "model.upscales: expected factors .* 35x35 .*model.canvas.*, found"),
        ("multi_dsprites", {"model.upscales": [3, 2]}, r"divides the sides of the 64x64 .*, found \[3, 2\]"),
        ("tetrominoes", {"model.heads": 3}, "model.heads: expected a divisor of model.width=8, found 3"),
        ("tetrominoes", {"model.vocabulary": 1}, "model.vocabulary: expected a whole number >= 2, found 1"),
        ("tetrominoes", {"model.dropout": 1.0}, "model.dropout: expected a number >= 0 and < 1, found 1.0"),
        ("tetrominoes", {"model.canvas": 34}, "model.canvas: expected at least 35"),
    ],
)  # fmt: skip
def test_what_makes_no_model_is_refused(dataset, changed, message):
    with pytest.raises(RequestError, match=message):
        tiny(dataset, **changed)
