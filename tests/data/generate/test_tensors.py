"""What a generator may not give, named with its field."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from objbench.data.generate.tensors import SceneTensors, checked
from objbench.errors import ObjbenchError

N = 3


def made(**changes: Any) -> SceneTensors:
    factors = {
        "shape": torch.tensor([[0, 1], [0, 2], [0, 1]]),
        "visibility": torch.ones(N, 2),
        "colour": torch.rand(N, 2, 3),
    }
    fields = {
        "index": torch.arange(N),
        "images": torch.zeros(N, 4, 4, 3, dtype=torch.uint8),
        "masks": torch.zeros(N, 4, 4, dtype=torch.uint8),
        "factors": factors | changes.pop("factors", {}),
        "names": {"shape": ["", "square", "ball"]},
    }
    return SceneTensors(**fields | changes)


def test_sound_scenes_are_given_on() -> None:
    sound = made()
    assert checked(sound, "mine", 0, N) is sound
    assert sound.arrays().factors["shape"].tolist() == [["", "square"], ["", "ball"], ["", "square"]]


def test_a_factor_with_a_gradient_is_read() -> None:
    scenes = made(factors={"colour": torch.rand(N, 2, 3, requires_grad=True)})
    assert checked(scenes, "mine", 0, N).arrays().factors["colour"].shape == (N, 2, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factors": {"shape": torch.tensor([[-1, 1]] * N)}},
         "gave 3 names for the factor 'shape', whose values are -1 to 1: expected 0 to 2"),
        ({"names": {"shape": ["square"]}},
         "gave 1 names for the factor 'shape', whose values are 0 to 2: expected 0 to 0"),
        ({"factors": {"shape": torch.ones(N, 2)}},
         "gave names for the factor 'shape', which is float32 (3, 2): expected whole numbers"),
        ({"names": {"shap": ["a"]}}, "gave names for 'shap', and no factor of this name: ['shape', "),
        *(({"names": {"shape": words}}, "gave names for the factor 'shape' that are no list of texts")
          for words in (None, "abc", [0, 1, 2], [])),
        ({"names": {"visibility": ["a", "b"]}}, "gave names for the factor 'visibility', expected none: it is 0 or 1"),
        ({"factors": {"colour": torch.ones(N, 2).to_sparse()}},
         "gave the factor 'colour' as torch.sparse_coo on cpu, expected a dense tensor (torch.strided)"),
        ({"images": torch.zeros(N, 4, 4, 3, dtype=torch.uint8, device="meta")},
         "gave images as torch.strided on meta, expected a dense tensor (torch.strided) on the device of the index, cpu"),
        ({"index": torch.tensor([0, 2, 1])}, "gave 3 scenes, 0 to 1 in another order; asked for 3, 0 to 2"),
        ({"names": None}, "gave names as None, expected a dict"),
        ({"factors": {"colour": np.ones((N, 2))}}, "gave the factor 'colour' as ndarray, expected a tensor of whole"),
        ({"factors": {"colour": [1, 2, 3]}}, "gave the factor 'colour' as list, expected a tensor of whole numbers"),
        ({"factors": {"colour": torch.ones(N, 2).bfloat16()}}, "gave the factor 'colour' as bfloat16 (3, 2), expected"),
        ({"factors": {"colour": torch.ones(N, 2) * 1j}}, "gave the factor 'colour' as complex64 (3, 2), expected a"),
        ({"factors": {3: torch.ones(N, 2)}}, "gave a factor with the name 3, expected a text"),
        ({"factors": {"visibility": -torch.ones(N, 2)}},
         "gave the factor 'visibility' with values from -1.0 to -1.0, expected 0 or 1"),
        ({"factors": {"visibility": torch.full((N, 2), torch.nan)}}, "gave the factor 'visibility' with values"),
        ({"index": torch.arange(N).float()}, "gave an index of float32 (3,), expected whole numbers"),
        ({"index": torch.arange(N)[:, None]}, "gave an index of int64 (3, 1), expected whole numbers"),
        ({"index": list(range(N))}, "gave index as list, expected a tensor"),
        ({"images": np.zeros((N, 4, 4, 3))}, "gave images as ndarray, expected a tensor"),
    ],
)  # fmt: skip
def test_fields_of_another_kind_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ObjbenchError, match=re.escape(f"mine {message}")):
        checked(made(**changes), "mine", 0, N)


@pytest.mark.parametrize(
    ("given", "found"), [((1, 2), "tuple"), (None, "None"), (torch.ones(2), "float32 (2,)")]
)
def test_what_is_no_scenes_is_named_by_its_type(given: Any, found: str) -> None:
    with pytest.raises(ObjbenchError, match=re.escape(f"mine gave {found}, expected SceneTensors")):
        checked(given, "mine", 0, N)
