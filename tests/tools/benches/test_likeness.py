from __future__ import annotations

from dataclasses import replace

import pytest
from benches import clevr_records, command
from benches.likeness import RECORDS, random_halves
from helpers.benches import by_name, run


def test_likeness_puts_the_three_sets_side_by_side(tmp_path):
    content = run(tmp_path, "likeness", "--quick", "--scenes", "3", "--repeats", "2")
    assert content["passed"]
    assert content["parameters"]["rendered_scenes"] == 4
    light, pixels, objects, distances, traced, lit = content["sections"]
    images = clevr_records.read(RECORDS, "properties").images
    assert by_name(light)["red: rendered"]["samples"] == [pytest.approx(images[..., 0].mean())]
    for name in ("rendered", "traced", "generated"):
        assert len(by_name(light)[f"edges on the ground: {name}"]["samples"]) == 1
        assert 3 <= by_name(objects)[f"objects in a scene: {name}"]["median"] <= 10
    assert (
        len(by_name(pixels)["pixels of an object: random halves of the rendered differ by"]["samples"]) == 2
    )
    for row in distances["rows"]:
        assert all(0 < sample < 1 for sample in row["samples"])
    assert [len(section["rows"][0]["samples"]) for section in (traced, lit)] == [4, 2]
    # Their lamps known, the two scenes are traced as the tests of the tracer demand.
    assert by_name(lit)["ground, mean difference of each scene"]["median"] < 2


def test_likeness_names_a_file_that_is_missing(capsys):
    assert command.main(["likeness", "--rendered", "none.tfrecords"]) == 2
    assert "--rendered none.tfrecords: no such file" in capsys.readouterr().err


def test_likeness_needs_two_scenes(monkeypatch, capsys):
    four = clevr_records.read(RECORDS, "properties")
    monkeypatch.setattr("benches.likeness.read", lambda *_: replace(four, images=four.images[:1]))
    assert command.main(["likeness"]) == 1
    assert "holds 1 scene; at least 2 are needed" in capsys.readouterr().err


@pytest.mark.parametrize("scenes", [4, 7])
def test_halves_are_disjoint_and_change(scenes):
    halves = random_halves(scenes, 5)
    for first, second in halves:
        assert len(first) == len(second) == scenes // 2
        assert set(first).isdisjoint(second)
        assert set(first) | set(second) <= set(range(scenes))
    assert len({tuple(first) for first, _ in halves}) > 1
