"""MarioNette: sizes, its picture and its labels anchor by anchor, its loss by its formula, refusals, the method contract."""

from __future__ import annotations

import pytest
import torch
from helpers.known import known_loss, tensors_kept
from helpers.marionette import norm
from torch.distributions import Beta
from torch.nn.functional import affine_grid, grid_sample, pad

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
GROUPS = [(0, 0), (0, 1), (1, 0), (1, 1)]
SIDE = 40
TINY = {
    "model.canvas": SIDE,
    "model.layer_size": 10,  # cells of 4x4
    "model.sprites": 5,
    "model.latent": 24,
    "model.backgrounds": 3,
    "model.background_latent": 24,
}


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("marionette", dataset, **{**TINY, **overrides})


@pytest.mark.parametrize(
    ("dataset", "window", "count"),
    [
        (
            "clevr6",
            32,
            10_418_251,
        ),  # 8.85 M and the 1.57 M of 4 more dimensions of the background
        ("clevrtex", 32, 33_000_515),
        ("multi_dsprites", 32, 10_503_587),
        ("tetrominoes", 32, 8_022_091),
    ],
)
def test_size_of_sprites_and_number_of_parameters(dataset, window, count):
    method = create("marionette", dataset)
    assert method.sprites.shape == (4, window, window)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    overrides = TINY if not variant else {}
    passed = check_method(f"marionette{variant}", "tetrominoes", overrides=overrides)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def painted_by_hand(method, images, order):
    """Picture (B,3,H,W) and masks (B,1+N,H,W) of one canvas per anchor, with the method's networks."""
    model, side = method.settings.model, SIDE
    n, cell = model.layer_size, SIDE // model.layer_size
    codes = method.encoder(images)
    logits = torch.einsum("blijd,kd->blijk", norm(method.choose.project(codes)), method.sprites.codes())
    weights = (logits / model.latent**0.5).softmax(-1)
    background_codes = method.background_encoder(images).flatten(1)
    queries = norm(method.choose_background.project(background_codes))
    chosen = (queries @ method.backgrounds.codes().T / model.background_latent**0.5).softmax(-1)
    picture = torch.einsum("bk,kchw->bchw", chosen, method.backgrounds.pictures())
    sprites, padded = method.sprites.pictures(), pad(images, (cell // 2,) * 4)
    painted = []
    for layer in range(model.layers):
        for position in range(4):
            for row in range(n):
                for column in range(n):
                    own = torch.tensor(
                        [GROUPS[groups[position]] == (row % 2, column % 2) for groups in order.tolist()]
                    )
                    if not own.any():
                        continue
                    code = codes[:, layer, row, column]
                    presence = method.presence(code).sigmoid()[..., None, None]
                    sprite = torch.einsum("bk,kchw->bchw", weights[:, layer, row, column], sprites)
                    window = padded[:, :, row * cell : (row + 2) * cell, column * cell : (column + 2) * cell]
                    both = method.window_encoder(torch.cat([window, sprite], dim=1)).flatten(1)
                    shift = method.shift(both).tanh() / 2
                    theta = torch.cat([torch.eye(2).expand(len(images), 2, 2), -shift[..., None]], dim=2)
                    grid = affine_grid(theta, list(sprite.shape), align_corners=False)
                    rgb = grid_sample(
                        presence * sprite[:, :3], grid, padding_mode="border", align_corners=False
                    )
                    alpha = grid_sample(presence * sprite[:, 3:], grid, align_corners=False)
                    canvas = torch.zeros(len(images), 4, side + cell, side + cell)
                    place = (
                        ...,
                        slice(row * cell, (row + 2) * cell),
                        slice(column * cell, (column + 2) * cell),
                    )
                    canvas[place] = torch.cat([rgb, alpha], dim=1) * own[:, None, None, None]
                    canvas = canvas[..., cell // 2 : side + cell // 2, cell // 2 : side + cell // 2]
                    picture = (1 - canvas[:, 3:]) * picture + canvas[:, 3:] * canvas[:, :3]
                    painted.append(((layer * n + row) * n + column, canvas[:, 3]))
    masks = torch.zeros(len(images), 1 + model.layers * n * n, side, side)
    left = torch.ones(len(images), side, side)
    for number, alpha in reversed(painted):
        masks[:, 1 + number] += alpha * left
        left = left * (1 - alpha)
    masks[:, 0] = 1 - masks.sum(1)
    return picture, masks, weights


@pytest.fixture(scope="module")
def lively():
    """A method whose sprites differ, with an order of the groups for each of two images."""
    method = tiny().eval()
    with torch.no_grad():
        method.sprites.decoder[-1].weight.mul_(5)
        method.choose.project.weight.mul_(5)
        method.presence.layers[-1].bias.fill_(1)
        method.shift.layers[-1].weight.mul_(5)
    images = torch.rand(2, 3, 35, 35)
    method.seed_images(torch.tensor([3, 4]))
    noise = method.normal(images, 4)
    method.seed_images(torch.tensor([3, 4]))
    return method, images, noise.argsort(1)


def test_picture_and_labels_are_those_of_a_canvas_per_anchor(lively):
    method, images, order = lively
    assert not torch.equal(order[0], order[1])
    method.seed_images(torch.tensor([3, 4]))
    with torch.no_grad():
        picture, masks, _ = painted_by_hand(method, method.canvas.put(images), order)
        found = method.segment(images)
    torch.testing.assert_close(found.reconstruction, picture[..., :35, :35], rtol=0, atol=1e-5)
    two = masks[..., :35, :35].topk(2, dim=1).values
    clear = two[:, 0] - two[:, 1] > 1e-5
    assert clear.float().mean() > 0.99
    assert torch.equal(found.labels[clear], masks[..., :35, :35].argmax(1)[clear])
    assert len(found.labels.unique()) > 30


def test_boxes_are_the_windows_of_anchors_where_they_moved(lively):
    method, images, _ = lively
    found = method.segment(images)
    boxes, presence = found.extras["boxes"], found.extras["presence"]
    assert boxes.shape == (2, 200, 4)
    assert presence.shape == (2, 200)
    torch.testing.assert_close(boxes[..., 2:], torch.full((2, 200, 2), 8 / 35))
    with torch.no_grad():
        shift = method._scene(method.canvas.put(images)).shift.flatten(1, 3)
    row, column = 3, 7
    expected = torch.tensor([column * 4 - 2, row * 4 - 2]) + 4 * shift[:, 100 + row * 10 + column]
    torch.testing.assert_close(boxes[:, 100 + row * 10 + column, :2], expected / 35)
    for image in range(2):  # a label lies in its box
        for label in found.labels[image].unique().tolist():
            if label:
                y, x = ((found.labels[image] == label).nonzero().T + 0.5) / 35
                left, top, width, height = boxes[image, label - 1]
                assert (x > left - 1 / 35).all()
                assert (x < left + width + 1 / 35).all()
                assert (y > top - 1 / 35).all()
                assert (y < top + height + 1 / 35).all()


def test_the_slot_of_an_anchor_is_its_mixture_of_sprites_its_window_and_its_presence(lively):
    method, images, _ = lively
    with torch.no_grad():
        found = method.segment(images)
    mixture, box, presence = found.slots.split([method.settings.model.sprites, 4, 1], dim=2)
    assert not found.slots[:, 0].any()
    assert torch.equal(box[:, 1:], found.extras["boxes"])
    assert torch.equal(presence[:, 1:, 0], found.extras["presence"])
    with torch.no_grad():
        codes = method.encoder(method.canvas.put(method.resolution.downsample(images)))
        weights = method.choose(codes, method.sprites.codes())
    assert torch.equal(mixture[:, 1:], weights.flatten(1, 3))
    assert mixture[:, 1:].std() > 0


def test_without_presence_there_is_only_the_background():
    method, images = tiny().eval(), torch.rand(2, 3, 35, 35)
    with torch.no_grad():
        method.presence.layers[-1].bias.fill_(-50)
        found = method.segment(images)
        background = method.canvas.crop(method._background(method.canvas.put(images)))
    assert (found.labels == 0).all()
    torch.testing.assert_close(found.reconstruction, background)


def test_the_order_of_the_groups_is_random_for_each_image_by_itself():
    method, images = tiny().eval(), torch.rand(1, 3, 35, 35).expand(8, -1, -1, -1)
    method.seed_images(torch.arange(8))
    with torch.no_grad():
        pictures = method.segment(images).reconstruction
        method.seed_images(torch.arange(8).flip(0))
        again = method.segment(images).reconstruction
    assert ((pictures - pictures[:1]).flatten(1).abs().amax(1) > 1e-4).any()
    torch.testing.assert_close(again.flip(0), pictures, rtol=0, atol=1e-5)
    method.seed_images(None)
    orders = method._scene(torch.rand(64, 3, SIDE, SIDE)).order
    assert len(orders.unique(dim=0)) > 12  # of 24, in training
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(64, 4))


def test_the_later_layer_is_in_front():
    method = tiny().eval()
    with torch.no_grad():
        method.sprites.decoder[-1].bias.view(4, -1)[3] = 50  # opaque
        method.presence.layers[-1].bias.fill_(50)
        labels = method.segment(torch.rand(1, 3, 35, 35)).labels
    assert labels.min() > 100  # ten by ten anchors of the first layer


def test_loss_is_the_error_of_the_image_and_what_is_undecided_and_present(lively):
    method, images, order = lively
    method.seed_images(torch.tensor([3, 4]))
    with torch.no_grad():
        losses = method.training_loss(images, START)
        padded = method.canvas.put(images)
        picture, _, weights = painted_by_hand(method, padded, order)
        presence = method.presence(method.encoder(padded).flatten(0, 3)).sigmoid()
    density = [Beta(2.0, 2.0).log_prob(p.clamp(1e-5, 1 - 1e-5)).exp().mean() for p in (weights, presence)]
    expected = {
        "reconstruction": (picture[..., :35, :35] - images).square().mean(),
        "undecided": sum(density) / 2,
        "presence": presence.mean(),
    }
    assert losses.parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses.parts[name], value, rtol=1e-4, atol=1e-5, msg=name)
    total = expected["reconstruction"] + 0.002 * expected["undecided"] + 5e-3 * expected["presence"]
    torch.testing.assert_close(losses.total, total, rtol=1e-4, atol=1e-6)


def test_the_dictionary_of_backgrounds_alone_learns_ten_times_as_fast():
    method = tiny()
    (others, slow), (backgrounds, fast) = method.optimizers(method.stages()[0])
    assert (slow(START), fast(START)) == (1e-4, 1e-3)
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    of = [
        {names[id(p)] for group in each.param_groups for p in group["params"]}
        for each in (others, backgrounds)
    ]
    assert of[1] == {name for name in names.values() if name.startswith("backgrounds.")}
    assert of[0] == set(names.values()) - of[1]
    for each in (others, backgrounds):
        assert isinstance(each, torch.optim.AdamW)
        assert [group["weight_decay"] for group in each.param_groups] == [0.01]


def test_training_and_the_end_mix_sprites_alike():
    method, images = tiny(), torch.rand(2, 3, SIDE, SIDE)
    with torch.no_grad():
        one, two = method.train()._scene(images), method.eval()._scene(images)
    torch.testing.assert_close(one.weights, two.weights)
    torch.testing.assert_close(one.presence, two.presence)
    assert one.weights.max() < 0.99


def test_one_background_needs_no_encoder_and_several_depend_on_the_image():
    images = torch.rand(2, 3, SIDE, SIDE)
    one = tiny(**{"model.backgrounds": 1, "model.background_latent": 8})
    assert not [
        name for name, _ in one.named_parameters() if "background_encoder" in name or "choose_b" in name
    ]
    assert torch.equal(*one._background(images))
    several = tiny()._background(images)
    assert (several[0] - several[1]).abs().max() > 1e-3


def test_smaller_images_give_labels_that_are_repeated():
    method = create("marionette:demo", "tetrominoes")
    with torch.no_grad():
        method.presence.layers[-1].bias.fill_(50)
        method.sprites.decoder[-1].bias.view(4, -1)[3] = 5
        labels = method.segment(torch.rand(2, 3, 35, 35)).labels
    where = ((torch.arange(35) + 0.5) * 0.4).long()
    first = [int((where == i).nonzero()[0]) for i in range(14)]
    assert torch.equal(labels, labels[:, first][:, :, first][:, where][:, :, where])
    assert len(labels.unique()) > 4


def test_no_tensors_are_kept_from_step_to_step():
    assert tensors_kept(tiny(), START) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.layer_size": 5}, r"model\.layer_size: expected a multiple of 2 .*found 5"),
        ({"model.layer_size": 4}, r"model\.layer_size: expected an even number that divides 40 into a power of two"),
        ({"model.layer_size": 6}, r"model\.layer_size: expected an even number that divides 40 into a power of two"),
        ({"model.layer_size": 40}, r"model\.layer_size: expected an even number that divides 40 into a power of two"),
        ({"model.background_latent": 4}, r"model\.background_latent: expected a multiple of 8 .*found 4"),
        ({"model.background_latent": 12}, r"model\.background_latent: expected a multiple of 8 .*found 12"),
        ({"model.background_latent": 16}, r"model\.background_latent: expected at least 24 with model\.backgrounds=3"),
        ({"model.latent": 16}, r"model\.latent: expected a multiple of 8 .*found 16"),
        ({"model.canvas": 32}, r"model\.canvas: expected at least 35"),
        ({"loss.certainty": -1.0}, r"loss\.certainty: expected a number >= 0, found -1\.0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(RequestError, match=message):
        tiny(**change)


def test_a_known_model_has_the_loss_that_it_had():
    golden = {
        "total": 0.1306125,
        "reconstruction": 0.1259817,
        "undecided": 0.9762098,
        "presence": 0.5356693,
    }
    assert known_loss(tiny(), START) == pytest.approx(golden, rel=1e-4)
