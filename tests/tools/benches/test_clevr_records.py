from __future__ import annotations

import numpy as np
import pytest
import torch
from benches import clevr_records
from benches.likeness import RECORDS, trace
from helpers.paths import FIXTURES
from PIL import Image

from objbench.data.generate.clevr import sampling
from objbench.data.generate.tracer.camera import Camera
from objbench.errors import ObjbenchError


def test_records_are_cropped_as_the_renderers_own_pictures():
    rendered = clevr_records.read(RECORDS, "properties")
    for i in (0, 1):
        picture = Image.open(FIXTURES / "clevr" / f"{i}.png").convert("RGB").crop((64, 29, 256, 221))
        expected = np.asarray(picture.resize((128, 128), Image.Resampling.BICUBIC))
        assert np.array_equal(rendered.images[i], expected)
        assert np.array_equal(rendered.masks[i], np.asarray(Image.open(FIXTURES / "clevr" / f"{i}.mask.png")))


def test_codes_of_properties_become_the_generators():
    rendered = clevr_records.read(RECORDS, "properties")
    as_released = clevr_records.read(RECORDS, "release")
    stored, ours = as_released.factors["color"], rendered.factors["color"]
    assert {(int(a), int(b)) for a, b in zip(stored.flat, ours.flat, strict=True)} <= {
        (0, 0), (1, 6), (2, 1), (3, 4), (4, 3), (5, 5), (6, 7), (7, 2), (8, 8),
    }  # fmt: skip  # gray, red, blue, green, brown, purple, cyan, yellow
    _, frames = trace(rendered)
    _, mistaken = trace(as_released)
    assert (frames == rendered.masks).mean() > 0.995 > (mistaken == rendered.masks).mean()


def test_a_code_beyond_the_table_is_refused(monkeypatch):
    monkeypatch.setitem(clevr_records.CODES, "properties", {"color": (0, 1, 2)})
    with pytest.raises(ObjbenchError, match=r"'color' holds the code 8; expected 0 to 2"):
        clevr_records.read(RECORDS, "properties")


def test_the_camera_is_solved_from_depths():
    random = np.random.default_rng(0)
    camera = np.array(sampling.CAMERA) + random.uniform(-0.5, 0.5, 3)
    places = np.concatenate([random.uniform(-3, 3, (5, 2)), random.choice([0.35, 0.7], (5, 1))], 1)
    _, _, depths = Camera.at(torch.from_numpy(camera)[:, None]).project(torch.from_numpy(places.T)[:, None])
    assert clevr_records.solve_camera(places, depths[0].numpy()) == pytest.approx(camera, abs=1e-9)
