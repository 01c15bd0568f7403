"""Large files go through in constant memory."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 2_000_000_000
SCRIPT = """
import resource, sys
from a360mdk import DataRepo

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

folder, size = sys.argv[1], int(sys.argv[2])
repo = DataRepo(volume_name=folder + "/repo")
repo.filesystem.create_dir("a")
(open(folder + "/small", "wb")).write(b"1")
repo.filesystem.write_file_to_remote(folder + "/small", "small")
repo.get_file("small", folder + "/small.back")
with open(folder + "/big", "wb") as file:
    file.truncate(size)
idle = peak()
stored = repo.filesystem.write_file_to_remote(folder + "/big", "big")
repo.get_file("big", folder + "/back")
print(stored.size, peak() - idle)
"""


@pytest.mark.long
@pytest.mark.slow
def test_two_gigabytes_up_and_down(tmp_path: Path) -> None:
    if shutil.disk_usage(tmp_path).free < 3 * SIZE:
        pytest.skip("not enough disk for two copies of 2 GB")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(SIZE)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    size, megabytes = map(int, done.stdout.split())
    shutil.rmtree(tmp_path / "repo")
    (tmp_path / "back").unlink()
    assert size == SIZE
    assert megabytes < 150
