"""DTI-Sprites: sizes as published, phases, the loss by hand, renewal, both scorings, refusals, and the method contract."""

from __future__ import annotations

import pytest
import torch
from benches.train_memory import TensorMemory
from helpers.known import known_loss, tensors_kept

from objbench.errors import RequestError
from objbench.methods.base import Losses, Progress
from objbench.methods.create import create
from objbench.methods.dti_sprites import Phase
from objbench.methods.dti_sprites.painting import paint
from objbench.methods.dti_sprites.selection import compose, later_on_top, select
from objbench.testing import check_method

TINY = {
    "model.resolution": 14,
    "model.encoder": "resnet8",
    "model.pool": 1,
    "model.hidden": 8,
    "model.sprite_size": 6,
    "model.mask_deviation": 2.0,
    "reassignment.interval": 2,
}


def tiny(dataset="tetrominoes", name="dti_sprites", **overrides):
    torch.manual_seed(0)
    return create(name, dataset, **{**TINY, **overrides})


def at(epoch, of, step=None):
    return Progress("train", step or epoch, of, 0, of)


@pytest.mark.parametrize(
    ("name", "dataset", "count"),
    [
        # The published counts, 0.66, 5.2, 26.9, 79.3 and 48.2 M, less the networks of the empty sprite.
        ("dti_sprites", "tetrominoes", 659_755),
        ("dti_sprites", "multi_dsprites", 4_489_033),
        ("dti_sprites", "clevr6", 25_254_735),
        ("dti_sprites", "clevrtex", 73_671_346),
        ("dti_sprites:clevr", "clevrtex", 45_435_601),
    ],
)
def test_number_of_parameters(name, dataset, count):
    with torch.device("meta"):
        method = create(name, dataset)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize("dataset", ["tetrominoes", "multi_dsprites"])
def test_contract(dataset):
    overrides = TINY | {
        "search.empty_cost": None
    }  # random images are best left empty, and then sprites do not learn
    passed = check_method("dti_sprites", dataset, overrides=overrides)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


@pytest.mark.parametrize(
    ("dataset", "epochs", "frozen", "late"),
    [("multi_dsprites", 510, 10, 20), ("clevr6", 450, 40, 150), ("clevrtex", 450, 40, 150)],
)
def test_phases_are_those_of_the_published_epochs(dataset, epochs, frozen, late):
    method = tiny(dataset)
    for epoch in (0, frozen - 1, frozen, late - 1, late, epochs - 1):
        expected = Phase(frozen=epoch < frozen, late=epoch >= late)
        assert method.capture_key(at(epoch, epochs)) == expected
    assert method._phase(None) == Phase(frozen=False, late=True)


def test_frozen_sprites_do_not_learn_and_the_background_does():
    method, images = tiny("multi_dsprites", **{"search.empty_cost": None}), torch.rand(2, 3, 64, 64)
    method.training_loss(images, at(0, 510)).total.backward()
    assert method.colours.grad is None
    assert method.alpha.grad is None
    assert method.background.grad.abs().sum() > 0
    method.training_loss(images, at(10, 510)).total.backward()
    assert method.alpha.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in method.late.parameters())
    method.training_loss(images, at(20, 510)).total.backward()
    assert method.late[0].biases[-1].grad is not None


def test_no_layer_is_empty_while_sprites_are_frozen():
    method = tiny("multi_dsprites", **{"search.empty_cost": 10.0})
    images = torch.rand(2, 3, 64, 64)
    assert method.training_loss(images, at(0, 510)).parts["objects"] == 5
    assert method.training_loss(images, at(10, 510)).parts["objects"] == 0
    assert (method.eval().segment(images).extras["sprites"] == 3).all()


def test_the_loss_is_the_error_of_the_composed_image_and_costs_nothing_for_sprites():
    method, images = tiny(**{"search.noise": 0.0}), torch.rand(2, 3, 35, 35)
    losses = method.training_loss(images, at(5, 210))
    small, phase = method.resolution.downsample(images), Phase(frozen=False, late=True)
    predicted = method._predict(small, phase)
    chosen = method._choose(small, predicted, phase)
    colours, masks = method._paint_chosen(predicted, chosen, phase)
    hides = later_on_top(3, masks).expand(2, -1, -1)
    picture = compose(colours, masks, hides, torch.zeros_like(small))
    torch.testing.assert_close(losses.total, (picture - small).square().mean(), rtol=1e-3, atol=1e-5)
    counts = torch.nn.functional.one_hot(chosen, 20).float().mean(0)
    assert method.usage.sum() == counts.sum() == 3


