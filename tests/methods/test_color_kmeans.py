"""Colour k-means against scikit-learn on all pixels, and on images whose colours are the answer."""

from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans

from objbench.methods import color_kmeans
from objbench.methods.create import create
from objbench.methods.parts.plane_moments import plane_moments

COLORS = torch.tensor([[0, 0, 0], [255, 0, 0], [20, 128, 250], [255, 255, 255]]) / 255
PLACES = torch.arange(35 * 35).view(35, 35)


def flat(*colors: int) -> torch.Tensor:
    """An image (3,35,35) of these colours, in stripes of one pixel."""
    return COLORS[torch.tensor(colors)][PLACES % len(colors)].movedim(-1, 0)


def test_as_many_colours_as_slots_are_the_segments_and_the_reconstruction_is_the_image():
    images = torch.stack([flat(0, 1, 2, 3), flat(3, 2, 1, 0)])
    found = create("color_kmeans", "tetrominoes", slots=4).segment(images)
    for labels in found.labels:
        pairs = torch.stack([labels.flatten(), PLACES.flatten() % 4], dim=1)
        assert len(pairs.unique(dim=0)) == len(labels.unique()) == 4
    torch.testing.assert_close(found.reconstruction, images)
    assert torch.equal(found.slots, plane_moments(images, found.labels, 4))


def test_an_image_of_fewer_colours_has_fewer_segments_whatever_is_beside_it():
    method = create("color_kmeans", "tetrominoes", slots=4)
    found = method.segment(torch.stack([flat(1, 2), flat(0, 1, 2, 3)]))
    assert [len(labels.unique()) for labels in found.labels] == [2, 4]
    assert found.slots.shape[:2] == (2, 4)


def test_the_clusters_are_as_good_as_those_of_all_pixels():
    torch.manual_seed(0)
    image = (torch.rand(3, 35, 35) * 255).round() / 255
    found = create("color_kmeans", "tetrominoes", slots=5, **{"model.initializations": 20}).segment(
        image[None]
    )
    error = (found.reconstruction[0] - image).square().sum().item()
    pixels = image.flatten(1).T.double().numpy()
    assert error == pytest.approx(KMeans(5, n_init=20, random_state=0).fit(pixels).inertia_, rel=0.01)
    for label in range(5):
        inside = found.labels[0] == label
        centre = image[:, inside].mean(1)
        torch.testing.assert_close(
            found.reconstruction[0][:, inside], centre[:, None].expand(-1, inside.sum())
        )


def test_scikit_learn_fits_as_the_settings_and_the_seed_of_the_image_say(monkeypatch):
    seen = []

    class Seen(KMeans):
        def __init__(self, **given):
            seen.append(given)
            super().__init__(**given)

    monkeypatch.setattr(color_kmeans, "KMeans", Seen)
    settings = {"model.initializations": 2, "model.iterations": 7}
    method = create("color_kmeans", "tetrominoes", slots=4, **settings)
    method.seed_images(torch.tensor([5, 2**32 + 6]))
    method.segment(torch.stack([flat(0, 1, 2, 3), flat(0, 1, 2)]))
    told = [(one["n_clusters"], one["n_init"], one["max_iter"], one["random_state"]) for one in seen]
    assert told == [(4, 2, 7, 5), (3, 2, 7, 6)]
