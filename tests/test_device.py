"""What is said of the device: the memory that is left."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from objbench import device
from objbench.device import free_memory
from objbench.errors import RequestError


def test_a_number_is_that_of_a_gpu() -> None:
    with pytest.raises(RequestError, match="device cuda:77 is not available"):
        device.choose_device(77)


@pytest.mark.parametrize("name", ["", np.int64(0), False])
def test_what_is_no_device_is_not_the_cpu(name: Any) -> None:
    with pytest.raises(RequestError, match=f"unknown device '{name}' .known: auto, cpu, cuda, cuda:N"):
        device.choose_device(name)


def test_a_gpu_that_another_process_will_use_is_checked_and_left_alone(monkeypatch) -> None:
    used = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *shape, **options: used.append(options["device"].type))
    for name in ("cuda", "cuda:0", "cuda:1", "auto", "cpu"):
        device.check_device(name)
    assert used == ["cpu"]
    with pytest.raises(
        RequestError, match="device cuda:2 is not available: there are 2 GPUs, counted from 0"
    ):
        device.check_device("cuda:2")
    for name in ("cudda", "cuda:x", "cuda:-1"):
        with pytest.raises(RequestError):
            device.check_device(name)


def test_what_an_earlier_run_holds_in_circles_is_not_counted(monkeypatch) -> None:
    class Run:
        def __init__(self) -> None:
            self.me = self

    left: list[Run | None] = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: left.append(earlier()))
    gc.disable()
    try:
        earlier = weakref.ref(Run())
        assert earlier() is not None
        device.reset_peak_memory(torch.device("cpu"))
        device.reset_peak_memory(torch.device("cuda"))
    finally:
        gc.enable()
    assert left == [None]


def test_products_of_another_precision_are_named(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    products, gpu = torch.backends.cuda.matmul, torch.device("cuda")
    assert device.describe(gpu) == "NVIDIA H200"
    before = products.fp32_precision
    products.fp32_precision = "tf32"
    try:
        assert device.describe(gpu) == "NVIDIA H200, matmul.fp32_precision=tf32"
        monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
        assert device.describe(gpu) == "NVIDIA H200, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1"
    finally:
        products.fp32_precision = before


def test_the_free_memory_of_the_machine_is_part_of_what_it_has() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


def test_another_system_than_linux_counts_all_its_memory(monkeypatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert device._available() is None
    assert free_memory(torch.device("cpu")) > 2**20


def group(folder: Path, names: tuple[str, str, str], limit: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\nslab 7\n")


@pytest.mark.parametrize("path", ["/jobs/7", "/elsewhere/jobs/7"])
@pytest.mark.parametrize(
    ("line", "mount", "names"),
    [
        ("0::{}", "", ("memory.max", "memory.current", "inactive_file")),
        ("4:cpu,memory:{}", "memory",
         ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ],
)  # fmt: skip
def test_limits_of_control_groups_count(
    tmp_path: Path, line: str, mount: str, names: tuple[str, str, str], path: str
) -> None:
    membership, root = tmp_path / "cgroup", tmp_path / "root"
    membership.write_text(f"9:pids:/\n{line.format(path)}\n")
    assert device._left_in_groups(membership, root) == []
    group(
        root / mount, names, "1000", 700, 300
    )  # of all, or of the container, which sees no group above its own
    assert device._left_in_groups(membership, root) == [600]
    group(root / mount / "jobs", names, "max" if not mount else str(2**63 - 4096), 900, 0)
    group(root / mount / "jobs/7", names, "500", 450, 20)
    left = device._left_in_groups(membership, root)
    assert min(left) == (70 if path == "/jobs/7" else 600)


def test_a_limit_of_a_control_group_counts(monkeypatch) -> None:
    monkeypatch.setattr(device, "_left_in_groups", lambda: [5, 7])
    assert free_memory(torch.device("cpu")) == 5


def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource, torch\nfrom objbench.device import free_memory\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))\n"
        "print(free_memory(torch.device('cpu')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 32 << 20 < int(found.stdout) <= 64 << 20