@pytest.mark.parametrize("noise", [False, True])
def test_the_search_paints_a_layer_at_a_time_and_sees_what_painting_all_of_them_gives(noise):
    method = tiny("clevrtex")
    for parameter in method.parameters():  # as at the start all sprites are alike
        torch.nn.init.normal_(parameter, std=0.2)
    method.double()
    small = torch.rand(4, 3, 14, 14, dtype=torch.float64)
    unit = torch.rand(10, 1, 14, 14, dtype=torch.float64) - 0.5 if noise else None
    predicted = method._predict(small, Phase(frozen=False, late=True))
    sprites = method._sprites(noise).detach().expand(4, 10, -1, -1, -1, -1)
    colours, masks = paint(sprites, predicted.sprites, predicted, unit, (14, 14))
    found = method._choose(small, predicted, Phase(frozen=False, late=True), unit)
    expected = select(
        small,
        lambda layer: (colours[:, layer], masks[:, layer]),
        predicted.hides,
        predicted.background,
        rounds=3,
        empty=1e-4,
    )
    assert torch.equal(found, expected)
    assert len(found.unique()) > 3


def test_the_search_holds_the_sprites_of_one_layer():
    peaks = []
    for slots in (3, 11):  # 2 and 10 layers
        method, small = tiny("clevrtex", slots=slots), torch.rand(2, 3, 14, 14)
        phase = Phase(frozen=False, late=True)
        with torch.no_grad():
            predicted = method._predict(small, phase)
            with TensorMemory() as memory:
                method._choose(small, predicted, phase)
        peaks.append(memory.peak)
    assert peaks[1] < 2 * peaks[0]


def test_painting_the_chosen_sprites_gives_what_the_search_saw():
    method, images = tiny("multi_dsprites"), torch.rand(2, 3, 14, 14)
    for parameter in (*method.late.parameters(), *method.color.parameters(), method.colours):
        torch.nn.init.normal_(parameter, std=0.2)
    phase, noise = Phase(frozen=False, late=True), 0.4 * torch.rand(3, 1, 14, 14)
    predicted = method._predict(images, phase)
    seen = {}
    for sprite in range(3):
        chosen = torch.full((2, 5), sprite)
        seen[sprite] = method._paint_chosen(predicted, chosen, phase, noise)
    mixed = torch.tensor([[0, 1, 2, 1, 3], [2, 2, 3, 0, 1]])
    colours, masks = method._paint_chosen(predicted, mixed, phase, noise)
    for image in range(2):
        for layer in range(5):
            sprite = int(mixed[image, layer])
            if sprite == 3:
                assert (masks[image, layer] == 0).all()
            else:
                torch.testing.assert_close(colours[image, layer], seen[sprite][0][image, layer])
                torch.testing.assert_close(masks[image, layer], seen[sprite][1][image, layer])
    assert not torch.allclose(seen[0][1], seen[1][1])


def test_noise_changes_masks_only_where_the_sprite_is():
    method, images = tiny(), torch.rand(1, 3, 14, 14)
    phase, chosen = Phase(frozen=False, late=True), torch.zeros(1, 3, dtype=torch.int64)
    predicted = method._predict(images, phase)
    plain = method._paint_chosen(predicted, chosen, phase, torch.zeros(19, 1, 14, 14))[1]
    noisy = method._paint_chosen(predicted, chosen, phase, torch.full((19, 1, 14, 14), 0.4))[1]
    assert (noisy[..., 0, :] == plain[..., 0, :]).all()  # the sprite fills the middle half
    assert noisy[..., 7, 7].min() > plain[..., 7, 7].min() or plain[..., 7, 7].min() >= 1
    assert noisy[..., 4, 4].min() > plain[..., 4, 4].min() + 0.2


def test_sprites_are_renewed_at_intervals_and_not_while_frozen():
    method = tiny("multi_dsprites")
    method.alpha.data[0] = 7.0
    usage = torch.tensor([100.0, 0, 50, 0]).expand(5, -1)
    for step, epoch, renewed in ((1, 5, False), (30, 30, False), (31, 31, True)):
        method.usage.copy_(usage)
        method.after_step(at(epoch, 510, step), Losses(torch.zeros(())), [])
        assert bool((method.alpha[1] == 7).all()) == renewed
        assert bool((method.usage == 0).all()) == (step % 2 == 1)


def test_the_encoder_learns_as_fast_as_it_is_stepped_often():
    for scale in (7.0, 1.0):
        method = tiny("multi_dsprites", **{"optimizer.encoder_scale": scale})
        (_, warm), (networks, falling) = method.optimizers(method.stages()[0])
        encoder, others = networks.param_groups
        assert encoder["lr_scale"] == scale
        assert "lr_scale" not in others
        assert len(encoder["params"]) == len(list(method.encoder.parameters()))
        assert encoder["weight_decay"] == others["weight_decay"] == 1e-6
        rates = [falling(at(epoch, 510)) for epoch in (0, 249, 250, 500)]
        assert rates == pytest.approx([1e-4, 1e-4, 1e-5, 1e-6])
        assert warm(at(505, 510)) == 1e-4


