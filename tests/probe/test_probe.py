"""Probes of slots whose knowledge is known, against a computation of their own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from objbench.errors import ObjbenchError
from objbench.probe.codes import Codes
from objbench.probe.probe import Split, train
from objbench.probe.targets import Target

OBJECTS, SLOTS = 3, 4


def split(count: int = 200, seed: int = 0, noise: float = 0.1, hidden: float = 0.0) -> Split:
    """Images of three objects, each with a kind and a place; slot p holds the object `order` has there, or none.

    A slot is (kind as three numbers, place, something else), with noise.
    """
    random = np.random.default_rng(seed)
    kind, place = random.integers(0, 3, (count, OBJECTS)), random.normal(size=(count, OBJECTS))
    slots = random.normal(0, noise, (count, SLOTS, 5))
    iou = np.zeros((count, SLOTS, OBJECTS), np.float32)
    for n in range(count):
        for o, s in enumerate(random.permutation(SLOTS)[:OBJECTS]):
            slots[n, s, kind[n, o]] += 1
            slots[n, s, 3] += place[n, o]
            iou[n, s, o] = 0.8 * (random.random() >= hidden)
    targets = [
        Target("kind", "categorical", np.array(["a", "b", "c"])[kind]),
        Target("place", "numeric", place[..., None]),
    ]
    codes = Codes(
        slots.astype(np.float32),
        iou,
        np.ones((count, OBJECTS), bool),
        np.zeros((count, SLOTS, 9), np.float32),
    )
    return Split(codes, targets)


def test_equal_to_an_independent_computation():
    learn, test = split(), split(100, seed=1)
    probe = train("linear", "masks", learn, seed=0)

    def pairs(some: Split):
        slots = some.codes.iou.argmax(1)  # here each object has one slot that overlaps
        x = np.take_along_axis(some.codes.slots, slots[..., None], 1).reshape(-1, 5)
        return x, some.targets[0].values.ravel(), some.targets[1].values.ravel()

    (x, kind, place), (new, new_kind, new_place) = pairs(learn), pairs(test)
    scaler = StandardScaler().fit(x)
    classifier = LogisticRegression(max_iter=1000).fit(scaler.transform(x), kind)
    z = np.c_[scaler.transform(x), np.ones(len(x))]
    weights = np.linalg.solve(
        z.T @ z + np.diag([1, 1, 1, 1, 1, 0]), z.T @ (place - place.mean()) / place.std()
    )
    found = np.c_[scaler.transform(new), np.ones(len(new))] @ weights * place.std() + place.mean()
    r2 = 1 - ((found - new_place) ** 2).sum() / ((new_place - new_place.mean()) ** 2).sum()
    scored = probe.score(test)
    assert [*scored.probe.factors] == [*scored.majority.factors] == ["kind", "place"]
    assert (scored.n_objects, scored.missed) == (300, 0)
    assert [score.value for score in scored.probe.factors.values()] == pytest.approx(
        [(classifier.predict(scaler.transform(new)) == new_kind).mean(), r2], abs=1e-6
    )
    usual = max("abc", key=lambda letter: (kind == letter).sum())
    base = 1 - ((new_place - place.mean()) ** 2).sum() / ((new_place - new_place.mean()) ** 2).sum()
    assert [score.value for score in scored.majority.factors.values()] == pytest.approx(
        [(new_kind == usual).mean(), base]
    )
    assert scored.probe.factors["kind"].value > 0.95 > 0.5 > scored.majority.factors["kind"].value


def test_missed_objects_are_scored_as_the_majority():
    learn, test = split(), split(400, seed=1, noise=0.01, hidden=0.25)
    scored = train("linear", "masks", learn, seed=0).score(test)
    seen = test.codes.iou.max(1) > 0
    assert scored.n_objects == 1200
    assert scored.missed == pytest.approx(1 - seen.mean())
    kind = learn.targets[0].values
    usual = max("abc", key=lambda letter: (kind == letter).sum())
    expected = np.where(seen, True, test.targets[0].values == usual).mean()
    assert scored.probe.factors["kind"].value == pytest.approx(expected, abs=0.005)


def test_pairing_by_loss_finds_slots_whose_masks_say_nothing():
    learn, test = split(300), split(100, seed=1)
    random = np.random.default_rng(5)
    blurred = learn.codes.iou / 4 + random.uniform(0, 1, learn.codes.iou.shape).astype(np.float32)
    dim = Split(Codes(learn.codes.slots, blurred, learn.codes.visible, learn.codes.moments), learn.targets)
    by_masks, by_loss = (train("linear", matching, dim, seed=0) for matching in ("masks", "loss"))
    true = test.codes.iou.argmax(1)
    assert (by_loss.pairs(test) == true).mean() > 0.9
    assert by_loss.score(test).probe.factors["kind"].value > 0.9
    assert (
        by_loss.score(dim).probe.factors["kind"].value > by_masks.score(dim).probe.factors["kind"].value + 0.1
    )
    assert by_loss.score(test).missed == 0


@pytest.mark.parametrize("kind", ["mlp", "gradient_boosting"])
@pytest.mark.parametrize("matching", ["masks", "loss"])
def test_other_probes(kind, matching):
    scored = train(kind, matching, split(150), seed=0).score(split(60, seed=1))
    assert min(score.value for score in scored.probe.factors.values()) > 0.8


def test_factors_that_do_not_vary_are_named():
    learn = split(50)
    flat = Target("size", "categorical", np.full((50, OBJECTS), "small"))
    probe = train("linear", "masks", Split(learn.codes, [*learn.targets, flat]), seed=0)
    assert probe.constant == ("size",)
    assert probe.score(Split(learn.codes, [*learn.targets, flat])).probe.factors.keys() == {"kind", "place"}
    with pytest.raises(ObjbenchError, match="size: the same for all 150 training objects"):
        train("linear", "masks", Split(learn.codes, [flat]), seed=0)


def test_no_overlap_at_all_leaves_nothing_to_learn_from():
    with pytest.raises(ObjbenchError, match="0 objects of 20 training scenes"):
        train("linear", "masks", split(20, hidden=1.0), seed=0)


def test_a_code_with_a_number_per_factor_is_disentangled():
    learn = split(400, noise=0.01)
    place = learn.targets[1]
    other = Target("depth", "numeric", np.random.default_rng(3).normal(size=place.values.shape))
    slots = learn.codes.slots[:, :, 3:].copy()
    paired = learn.codes.iou.argmax(1)
    for o in range(OBJECTS):
        slots[np.arange(400), paired[:, o], 1] = other.values[:, o, 0]
    codes = Codes(slots, learn.codes.iou, learn.codes.visible, learn.codes.moments)
    found = Split(codes, [place, other])
    probe = train("linear", "masks", found, seed=0)
    shares = probe.dci(found, probe.pairs(found), 0)
    assert shares.disentanglement > 0.9
    assert shares.completeness > 0.9
    mixed = slots @ np.array([[1, 1], [1, -1]], np.float32)
    found = Split(Codes(mixed, learn.codes.iou, learn.codes.visible, learn.codes.moments), [place, other])
    probe = train("linear", "masks", found, seed=0)
    assert probe.dci(found, probe.pairs(found), 0).disentanglement < 0.1
