"""tools/bench train: every path, figures that follow from the times, failures that are told."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stdout
from functools import partial

import pytest
import torch
from benches import command, train, train_paths, train_race
from benches.timing import Timing, quartiles
from benches.train import Setting
from benches.train_paths import FixedPoint, compile_network, paths_of
from benches.train_race import Entrant
from objbench_toys.methods import Toy

from objbench.methods.base import Stage
from objbench.methods.create import create
from objbench.spec.load import load_spec
from objbench.train.batches import StageScenes
from objmae.flops import training_flops

BATCH, REPEATS = 8, 2


def run(path, *options):
    """`tools/bench train` with little to do: the exit code and the JSON."""
    little = ["--quick", "--device", "cpu", "--points", "1", "--repeats", str(REPEATS)]
    code = command.main(["train", *little, "--json", str(path), *options])
    return code, json.loads(path.read_text()) if path.exists() else None


@pytest.fixture
def bench(tmp_path):
    return partial(run, tmp_path / "train.json")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The JSON and the table of the plain and the fast path at two points."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        path = tmp_path_factory.mktemp("bench") / "train.json"
        code, content = run(path, "--paths", "plain", "fast", "--points", "2")
    assert code == 0
    return content, printed.getvalue()


def rows(content):
    return {row["name"]: row for row in content["sections"][-1]["rows"]}


def test_plain_and_fast_are_measured_and_agree(measured):
    content, printed = measured
    assert content["finished"]
    assert content["parameters"]["points"] == [0.0, 1.0]
    products, copying, training = content["sections"]
    assert training["title"].startswith("objmae on tetrominoes: 35x35, K=4, batch 8, a small model (width 64")
    assert rows(content).keys() == {"plain fp32", "fast fp32", "products fp32"}
    failed, difference = training["checks"]
    assert (failed["value"], failed["limit"]) == (0, 0)
    assert difference["name"] == "greatest relative difference of fast fp32 from plain in the first 20 losses"
    assert 0 <= difference["value"] <= difference["limit"] == 1e-5
    assert all(
        sample > 0 for section in (products, copying) for row in section["rows"] for sample in row["samples"]
    )
    for heading in ("ms/iteration", "speed-up", "images/s", "TFLOP/s", "MFU %", "start s", "without a graph"):
        assert heading in printed


def test_figures_follow_from_the_times(measured):
    content, _ = measured
    peak = content["sections"][0]["rows"][0]["median"]
    plain, fast = rows(content)["plain fp32"], rows(content)["fast fp32"]
    for row in (plain, fast):
        assert len(row["samples"]) == REPEATS
        assert row["samples"] == pytest.approx([1000 * s for s in row["timing"]["seconds"]])
        seconds, figures = row["median"] / 1000, row["figures"]
        assert figures["images/s"] == pytest.approx(BATCH / seconds)
        assert figures["least"] <= row["third_quartile"]
        assert figures["most"] >= row["first_quartile"]
        assert figures["TFLOP/s"] * seconds * 1e12 == pytest.approx(operations_of_a_small_step())
        assert figures["MFU %"] == pytest.approx(100 * figures["TFLOP/s"] / peak)
        assert figures["start s"] > 0
        products = rows(content)["products fp32"]["median"]
        assert figures["products %"] == pytest.approx(100 * products / row["median"])
    assert plain["figures"]["peak GB"] > 0
    assert "peak GB" not in fast["figures"]  # on the CPU, told of the plain path alone
    ratios = [b / a for a, b in zip(fast["samples"], plain["samples"], strict=True)]
    assert fast["speedup"]["samples"] == pytest.approx(ratios)
    assert plain["speedup"] is None


def operations_of_a_small_step():
    """Mean of the first point, where 12 of the 49 patches are kept, and of the last, where all are."""
    model = {"width": 64, "depth": 2, "heads": 4, "decoder_width": 64, "decoder_depth": 1, "decoder_heads": 4}
    small = create("objmae", "tetrominoes", **{f"model.{key}": value for key, value in model.items()})
    return BATCH * sum(training_flops(small.model, kept) for kept in (12, 49)) / 2


def test_a_compiler_that_fails_is_told_and_no_more(bench, monkeypatch, capsys):
    def fail(method):
        raise RuntimeError("no compiler found\nmany lines")

    monkeypatch.setattr(train_paths, "compile_network", fail)
    code, content = bench("--paths", "plain", "compiled")
    assert code == 0
    assert rows(content)["compiled fp32"]["remark"] == "failed: RuntimeError: no compiler found"
    assert rows(content)["compiled fp32"]["samples"] == []
    assert "failed: RuntimeError: no compiler found" in capsys.readouterr().out


def test_any_other_path_that_fails_fails_the_bench(bench, monkeypatch):
    real = train_race.open_path

    def fail(name, *rest):
        if name == "fast":
            raise RuntimeError("out of memory")
        return real(name, *rest)

    monkeypatch.setattr(train_race, "open_path", fail)
    code, content = bench("--paths", "plain", "fast")
    assert code == 1
    assert len(rows(content)["plain fp32"]["samples"]) == REPEATS
    failed, difference = content["sections"][-1]["checks"]
    assert (failed["value"], failed["passed"]) == (1, False)
    assert math.isnan(difference["value"])
    assert not difference["passed"]


def test_losses_that_differ_fail_the_bench(bench, monkeypatch):
    real = train_race._losses

    def drift(work, path, steps):
        losses = real(work, path, steps)
        return losses if path == "plain" else [*losses[:-1], 1.001 * losses[-1]]

    monkeypatch.setattr(train_race, "_losses", drift)
    code, content = bench("--paths", "plain", "fast")
    assert code == 1
    assert content["sections"][-1]["checks"][1]["value"] == pytest.approx(1e-3, rel=0.01)


def test_any_method_can_be_measured_and_captured(bench, monkeypatch):
    monkeypatch.setattr(Toy, "capture_key", lambda self, progress: ())
    code, content = bench("--method", "toy_refiner", "--paths", "plain", "captured")
    assert code == 0
    assert content["sections"][-1]["title"] == "toy_refiner on tetrominoes: 35x35, K=4, batch 8"
    assert rows(content).keys() == {"plain fp32", "captured fp32", "products fp32"}
    assert all(row["figures"]["TFLOP/s"] > 0 for row in rows(content).values())  # counted by torch
    assert "of captured fp32 from plain" in content["sections"][-1]["checks"][1]["name"]


def test_the_paths_of_a_method():
    assert paths_of(create("objmae", "tetrominoes")) == ["plain", "compiled", "fast"]
    assert paths_of(create("toy_refiner", "tetrominoes")) == ["plain", "compiled", "captured"]
    assert paths_of(create("toy_two_stages", "tetrominoes")) == ["plain", "compiled"]
    assert paths_of(create("toy_stepper", "tetrominoes")) == ["plain", "compiled", "captured", "fast"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "grid"], "method 'grid' does not train: there is no step to measure"),
        (
            ["--paths", "captured"],
            "method 'objmae' has no path 'captured' (it has: plain, compiled, fast)",
        ),
        (["--datasets", "tetrominos"], "did you mean 'tetrominoes'?"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_measured(bench, options, message, capsys):
    code, content = bench(*options)
    assert code == 2
    assert content is None
    assert message in capsys.readouterr().err


def test_schedules_stand_still_at_a_point_and_batches_repeat():
    images = torch.zeros(10, 3, 4, 4, dtype=torch.uint8)
    scenes = StageScenes(images, Stage("train", epochs=20, batch_size=4), nominal_epochs=40, seed=0)
    at = FixedPoint(scenes, 0.0)
    assert at.progress(7).step == 0
    at.point = 1.0
    assert (at.progress(7).step, at.progress(7).nominal_epoch) == (39, 39)
    assert torch.equal(at.batch(0), at.batch(2))
    assert not torch.equal(at.batch(0), at.batch(1))


def test_blocks_are_compiled_where_there_are_any(monkeypatch):
    method = create("objmae:demo", "tetrominoes")
    assert compile_network(method) == "compiled: the blocks of model.encoder, model.decoder"
    assert all(block._compiled_call_impl for block in [*method.model.encoder, *method.model.decoder])
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: (function, dynamic))
    plain = create("toy_refiner", "tetrominoes")
    loss = plain.training_loss
    assert compile_network(plain) == "compiled: training_loss, breaks allowed"
    assert plain.training_loss == (loss, True)
    assert plain.trunk._compiled_call_impl is None


@pytest.mark.parametrize(
    ("card", "path", "precision", "expected"),
    [
        ("NVIDIA H200", "fast", "bf16", [0, 1.25]),
        ("NVIDIA H200", "plain", "fp32", [0, 17.0]),
        ("NVIDIA H200", "plain", "bf16", [0]),
        ("NVIDIA A100", "fast", "bf16", [0]),
        ("NVIDIA A100", "plain", "fp32", [0, 17.0]),
    ],
)
def test_targets_are_checked_where_they_are_meant(monkeypatch, card, path, precision, expected):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card)
    dataset = load_spec().dataset("tetrominoes")
    setting = Setting("objmae", {dataset: [path]}, [precision], [1.0], 1, torch.device("cuda"), False, None)
    timing = Timing([0.00125], [0.001], None, 1)
    entrant = Entrant(path, startup=1.0, memory=17 * 10**9, timings=[timing])
    checks = train._checks(setting, dataset, precision, [entrant])
    assert [check.value for check in checks] == pytest.approx(expected)
    assert [check.passed for check in checks[1:]] == [False] * (len(expected) - 1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_on_cuda_all_paths_are_measured_with_their_memory(bench):
    code, content = bench("--device", "cuda", "--points", "2")
    assert code == 0
    names = [
        f"{path} {precision}" for precision in ("fp32", "bf16") for path in ("plain", "compiled", "fast")
    ]
    assert list(rows(content)) == names
    for row in rows(content).values():
        assert not row["remark"].startswith("failed")
        assert row["figures"]["peak GB"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler warns of itself
def test_a_compiled_step_is_measured(bench):
    code, content = bench("--paths", "plain", "compiled")
    assert code == 0
    assert quartiles(rows(content)["compiled fp32"]["samples"])[1] > 0
    assert rows(content)["compiled fp32"]["remark"] == "compiled: the blocks of model.encoder, model.decoder"
