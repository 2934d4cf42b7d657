"""Slots and overlaps of a split, and which slot an object is paired with."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from objbench.data.prepare.in_memory import generate
from objbench.errors import RequestError
from objbench.methods.base import Method, Segmentation
from objbench.methods.create import create
from objbench.methods.parts.plane_moments import plane_moments
from objbench.probe.codes import Codes, assigned, codes, most_objects, pairs_by_overlap


@pytest.fixture(scope="module")
def scenes():
    return generate("tetrominoes", 9, split="test")


class Truth(Method):
    """Segments as `labels` of the next images say; the slot of a plane is its number and the image's."""

    def __init__(self, scenes, planes: int = 4, soft: bool = True) -> None:
        torch.nn.Module.__init__(self)
        self.image_shape, self.slots = (3, 35, 35), planes
        self.masks, self.soft, self.at = scenes.masks.long(), soft, 0
        self._image_seeds, self._draws, self._share = None, 0, None

    def segment(self, images, progress=None) -> Segmentation:
        labels = self.masks[self.at : self.at + len(images)]
        numbers = torch.arange(self.at, self.at + len(images)).view(-1, 1, 1).expand(-1, self.slots, 1)
        self.at += len(images)
        slots = torch.cat([torch.arange(self.slots).view(1, -1, 1).expand_as(numbers), numbers], 2).float()
        if self.soft:
            return Segmentation(masks=one_hot(labels, self.slots).permute(0, 3, 1, 2).float(), slots=slots)
        return Segmentation(labels=labels, slots=slots)


@pytest.mark.parametrize("soft", [True, False])
def test_keeps_slots_overlaps_and_moments_of_every_image(scenes, soft):
    reported = []
    found = codes(Truth(scenes, soft=soft), scenes, 0, 3, batch_size=4, advance=reported.append)
    assert reported == [4, 4, 1]
    assert len(found) == 9
    assert found.slots.tolist() == [[[m, n] for m in range(4)] for n in range(9)]
    assert found.iou.shape == (9, 4, 3)
    assert (found.iou == np.eye(4)[:, 1:]).all()
    assert found.visible.all()
    images = scenes.images.float() / 255
    np.testing.assert_array_equal(found.moments, plane_moments(images, scenes.masks.long(), 4).numpy())
    assert (found.from_masks().slots == found.moments).all()
    assert (found.from_masks().iou == found.iou).all()


def test_the_batch_size_changes_nothing(scenes):
    method = create("color_kmeans", "tetrominoes")
    one, other = (codes(method, scenes, 3, 3, size) for size in (2, 9))
    for name in ("slots", "iou", "visible", "moments"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_objects_that_are_not_there(scenes):
    found = codes(Truth(scenes), scenes, 0, 5, batch_size=9)
    assert found.visible.tolist() == [[True] * 3 + [False] * 2] * 9
    assert (pairs_by_overlap(found) == [1, 2, 3, -1, -1]).all()


def test_methods_without_slots_are_refused(scenes):
    class Bare(Truth):
        def segment(self, images, progress=None) -> Segmentation:
            return Segmentation(labels=super().segment(images).prediction)

    with pytest.raises(RequestError, match="Bare gives no slots"):
        codes(Bare(scenes), scenes, 0, 3, 4)


def test_how_many_objects_a_scene_can_have(scenes):
    assert most_objects(scenes) == 3
    assert most_objects(generate("multi_dsprites", 2)) == 5


def some(iou: np.ndarray, visible: np.ndarray) -> Codes:
    return Codes(np.zeros((*iou.shape[:2], 1)), iou, visible, np.zeros((*iou.shape[:2], 9)))


@pytest.mark.parametrize("seed", range(4))
def test_pairs_have_the_largest_sum_of_overlaps(seed):
    random = np.random.default_rng(seed)
    iou, visible = random.random((20, 4, 3)), random.random((20, 3)) < 0.8
    for chosen, table, there in zip(pairs_by_overlap(some(iou, visible)), iou, visible, strict=True):
        objects = np.flatnonzero(there)
        best = max(
            sum(table[s, o] for s, o in zip(p, objects, strict=True))
            for p in permutations(range(4), len(objects))
        )
        assert sum(table[chosen[o], o] for o in objects) == pytest.approx(best)
        assert (chosen[~there] == -1).all()
        assert len(set(chosen[objects])) == len(objects)


def test_an_object_without_overlap_or_without_a_slot_is_missed():
    iou = np.array([[[0.5, 0.0, 0.4], [0.2, 0.0, 0.0]]])
    assert pairs_by_overlap(some(iou, np.array([[True, True, True]]))).tolist() == [[1, -1, 0]]


def test_by_cost_every_object_gets_a_slot_while_there_are_some():
    cost = np.array([[[1.0, 9.0, 9.0], [2.0, 9.0, 1.0]]])
    assert assigned(cost, np.array([[True, False, True]])).tolist() == [[0, -1, 1]]
    assert sorted(assigned(cost, np.array([[True, True, True]]))[0]) == [-1, 0, 1]
