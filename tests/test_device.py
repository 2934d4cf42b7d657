"""What is said of the device: the memory that is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from objbench import device
from objbench.device import free_memory


def test_the_free_memory_of_the_machine_is_part_of_what_it_has() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


def test_another_system_than_linux_counts_all_its_memory(monkeypatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert device._available() is None
    assert free_memory(torch.device("cpu")) > 2**20


def test_a_limit_of_the_process_counts() -> None:
    code = (
        "import resource, torch\nfrom objbench.device import free_memory\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), -1))\n"
        "print(free_memory(torch.device('cpu')))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 32 << 20 < int(found.stdout) <= 64 << 20
