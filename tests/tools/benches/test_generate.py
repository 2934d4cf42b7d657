"""tools/bench generate: rates with aims, and every difference between scenes counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from benches import command
from benches.generate import differences, made
from helpers.benches import by_name, run


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
