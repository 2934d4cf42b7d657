"""The greedy search against one that composes every image, composition by its formula, and labels of layers."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.dti_sprites.selection import (
    compose,
    later_on_top,
    occlusions,
    planes,
    select,
    visible_labels,
    without_background,
)


def scene(seed, layers, sprites, batch=3):
    torch.manual_seed(seed)
    kind = {"dtype": torch.float64}
    return {
        "images": torch.rand(batch, 3, 5, 6, **kind),
        "colours": torch.rand(batch, layers, sprites, 3, 5, 6, **kind),
        "masks": torch.rand(batch, layers, sprites, 1, 5, 6, **kind).mul(1.4).sub(0.2),
        "hides": occlusions(torch.rand(batch, layers * (layers - 1) // 2, **kind), layers),
        "background": torch.rand(batch, 3, 5, 6, **kind),
    }


def search(s, **options):
    """The search in a scene, given its sprites a layer at a time."""
    return select(
        s["images"],
        lambda layer: (s["colours"][:, layer], s["masks"][:, layer]),
        s["hides"],
        s["background"],
        **options,
    )


def by_formula(colours, masks, hides, background):
    """The image of one scene: colours (L,3,H,W), masks (L,1,H,W), hides (L,L), background (3,H,W)."""
    layers = len(colours)
    image = background.clone()
    for j in range(layers):
        image = image * (1 - masks[j])
    for i in range(layers):
        part = masks[i] * colours[i]
        for j in range(layers):
            if j != i:
                part = part * (1 - hides[j, i] * masks[j])
        image = image + part
    return image


def naive(s, rounds, empty):
    """The search that composes the image for every sprite."""
    batch, layers, sprites = s["colours"].shape[:3]
    chosen = torch.full((batch, layers), sprites)
    for b in range(batch):
        for _ in range(rounds):
            for layer in range(layers):
                errors = []
                for k in range(sprites if empty is None else sprites + 1):
                    trial = [*chosen[b].tolist()]
                    trial[layer] = k
                    masks = torch.stack(
                        [
                            s["masks"][b, i, t] if t < sprites else torch.zeros_like(s["masks"][b, 0, 0])
                            for i, t in enumerate(trial)
                        ]
                    )
                    colours = torch.stack(
                        [s["colours"][b, i, min(t, sprites - 1)] for i, t in enumerate(trial)]
                    )
                    image = by_formula(colours, masks, s["hides"][b], s["background"][b])
                    cost = empty if empty is not None and k < sprites else 0.0
                    errors.append((image - s["images"][b]).square().mean() + cost)
                chosen[b, layer] = torch.stack(errors).argmin()
    return chosen


@pytest.mark.parametrize(
    ("layers", "sprites", "rounds", "empty"),
    [(1, 3, 1, None), (3, 4, 1, None), (3, 4, 3, 0.02), (5, 3, 2, 1e-4), (4, 2, 3, 10.0), (2, 1, 2, 0.0)],
)
def test_the_search_is_that_of_all_compositions(layers, sprites, rounds, empty):
    for seed in range(6):
        s = scene(seed, layers, sprites)
        found = search(s, rounds=rounds, empty=empty)
        assert torch.equal(found, naive(s, rounds, empty))
        if empty is None:
            assert (found < sprites).all()
        if empty == 10.0:
            assert (found == sprites).all()


def test_further_rounds_change_choices():
    found = [search(scene(0, 5, 4, batch=20), rounds=rounds, empty=1e-4) for rounds in (1, 3)]
    assert not torch.equal(*found)


def test_composition_by_its_formula():
    s = scene(1, 4, 1)
    colours, masks = s["colours"][:, :, 0], s["masks"][:, :, 0]
    found = compose(colours, masks, s["hides"], s["background"])
    for b, image in enumerate(found):
        torch.testing.assert_close(image, by_formula(colours[b], masks[b], s["hides"][b], s["background"][b]))


def test_occlusions_say_for_each_pair_who_hides_whom():
    found = occlusions(torch.tensor([[0.1, 0.2, 0.3]]), 3)[0]
    torch.testing.assert_close(found, torch.tensor([[0, 0.9, 0.8], [0.1, 0, 0.7], [0.2, 0.3, 0]]))


def test_a_later_layer_hides_the_earlier_ones_and_all_planes_sum_to_one():
    masks = torch.rand(2, 3, 1, 4, 4)
    hides = later_on_top(3, masks).expand(2, -1, -1)
    found = planes(masks, hides)
    torch.testing.assert_close(found.sum(1), torch.ones(2, 1, 4, 4))
    torch.testing.assert_close(found[:, 3], masks[:, 2])
    torch.testing.assert_close(found[:, 1], masks[:, 0] * (1 - masks[:, 1]) * (1 - masks[:, 2]))
    torch.testing.assert_close(found[:, 0], (1 - masks).prod(1))


def test_labels_are_of_the_layer_on_top_by_thresholds():
    masks = torch.tensor([[0.9, 0.9, 0.2, 0.4], [0.1, 0.6, 0.6, 0.4]])[None, :, None, None]
    second_on_top = occlusions(torch.tensor([[0.8]]), 2)
    first_on_top = occlusions(torch.tensor([[0.3]]), 2)
    assert visible_labels(masks, second_on_top).tolist() == [[[1, 2, 2, 0]]]
    assert visible_labels(masks, first_on_top).tolist() == [[[1, 1, 2, 0]]]


def test_the_background_goes_to_the_layer_with_the_nearest_colour():
    labels = torch.tensor([[[0, 1, 0]]])
    colours = torch.tensor([0.0, 0.8]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 3)
    images = torch.tensor([0.1, 0.9, 0.7]).expand(1, 3, 1, 3)
    assert without_background(labels, colours, images).tolist() == [[[1, 1, 2]]]
