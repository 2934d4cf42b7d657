"""Memory that a step frees is there for the next one: counted in the pages that a process gets from the system."""

import platform
import subprocess
import sys

import pytest

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")

STEPS = """
import resource
import torch
from objbench.train.heap import keep_freed_memory

print(CALL)
torch.set_num_threads(1)

def step():
    blocks = [torch.ones(1 << 20) for _ in range(8)]  # 4 MB each

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def told(call: str, **environment: str) -> tuple[str, int]:
    """What the call returned in a process of its own, and the pages that ten steps of 32 MB got from the system."""
    program = STEPS.replace("CALL", call)
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    returned, pages = done.stdout.split()
    return returned, int(pages)


@glibc
def test_a_step_gets_the_pages_that_the_one_before_freed() -> None:
    returned, pages = told("keep_freed_memory()")
    assert returned == "True"
    assert pages < 100  # without it from none to all 80,000: it depends on the addresses of the process


@glibc
@pytest.mark.parametrize(
    "chosen", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_what_the_user_chose_stays(chosen: dict[str, str]) -> None:
    returned, pages = told("keep_freed_memory()", **chosen)
    assert returned == "False"
    assert pages > 10_000


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    from objbench.train import heap

    monkeypatch.setattr(heap.sys, "platform", "darwin")
    assert not heap.keep_freed_memory()
