"""Threads follow the processors a container may use, not those of its host."""

import os
from pathlib import Path

import pytest

from a360runtime.serving.cpus import available

MACHINE = len(os.sched_getaffinity(0))
V1 = "sys/fs/cgroup/cpu,cpuacct"


@pytest.mark.row("F317")
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000"}, MACHINE),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "9900000 100000"}, MACHINE),
        # The limit of the group around counts too.
        (
            {
                "proc/self/cgroup": "0::/pod/box\n",
                "sys/fs/cgroup/pod/cpu.max": "100000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "max 100000",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
                f"{V1}/cpu.cfs_quota_us": "100000\n",
                f"{V1}/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/\n",
                f"{V1}/cpu.cfs_quota_us": "-1",
                f"{V1}/cpu.cfs_period_us": "100000",
            },
            MACHINE,
        ),
    ],
)
def test_the_limit_of_a_container(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available(tmp_path) == expected


def test_a_limit_of_one_and_a_half_counts_as_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("150000 100000")
    assert available(tmp_path) == 2
