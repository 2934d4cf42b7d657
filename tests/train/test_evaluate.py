"""What an evaluation keeps beside the scores of the masks: other readings of them, and boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import toy

from objbench.data.read.scenes import Scenes
from objbench.errors import ObjbenchError
from objbench.methods.base import Segmentation
from objbench.methods.create import create
from objbench.metrics.bootstrap import bootstrap
from objbench.ranks.group import Ranks
from objbench.scores import ScoreKey
from objbench.train.evaluate import evaluate

TRUTH = torch.zeros(3, 5, 7, dtype=torch.uint8)
TRUTH[:, :2, :3], TRUTH[1:, 3:, 4:] = 1, 3  # one object in the first image, two in the others


def scenes():
    images = torch.zeros(3, 3, 5, 7, dtype=torch.uint8)
    return Scenes(images, TRUTH, ["0000", "0001", "0002"], toy.dataset(), "test", {})


def boxes(found, **changes):
    """An evaluation of a method that gives `found` as its labels, and two boxes."""
    method = create("one_slot", "tetrominoes")

    def segment(images, progress=None):
        count = len(images)
        presence = torch.tensor([0.9, 0.6, 0.5]).expand(count, 3)
        extras = {
            "boxes": torch.full((count, 3, 4), 0.25),
            "presence": presence,
            "depth": presence,
            "own": presence,
        }
        return Segmentation(labels=found[:count].long(), extras=extras, **changes)

    method.segment = segment
    return evaluate(method, scenes(), 0, 3, n_samples=2)


def labelled(planes, masks):
    """An evaluation, two images at a time, of a method of so many slots that gives every pixel to the first."""
    method = create("grid" if planes else "one_slot", "tetrominoes", slots=planes or 1)
    blank = TRUTH * 0

    def segment(images, progress=None):
        labels = blank[: len(images)].long()
        soft = torch.nn.functional.one_hot(labels, planes or 1).movedim(-1, 1).float()
        return Segmentation(masks=soft) if masks else Segmentation(labels=labels)

    method.segment = segment
    return evaluate(method, scenes(), 0, 2)


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize(("planes", "crowded"), [(1, 2), (2, 0)])
def test_images_with_more_objects_than_planes_are_counted(planes, crowded, masks):
    found = labelled(planes, masks)
    assert (found.crowded, found.for_record.crowded) == (crowded, crowded or None)


def test_label_maps_of_a_method_of_a_fixed_number_of_planes_do_not_say_how_many_these_are():
    assert labelled(None, masks=False).crowded == 0


def test_the_record_has_the_intervals_of_the_values_of_images():
    found = labelled(2, masks=True)
    intervals = bootstrap({name: values for name, values in found.per_image.items() if name != "keys"})
    assert {"ari", "miou", "mbo"} <= set(intervals)
    assert {name: score.interval for name, score in found.for_record.values.items()} == intervals


class Second(Ranks):
    """The second of two processes: what the first one found is given."""

    def __init__(self, first):
        super().__init__(rank=1, size=2)
        self.found = [first]

    def gather(self, value):
        return [*self.found, value]


class First(Ranks):
    """The first of two processes, which stops when it has done its part."""

    def __init__(self):
        super().__init__(rank=0, size=2)

    def gather(self, value):
        self.found = value
        raise InterruptedError


@pytest.mark.parametrize("batch_size", [1, 2])
def test_two_processes_find_what_one_finds(batch_size):
    soft = torch.nn.functional.one_hot(TRUTH.long() % 2, 2).movedim(-1, 1).float()  # of two planes
    done = []

    def evaluated(**options):
        method = create("grid", "tetrominoes", slots=1)
        method.segment = lambda images, progress=None: Segmentation(
            masks=soft[: len(images), :1], alternatives={"other": soft[: len(images)]}
        )
        done.clear()
        return evaluate(method, scenes(), 0, batch_size, n_samples=2, advance=done.append, **options)

    alone, first = evaluated(), First()
    assert sum(done) == 3
    with pytest.raises(InterruptedError):
        evaluated(ranks=first)
    both = evaluated(ranks=Second(first.found))
    assert sum(done) == 3
    for one, other in zip((alone, *alone.alternatives), (both, *both.alternatives), strict=True):
        assert (one.scores, one.crowded, one.masks) == (other.scores, other.crowded, other.masks)
        np.testing.assert_equal(one.per_image, other.per_image)
    assert alone.crowded == 2
    np.testing.assert_equal(alone.samples, both.samples)


def test_alternative_masks_are_scored_beside_the_masks_of_the_method():
    soft = torch.nn.functional.one_hot(TRUTH.long(), 4).movedim(-1, 1).float()
    found = boxes(TRUTH * 0, alternatives={"composited": soft, "labels": TRUTH.long() % 2})
    assert found.means["ari"] == 0 or found.means["ari_fg"] < 1
    first, second = found.alternatives
    assert (first.masks, second.masks) == ("composited", "labels")
    assert first.means["ari"] == first.means["miou"] == 1
    assert 0 < second.means["miou"] < 1
    keys = {
        name: part.for_record.masks
        for name, part in found.by_key(ScoreKey("test", definition="emorl")).items()
    }
    assert keys == {
        "test#emorl": None,
        "test+masks=composited#emorl": "composited",
        "test+masks=labels#emorl": "labels",
    }


def test_samples_keep_the_label_maps_of_alternative_masks():
    soft = torch.nn.functional.one_hot(TRUTH.long(), 4).movedim(-1, 1).float()
    kept = boxes(TRUTH * 0, alternatives={"composited": soft, "labels": TRUTH.long() % 2}).samples
    assert (kept["prediction"] == 0).all()
    assert (kept["prediction+masks=composited"] == TRUTH[:2].numpy()).all()
    assert (kept["prediction+masks=labels"] == TRUTH[:2].numpy() % 2).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"masks": torch.full((3, 2, 5, 7), torch.nan)},
            "the predicted masks of image 0 of the batch hold NaN",
        ),
        (
            {"reconstruction": torch.full((3, 3, 5, 7), torch.inf)},
            "the reconstruction of image 0 .* not finite",
        ),
    ],
)
def test_what_cannot_be_scored_is_told_with_the_method_that_gave_it(given, message):
    method = create("one_slot", "tetrominoes")
    labels = {} if "masks" in given else {"labels": TRUTH.long()}
    method.segment = lambda images, progress=None: Segmentation(**labels, **given)
    with pytest.raises(ObjbenchError, match=rf"^OneSlot\.segment: {message}"):
        evaluate(method, scenes(), 0, 3)


def test_boxes_that_are_present_are_counted_beside_the_objects():
    found = boxes(TRUTH)
    assert found.per_image["n_boxes"].tolist() == [2, 2, 2]
    assert found.per_image["n_objects"].tolist() == [1, 2, 2]
    assert found.means["n_boxes"] == 2


@pytest.mark.parametrize(("value", "kept"), [(-0.2, 0), (0.5, 128), (1.2, 255)])
def test_samples_keep_reconstructions_within_the_range_of_images(value, kept):
    found = boxes(TRUTH, reconstruction=torch.full((3, 3, 5, 7), value))
    assert set(found.samples["reconstruction"].flatten().tolist()) == {kept}


def test_samples_keep_boxes_presence_and_depth():
    kept = boxes(TRUTH).samples
    assert kept["boxes"].shape == (2, 3, 4)
    assert kept["presence"][1].tolist() == kept["depth"][1].tolist()
    assert "own" not in kept


def test_a_loss_that_a_segmentation_has_is_averaged():
    method = create("one_slot", "tetrominoes")
    method.segment = lambda images, progress=None: Segmentation(
        labels=TRUTH[: len(images)].long(), extras={"loss": images.flatten(1).sum(1) + 2}
    )
    found = evaluate(method, scenes(), 0, 2)
    assert found.means["loss"] == 2
    assert found.per_image["loss"].tolist() == [2, 2, 2]
    assert "n_boxes" not in found.means


def test_methods_without_boxes_have_no_counts():
    found = evaluate(create("one_slot", "tetrominoes"), scenes(), 0, 3, n_samples=1)
    assert "n_boxes" not in found.means
    assert "boxes" not in found.samples
    assert found.alternatives == ()


def test_alternative_masks_of_some_images_alone_are_refused(monkeypatch):
    method = create("one_slot", "tetrominoes")
    calls = iter(range(9))

    def segment(images, progress=None):
        labels = torch.zeros(len(images), 5, 7, dtype=torch.int64)
        return Segmentation(labels=labels, alternatives={"more": labels} if next(calls) == 1 else {})

    monkeypatch.setattr(method, "segment", segment)
    with pytest.raises(
        ObjbenchError, match=r"the alternatives \['more'\] for some images and \[\] for others"
    ):
        evaluate(method, scenes(), 0, 2)


def test_nor_if_another_process_segments_them(monkeypatch):
    class Two(Ranks):
        parts: list[object] = []

        def gather(self, value):
            self.parts.insert(0, value)  # the second process comes first
            return self.parts

    method = create("one_slot", "tetrominoes")

    def segment(images, progress=None):
        labels = torch.zeros(len(images), 5, 7, dtype=torch.int64)
        return Segmentation(labels=labels, alternatives={} if Two.parts else {"more": labels})

    monkeypatch.setattr(method, "segment", segment)
    evaluate(method, scenes(), 0, 2, ranks=Two(1, 2))
    with pytest.raises(
        ObjbenchError, match=r"the alternatives \['more'\] for some images and \[\] for others"
    ):
        evaluate(method, scenes(), 0, 2, ranks=Two(0, 2))