def test_the_published_multipliers_are_layers_backgrounds_and_one():
    for dataset, times in (
        ("tetrominoes", 1),
        ("multi_dsprites", 7),
        ("clevr6", 8),
        ("clevr10", 12),
        ("clevrtex", 12),
    ):
        method = tiny(dataset)
        _, (networks, _) = method.optimizers(method.stages()[0])
        assert networks.param_groups[0]["lr_scale"] == times
    fewer = create("dti_sprites:clevrtex", "tetrominoes", slots=4)
    assert fewer.optimizers(fewer.stages()[0])[1][0].param_groups[0]["lr_scale"] == 5


def test_every_parameter_has_one_optimizer():
    method = tiny("clevrtex")
    found = [p for o, _ in method.optimizers(method.stages()[0]) for g in o.param_groups for p in g["params"]]
    assert {id(p) for p in found} == {id(p) for p in method.parameters()}
    assert len(found) == len(list(method.parameters()))


def test_the_background_begins_as_the_mean_of_images():
    method, images = tiny("clevr6"), torch.rand(5, 3, 128, 128)
    with torch.no_grad():
        method.setup(images, method.stages()[0])
    expected = method.resolution.downsample(images).mean(0)
    torch.testing.assert_close(method.background[0].detach(), expected)


def test_masks_make_the_image_and_sum_to_one_where_layers_are_ordered():
    for dataset, ordered in (("tetrominoes", True), ("multi_dsprites", False)):
        method = tiny(dataset, **{"model.resolution": None}).eval()
        images = torch.rand(2, *method.image_shape)
        with torch.no_grad():
            found = method.segment(images)
        picture = (found.masks[:, :, None] * found.components).sum(1)
        torch.testing.assert_close(picture, found.reconstruction)
        assert found.partition == ordered


def test_the_slot_of_a_layer_is_its_sprite_and_the_numbers_of_its_transformations():
    method = tiny(**{"search.empty_cost": 1e-3, "model.sprites": 3}).eval()
    with torch.no_grad():
        for parameter in method.parameters():  # so that layers and sprites differ
            parameter.add_(0.1 * torch.randn_like(parameter))
        images = torch.rand(6, 3, 35, 35)
        found = method.segment(images)
        predicted = method._predict(method.resolution.downsample(images), Phase(frozen=False, late=True))
    sizes = [numbers.shape[-1] for _, numbers in predicted.sprites]
    assert found.slots.shape == (6, method.layers + 1, 4 + sum(sizes) + 6 + 3)
    assert not found.slots[:, 0].any()
    chosen = found.extras["sprites"]
    for n in range(6):
        for layer in range(method.layers):
            kind = int(chosen[n, layer])
            own = [numbers[n, layer, min(kind, 2)] for _, numbers in predicted.sprites]
            numbers = torch.cat([*own, predicted.color[n, layer], predicted.position[n, layer]])
            expected = [torch.eye(4)[kind], numbers * (kind < 3)]
            assert torch.equal(found.slots[n, layer + 1], torch.cat(expected))
    assert len(chosen.unique()) > 1


def test_the_second_scoring_leaves_no_pixel_to_the_background():
    method = tiny().eval()
    with torch.no_grad():
        found = method.segment(torch.rand(2, 3, 35, 35))
    assert (found.prediction == 0).any()
    reassigned = found.alternatives["reassigned"]
    assert reassigned.min() == 1
    assert reassigned.max() <= 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slots": 1}, r"slots: expected at least 2"),
        ({"model.background_transforms": ["color"]}, r"expected \[\] for a black background"),
        ({"curriculum.frozen_epochs": 210}, r"curriculum\.frozen_epochs: expected less than recipe\.nominal_epochs=210"),
        ({"curriculum.late_epoch": 300}, r"curriculum\.late_epoch: expected less than recipe\.nominal_epochs=210"),
        ({"model.encoder": "resnet50"}, r"model\.encoder"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(RequestError, match=message):
        tiny(**change)


def test_a_known_model_has_the_loss_that_it_had():
    found = known_loss(tiny(**{"search.empty_cost": None}), at(5, 210))
    assert found == pytest.approx({"total": 0.3326586, "objects": 3.0}, rel=1e-4)


def test_no_tensors_are_kept_from_step_to_step():
    assert tensors_kept(tiny(), at(5, 210)) == 0
