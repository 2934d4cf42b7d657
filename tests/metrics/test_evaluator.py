from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from objbench.errors import ObjbenchError
from objbench.metrics import Evaluator, score

GENERATOR = torch.Generator().manual_seed(0)
PRED = torch.randint(0, 5, (7, 8, 8), generator=GENERATOR)
TRUE = torch.randint(0, 4, (7, 8, 8), generator=GENERATOR)
IMAGES = torch.rand(7, 3, 8, 8, generator=GENERATOR)
KEYS = [f"{i:04d}" for i in range(7)]


def evaluate(*parts: slice) -> Evaluator:
    evaluator = Evaluator()
    for part in parts:
        evaluator.update(PRED[part], TRUE[part], IMAGES.roll(1, 0)[part], IMAGES[part], KEYS[part])
    return evaluator


WHOLE = evaluate(slice(None))


def test_mean_and_sample_std_of_what_score_gives() -> None:
    result = WHOLE.compute()
    scores = score(PRED, TRUE, IMAGES.roll(1, 0), IMAGES)
    assert result.pop("n_images") == 7
    assert set(result) == set(scores)
    for name, values in scores.items():
        assert result[name]["mean"] == pytest.approx(float(values.mean()), abs=1e-12)
        assert result[name]["std"] == pytest.approx(float(values.std()), abs=1e-12)


def test_values_and_keys_of_each_image() -> None:
    per_image = WHOLE.per_image()
    assert per_image["keys"].tolist() == KEYS
    assert per_image["ari"].dtype == np.float64
    assert per_image["ari"].tolist() == score(PRED, TRUE)["ari"].tolist()


@pytest.mark.parametrize("parts", [[slice(0, 3), slice(3, 7)], [slice(i, i + 1) for i in range(7)]])
def test_batches_give_the_bits_of_the_whole(parts: list[slice]) -> None:
    assert evaluate(*parts).compute() == WHOLE.compute()


def test_processes_merged_in_any_order_give_the_bits_of_the_whole() -> None:
    first, second, empty = evaluate(slice(4, 7)), evaluate(slice(0, 4)), Evaluator()
    merged = pickle.loads(pickle.dumps(empty))
    for part in (first, second, empty):
        merged.merge(pickle.loads(pickle.dumps(part)))
    assert merged.compute() == WHOLE.compute()
    assert merged.per_image()["keys"].tolist() == KEYS[4:] + KEYS[:4]


def test_merging_leaves_the_other_as_it_was() -> None:
    first, second = evaluate(slice(0, 3)), evaluate(slice(3, 7))
    before = second.compute()
    first.merge(second)
    first.reset()
    assert second.compute() == before
    assert first.compute() == {"n_images": 0}


def test_one_image_has_no_std() -> None:
    assert evaluate(slice(0, 1)).compute()["ari"]["std"] is None


def test_an_exact_reconstruction_makes_the_mean_of_psnr_infinite() -> None:
    evaluator = Evaluator()
    evaluator.update(PRED, TRUE, torch.cat([IMAGES[:1], IMAGES[1:].roll(1, 0)]), IMAGES)
    found = evaluator.compute()
    assert found["psnr"] == {"mean": float("inf"), "std": None}
    assert 0 < found["mse"]["mean"] < 1


@pytest.mark.parametrize(
    ("values", "mean"),
    [([math.inf, 1.0], math.inf), ([math.inf, -math.inf], math.nan), ([1e308] * 3, math.nan)],
)
def test_what_no_float_holds_has_a_mean_and_no_std(values: list[float], mean: float) -> None:
    evaluator = Evaluator()
    few = len(values)
    evaluator.update(PRED[:few], TRUE[:few], further={"own": torch.tensor(values, dtype=torch.float64)})
    assert evaluator.compute()["own"] == pytest.approx({"mean": mean, "std": None}, nan_ok=True)


def test_a_metric_is_averaged_over_the_images_for_which_it_is_defined() -> None:
    background = torch.zeros(1, 2, 2, dtype=torch.long)
    split = torch.tensor([[[0, 1], [1, 1]]])
    evaluator = Evaluator()
    evaluator.update(background, background)
    assert "miou_fg" not in evaluator.compute()
    evaluator.update(split, split)
    assert evaluator.compute()["miou_fg"] == {"mean": 1.0, "std": None, "n": 1}
    of_one_image = {
        name for name, value in evaluator.compute().items() if name != "n_images" and "n" in value
    }
    assert of_one_image == {"miou_fg", "dice_fg", "mbo", "msc_clevrtex"}
    assert math.isnan(evaluator.per_image()["miou_fg"][0])


