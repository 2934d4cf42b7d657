"""MFU: right where a peak is known, absent where it is not, and without any effect on a training."""

from __future__ import annotations

import re
from contextlib import contextmanager

import pytest
import torch
from helpers.toy_runs import run
from torch import nn

import objbench
from objbench.errors import RequestError
from objbench.methods.base import Progress, Stage
from objbench.train import utilisation as module
from objbench.train.batches import StageScenes
from objbench.train.utilisation import PEAK, Utilisation, count_flops, peak_flops

STEP = Progress("train", 0, 100, 0, 1)


@pytest.fixture
def toy():
    return objbench.create("toy_geco", "tetrominoes")


def scenes_of(method, batch=4, precision="fp32"):
    images = torch.zeros(8, *method.image_shape, dtype=torch.uint8)
    return StageScenes(images, Stage("train", 100, None, batch, precision=precision), 1, 0)


def toy_operations(method) -> int:
    """Two 1x1 convolutions and the product of masks and colours, of which each pixel has one; backward twice as many, but
    nobody needs the gradient of the image and the position."""
    width, planes = method.settings.model.width, method.slots
    first, second, mixture = 5 * width, width * planes, planes * 3
    return 2 * 35 * 35 * (2 * first + 3 * second + 3 * mixture)


def test_operations_are_those_of_the_products(toy):
    assert count_flops(toy, STEP) == toy_operations(toy)


def test_operations_do_not_touch_the_method(toy):
    before = {name: value.clone() for name, value in toy.named_parameters()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    count_flops(toy, STEP)
    assert torch.rand(1) == expected
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert all(torch.equal(value, before[name]) for name, value in toy.named_parameters())


def test_objmae_says_what_its_kept_patches_cost():
    method = objbench.create("objmae", "tetrominoes")
    first, last = (Progress("train", step, 330, step, 330) for step in (0, 329))
    assert method.training_flops(first) < method.training_flops(last)
    assert method.training_flops(last) == pytest.approx(count_flops(method, last), rel=0.01)


def test_a_share_of_a_fake_peak(toy, monkeypatch):
    operations = toy_operations(toy)
    monkeypatch.setenv(PEAK, str(operations * 4 * 20 / 1e12))  # 20 steps of 4 images a second
    used = Utilisation(toy, scenes_of(toy))
    assert used.add(50, 50, 4.9) == ""
    assert used.add(60, 10, 1.0) == ""  # only what comes after the first five seconds counts
    assert used.add(70, 10, 1.0) == "50%"
    assert used.add(71, 1, 9.0) == "5.5%"


def test_without_a_known_peak_nothing_is_counted(toy, monkeypatch):
    monkeypatch.delenv(PEAK, raising=False)
    monkeypatch.setattr(module, "count_flops", lambda *_: pytest.fail("counted"))
    used = Utilisation(toy, scenes_of(toy))
    assert [used.add(step, 1, 10.0) for step in (1, 2, 3)] == ["", "", ""]


def test_a_loss_that_cannot_be_counted_has_none(toy, monkeypatch):
    monkeypatch.setenv(PEAK, "1")
    whole = type(toy).training_loss
    monkeypatch.setattr(
        type(toy),
        "training_loss",
        lambda self, images, progress: whole(self, images * float(images.max()), progress),
    )
    used = Utilisation(toy, scenes_of(toy))
    assert [used.add(step, 1, 10.0) for step in (1, 2, 3)] == ["", "", ""]


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H200", "bf16", 989.4e12),
        ("NVIDIA H200", "fp32", 66.9e12),
        ("NVIDIA A100-SXM4-80GB", "bf16", 311.9e12),
        ("NVIDIA H100 PCIe", "bf16", 756.4e12),
        ("NVIDIA L40S", "bf16", 362.1e12),
        ("Tesla V100-SXM2-16GB", "fp32", 15.7e12),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("Tesla V100-PCIE-32GB", "fp32", 14e12),
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4e12),
        ("NVIDIA H100 NVL", "bf16", 835.5e12),
        ("NVIDIA GH200 480GB", "bf16", 989.4e12),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "bf16", None),
        ("NVIDIA GeForce RTX 3090 Ti", "bf16", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", "bf16", None),
        ("NVIDIA RTX A4000", "bf16", None),
        ("NVIDIA Unheard Of", "bf16", None),
    ],
)
def test_peaks_of_gpus_by_name_and_precision(monkeypatch, name, precision, peak):
    monkeypatch.delenv(PEAK, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    method = objbench.create("objmae", "tetrominoes")
    assert peak_flops(torch.device("cuda"), precision, method) == (peak and pytest.approx(peak))


def test_float32_that_may_be_tf32_has_no_peak(monkeypatch, toy):
    monkeypatch.delenv(PEAK, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    cuda = torch.device("cuda")
    assert any(isinstance(part, nn.Conv2d) for part in toy.modules())
    assert peak_flops(cuda, "fp32", toy) is None
    assert peak_flops(cuda, "bf16", toy) is not None
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    assert peak_flops(cuda, "fp32", objbench.create("objmae", "tetrominoes")) is None


@contextmanager
def setting(backend, name, value):
    before = getattr(backend, name)
    setattr(backend, name, value)
    try:
        yield
    finally:
        setattr(backend, name, before)


@pytest.mark.parametrize(
    ("name", "on", "off"), [("fp32_precision", "tf32", "ieee"), ("allow_tf32", True, False)]
)
def test_tf32_is_noticed_however_a_program_has_set_it(monkeypatch, toy, name, on, off):
    monkeypatch.delenv(PEAK, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    cuda, products, backends = torch.device("cuda"), objbench.create("objmae", "tetrominoes"), torch.backends
    assert peak_flops(cuda, "fp32", products) is not None
    with setting(backends.cuda.matmul, name, on):
        assert peak_flops(cuda, "fp32", products) is None
    with setting(backends.cudnn.conv if name == "fp32_precision" else backends.cudnn, name, off):
        assert peak_flops(cuda, "fp32", toy) is not None
    assert peak_flops(cuda, "fp32", toy) is None


@pytest.mark.parametrize("stated", ["fast", "-3", "0", "inf", "nan"])
def test_a_stated_peak_is_a_number(monkeypatch, toy, stated):
    monkeypatch.setenv(PEAK, stated)
    with pytest.raises(RequestError, match=re.escape(f"{PEAK}={stated}: expected a number above 0")):
        peak_flops(torch.device("cpu"), "fp32", toy)


def test_a_training_shows_it_and_is_the_same_without(prepared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(PEAK, raising=False)
    one, _ = run(prepared_data, tmp_path / "one", **{"recipe.log_steps": 2})
    assert "MFU" not in capsys.readouterr().err
    monkeypatch.setenv(PEAK, "1e-6")
    monkeypatch.setattr(module, "_WARM_SECONDS", 0.0)
    two, _ = run(prepared_data, tmp_path / "two", **{"recipe.log_steps": 2})
    assert re.search(r"8/8 steps, .*, loss [\d.]+, MFU [\d.e+]+%, val ", capsys.readouterr().err)
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
