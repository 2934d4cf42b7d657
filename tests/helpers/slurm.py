"""A real Slurm of one node, from Debian's packages, which are unpacked and not installed."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.ports import free_port

_PACKAGES = ("slurm-client", "slurmctld", "slurmd", "slurm-wlm-basic-plugins")
_REQUEUE_SECONDS = 5  # that long a job waits that was queued again; 120 by default
_START_SECONDS = 120


@contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """The environment for the commands of a Slurm that runs meanwhile; skips the test if there are no packages."""
    root = _unpack(folder / "packages")
    libraries = next(root.glob("usr/lib/*/slurm-wlm"))
    (folder / "slurm.conf").write_text(_configuration(folder, libraries))
    environment = os.environ | {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "LD_LIBRARY_PATH": f"{libraries.parent}:{libraries}",
        "PATH": f"{root / 'usr/bin'}:{os.environ['PATH']}",
    }
    controller = [root / "usr/sbin/slurmctld-wlm", "-D", "-c"]
    node = [root / "usr/sbin/slurmd-wlm", "-D", "-d", root / "usr/sbin/slurmstepd-wlm"]
    daemons = []
    try:
        for command in (controller, node):
            daemons.append(
                subprocess.Popen(
                    command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        _wait_until_idle(daemons, environment, folder)
        yield environment
        subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, check=True)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(60)


def _unpack(folder: Path) -> Path:
    """Download the packages, and those they need that are not installed, and unpack them."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("no packages of Debian here: Slurm is not tried")
    folder.mkdir()
    plan = ["apt-get", "install", "--simulate", "--no-install-recommends", *_PACKAGES]
    found = subprocess.run(plan, capture_output=True, text=True, check=False)
    names = re.findall(r"^Inst (\S+)", found.stdout, re.M)
    if found.returncode or not names:
        pytest.skip(f"no package slurmd for this system (apt-get update?): {found.stderr.strip()[-200:]}")
    loaded = subprocess.run(
        ["apt-get", "download", *names], cwd=folder, capture_output=True, text=True, check=False
    )
    if loaded.returncode:
        pytest.skip(f"the packages of Slurm cannot be downloaded: {loaded.stderr.strip()[-200:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "--extract", package, folder / "root"], check=True)
    return folder / "root"


def _configuration(folder: Path, plugins: Path) -> str:
    host, user = socket.gethostname().partition(".")[0], getpass.getuser()
    for name in ("state", "spool"):
        (folder / name).mkdir()
    return f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/none
AuthInfo=cred_expire={_REQUEUE_SECONDS}
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=60
SchedulerParameters=sched_interval=5,batch_sched_delay=1
StateSaveLocation={folder / "state"}
SlurmdSpoolDir={folder / "spool"}
SlurmctldPidFile={folder / "slurmctld.pid"}
SlurmdPidFile={folder / "slurmd.pid"}
SlurmctldLogFile={folder / "slurmctld.log"}
SlurmdLogFile={folder / "slurmd.log"}
PluginDir={plugins}
PlugStackConfig=/dev/null
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _wait_until_idle(
    daemons: list[subprocess.Popen[bytes]], environment: dict[str, str], folder: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        state = subprocess.run(
            ["sinfo", "--noheader", "--format=%t"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if state.stdout.strip() == "idle":
            return
        ended = any(daemon.poll() is not None for daemon in daemons)
        if ended or time.monotonic() > deadline:
            logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("slurm*.log"))
            raise AssertionError(f"Slurm did not start ({state.stdout}{state.stderr}):\n{logs}")
        time.sleep(0.5)
