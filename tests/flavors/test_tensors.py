"""Tensors as data sets, both ways, with a real torch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from a360mdk import DataRepo
from a360mdk.exceptions import DatasetError

torch: Any = pytest.importorskip("torch", reason="needs the environment of an image: make test-flavors")
pytestmark = pytest.mark.flavors
TYPES = ["float64", "float32", "int64", "int32", "int16", "uint8", "bool"]


@pytest.fixture
def repo(tmp_path: Path) -> DataRepo:
    return DataRepo(volume_name=str(tmp_path))


@pytest.mark.row("M027", "M029", "M159")
@pytest.mark.parametrize("suffix", ["parquet", "csv", "json"])
@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_tensors_go_and_come_back(repo: DataRepo, suffix: str, shape: tuple[int, ...]) -> None:
    given = torch.arange(int(np.prod(shape))).reshape(shape)
    repo.write_dataset(given, f"x.{suffix}")
    back = repo.load_dataset(f"x.{suffix}", target_format="torch")
    assert isinstance(back, torch.Tensor)
    assert torch.equal(back, given.reshape(4, -1))


@pytest.mark.row("M027", "M029")
@pytest.mark.parametrize("name", TYPES)
def test_types_are_kept(repo: DataRepo, name: str) -> None:
    given = torch.ones((2, 2), dtype=getattr(torch, name))
    repo.write_dataset(given, "x")
    assert repo.load_dataset("x.parquet", target_format="torch").dtype == given.dtype


@pytest.mark.row("M029")
def test_tensors_of_a_training_are_written_as_they_are(repo: DataRepo) -> None:
    repo.write_dataset(torch.ones(3, requires_grad=True) * 2, "grad")
    assert list(repo.load_dataset("grad.parquet")["0"]) == [2, 2, 2]
    repo.write_dataset(torch.ones(3, dtype=torch.bfloat16), "half")
    assert repo.load_dataset("half.parquet", target_format="torch").dtype == torch.float32
    repo.write_dataset(torch.ones(2, 3).T, "turned")
    assert repo.load_dataset("turned.parquet").shape == (3, 2)
    with pytest.raises(DatasetError, match="cannot be written"):
        repo.write_dataset(torch.ones(2, 2, 2), "deep")


@pytest.mark.row("M027")
def test_frames_as_tensors(repo: DataRepo) -> None:
    repo.write_dataset(pd.DataFrame({"a": [1.5, 2.5], "b": [True, False], "c": [1, 2]}), "mixed")
    assert repo.load_dataset("mixed.parquet", target_format="torch").tolist() == [[1.5, 1, 1], [2.5, 0, 2]]
    repo.write_dataset(pd.DataFrame({"a": ["1", "x"]}), "text")
    with pytest.raises(DatasetError, match="numbers only"):
        repo.load_dataset("text.parquet", target_format="torch")