def test_a_key_seen_before_is_refused_and_nothing_is_added() -> None:
    evaluator = evaluate(slice(0, 3))
    with pytest.raises(ObjbenchError, match="image 0002 was evaluated twice"):
        evaluator.merge(evaluate(slice(2, 5)))
    assert evaluator.compute() == evaluate(slice(0, 3)).compute()


def test_a_key_that_stands_twice_in_a_batch_is_refused() -> None:
    with pytest.raises(ObjbenchError, match="image a was evaluated twice"):
        Evaluator().update(PRED[:2], TRUE[:2], keys=["a", "a"])


def test_an_evaluator_is_not_merged_into_itself() -> None:
    evaluator = Evaluator()
    evaluator.update(PRED, TRUE)
    with pytest.raises(ObjbenchError, match="merged into itself: every image would count twice"):
        evaluator.merge(evaluator)
    assert evaluator.compute()["n_images"] == 7


def test_keys_may_be_an_array() -> None:
    evaluator = Evaluator()
    evaluator.update(PRED, TRUE, IMAGES.roll(1, 0), IMAGES, keys=np.array(KEYS))
    assert evaluator.per_image()["keys"].tolist() == KEYS
    with pytest.raises(ObjbenchError, match="image 0003 was evaluated twice"):
        evaluator.update(PRED[3:4], TRUE[3:4], IMAGES[3:4], IMAGES[3:4], keys=KEYS[3:4])


@pytest.mark.parametrize("name", ["ari", "n_images", "keys"])
def test_further_values_replace_nothing(name: str) -> None:
    evaluator = Evaluator()
    with pytest.raises(ObjbenchError, match=f"further '{name}': the evaluator has this name itself"):
        evaluator.update(PRED, TRUE, further={name: torch.zeros(7)})
    assert evaluator.compute() == {"n_images": 0}


def test_further_values_are_one_per_image() -> None:
    with pytest.raises(
        ObjbenchError, match=r"further 'own' has shape \(3,\) for 7 images; expected one value"
    ):
        Evaluator().update(PRED, TRUE, further={"own": torch.zeros(3)})


@pytest.mark.parametrize(
    ("column", "kind"),
    [(np.ones(7), "ndarray"), ([1.0] * 7, "list"), (torch.ones(7) * 1j, "torch.complex64")],
)
def test_further_values_are_tensors_of_real_numbers(column: Any, kind: str) -> None:
    with pytest.raises(ObjbenchError, match=f"further 'own' is {kind}; expected a tensor of real numbers"):
        Evaluator().update(PRED, TRUE, further={"own": column})


def test_keys_may_come_one_by_one_and_are_one_per_image() -> None:
    evaluator = Evaluator()
    evaluator.update(PRED, TRUE, keys=(key for key in KEYS))  # type: ignore[arg-type]
    assert evaluator.per_image()["keys"].tolist() == KEYS


@pytest.mark.parametrize(
    "keys", [np.array(KEYS)[:, None], [["a"], ["b", "c"], *KEYS[2:]], "abcdefg", 7, np.array("a"), [{}] * 7]
)
def test_keys_are_texts_or_numbers(keys: Any) -> None:
    with pytest.raises(ObjbenchError, match="keys must be one text or number for each image"):
        Evaluator().update(PRED, TRUE, keys=keys)


def test_keys_are_for_all_images_or_for_none() -> None:
    evaluator = evaluate(slice(0, 3))
    with pytest.raises(ObjbenchError, match="keys must be given for all images or for none"):
        evaluator.update(PRED[3:], TRUE[3:], IMAGES[3:], IMAGES[3:])


def test_the_number_of_keys_is_checked() -> None:
    with pytest.raises(ObjbenchError, match="2 keys were given for 7 images"):
        Evaluator().update(PRED, TRUE, keys=["a", "b"])


def test_every_batch_must_give_the_same_metrics() -> None:
    evaluator = evaluate(slice(0, 3))
    with pytest.raises(ObjbenchError, match=r"the same metrics.*were reconstruction and images given"):
        evaluator.update(PRED[3:], TRUE[3:], keys=KEYS[3:])
