"""tools/bench generate and likeness: rates with aims, checks that can fail, statistics with known values."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from benches import clevr_records, command
from benches.generate import differences, made
from benches.likeness import RECORDS, random_halves, trace
from benches.picture_statistics import distance, statistics
from benches.report import Report, Row, Section, print_report
from helpers.paths import FIXTURES
from PIL import Image

from objbench.data.generate.clevr import sampling
from objbench.data.generate.tracer.camera import Camera
from objbench.errors import ObjbenchError


def run(tmp_path, *line):
    path = tmp_path / "bench.json"
    assert command.main([*line, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def by_name(section):
    return {row["name"]: row for row in section["rows"]}


def test_generate_measures_each_number_of_processes(tmp_path):
    options = ["--quick", "--repeats", "1", "--device", "cpu", "--processes", "1", "2"]
    content = run(tmp_path, "generate", *options, "--datasets", "tetrominoes@aligned", "multi_dsprites")
    assert content["passed"]
    rates, same = content["sections"]
    aims = {name: row["aim"] for name, row in by_name(rates).items()}
    assert aims == {
        "tetrominoes@aligned, 1 process": None,
        "tetrominoes@aligned, 2 processes": 20_000,
        "multi_dsprites, 1 process": None,
        "multi_dsprites, 2 processes": 5_000,
    }
    scenes = content["parameters"]["scenes_in_a_call"]
    assert scenes == {"tetrominoes@aligned": 1_250, "multi_dsprites": 625}
    for name, row in by_name(rates).items():
        dataset, processes = name.split(", ")
        made_in_all = scenes[dataset] * int(processes[0])
        assert row["samples"] == [pytest.approx(made_in_all / row["timing"]["seconds"][0])]
    assert [check["value"] for check in same["checks"]] == [0, 0, 0, 0]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_generate_compares_cuda_with_the_cpu(tmp_path):
    rates, same = run(tmp_path, "generate", "--quick", "--device", "cuda")["sections"]
    assert by_name(rates)["clevr6, 1 process"]["aim"] == 1_000
    assert {check["limit"] for check in same["checks"]} == {0, 1}


def test_generate_refuses_what_is_not_known(capsys):
    assert command.main(["generate", "--datasets", "clevr7"]) == 2
    assert "unknown dataset 'clevr7': did you mean 'clevr6'?" in capsys.readouterr().err


def test_textures_puts_both_sets_side_by_side(tmp_path):
    content = run(tmp_path, "textures", "--quick", "--scenes", "3", "--repeats", "2")
    assert content["parameters"]["rendered_scenes"] == 4
    light, pixels, objects, distances, scores = content["sections"]
    for name in ("rendered", "generated"):
        assert 20 < by_name(light)[f"green: {name}"]["median"] < 230
        assert by_name(pixels)[f"pixels of an object: {name}"]["median"] > 100
        assert 2 <= by_name(objects)[f"objects in a scene: {name}"]["median"] <= 10
        assert len(by_name(scores)[f"color_kmeans ari_fg: {name}"]["samples"]) == 1
        assert by_name(scores)[f"one_slot ari: {name}"]["samples"] == [0]
    assert not any("traced" in row["name"] for row in distances["rows"])


def test_textures_names_a_folder_without_scenes(tmp_path, capsys):
    assert command.main(["textures", "--rendered", str(tmp_path)]) == 2
    assert f"--rendered {tmp_path}: no CLEVRTEX_full_*.png in it" in capsys.readouterr().err


def test_every_difference_between_scenes_is_counted():
    scenes = made("tetrominoes", 0, 4)
    assert differences(made("tetrominoes", 0, 4), scenes) == (0, 0, 0, 0)
    images, masks, shapes = scenes.images.copy(), scenes.masks.copy(), scenes.factors["shape"].copy()
    images[1, 0, 0] += 3
    masks[2, :2, 5] ^= 1
    shapes[0, 1:3] += 1
    other = replace(scenes, images=images, masks=masks, factors=scenes.factors | {"shape": shapes})
    off = 3 / images.size
    assert differences(other, scenes) == (2, 2, 3, off)
    assert differences(scenes, other) == (2, 2, 3, off)


def test_an_aim_of_a_row_is_shown_with_the_verdict(capsys):
    rows = [Row("fast", [9.0, 10.0, 11.0], aim=10.0), Row("slow", [9.0], aim=10.0), Row("free", [1.0])]
    machine = {"cpu": "", "cores": 1, "torch": "", "commit": "", "date": ""}
    load = {"load_average_at_start": [0], "load_average_at_end": [0]}
    print_report(Report({}, [Section("Rates", "scenes/s", rows)]), machine | load)
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert lines["fast"][-2:] == ["10", "reached"]
    assert lines["slow"][-2:] == ["10", "missed"]
    assert lines["free"][-1] == "1"


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


def test_statistics_of_a_picture_by_hand():
    images = np.zeros((1, 4, 4, 3), np.uint8)
    masks = np.zeros((1, 4, 4), np.uint8)
    images[0, :, 2:] = (30, 60, 90)  # grey 60
    masks[0, 2:, 2:] = 3
    found = statistics(images, masks)
    names = ("red", "green", "blue", "edges", "edges of masks", "edges on the ground", "edges inside objects")
    assert [found.mean(name) for name in names] == [15, 30, 45, 20, 30, 20, 0]
    assert [found.mean(name) for name in ("objects in a scene", "pixels of an object")] == [1, 4]
    assert found.histograms["red"][0].nonzero()[0].tolist() == [0, 3]
    assert found.histograms["pixels of an object"].tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]


def test_parts_of_a_set_are_put_together_by_their_pixels():
    images = np.zeros((2, 4, 4, 3), np.uint8)
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, 0] = (1, 1, 2, 0)
    masks[1, :2] = 1
    found = statistics(images, masks)
    assert found.mean("pixels of an object") == (2 + 1 + 8) / 3
    assert found.only(np.array([1])).mean("pixels of an object") == 8


def test_the_distance_of_histograms():
    assert distance(np.array([[1, 0], [0, 1]]), np.array([[5, 5]])) == 0
    assert distance(np.array([[2, 0]]), np.array([[0, 9]])) == 1
    assert distance(np.array([[1, 3]]), np.array([[3, 1]])) == 0.5


@pytest.mark.parametrize("scenes", [4, 7])
def test_halves_are_disjoint_and_change(scenes):
    halves = random_halves(scenes, 5)
    for first, second in halves:
        assert len(first) == len(second) == scenes // 2
        assert set(first).isdisjoint(second)
        assert set(first) | set(second) <= set(range(scenes))
    assert len({tuple(first) for first, _ in halves}) > 1
