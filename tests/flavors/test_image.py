"""What every image holds and how notebooks find it, seen from inside each of them."""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

IMAGE = os.environ.get("A360_IMAGE", "")
pytestmark = [
    pytest.mark.flavors,
    pytest.mark.skipif(not IMAGE, reason="needs the environment of an image: make test-flavors"),
]
MODULES = """
altair bs4 bokeh.plotting dask.dataframe h5py IPython joblib jupyterlab matplotlib.pyplot nbconvert nbdime
numba numpy onnx onnxruntime pandas patsy PIL pip pyarrow.parquet skimage.filters sklearn scipy.stats seaborn
"""
OF_FLAVOR = {
    "sklearn": ["sklearn", "skl2onnx"],
    "xgboost": ["xgboost", "onnxmltools"],
    "pytorch": ["torch", "onnxscript"],
    "tensorflow": ["tensorflow", "keras", "tf2onnx"],
    "huggingface": ["transformers", "tokenizers", "torch"],
}


def flavor() -> str:
    """As people read it off the name of the image."""
    parts = IMAGE.split("-")
    return "huggingface" if parts[-2] == "huggingface" else parts[-1]


@pytest.mark.row("M010")
@pytest.mark.parametrize("module", MODULES.split())
@pytest.mark.filterwarnings("ignore")
def test_libraries_can_be_imported(module: str) -> None:
    import_module(module)


@pytest.mark.row("M009", "M010")
@pytest.mark.filterwarnings("ignore")
def test_the_framework_is_there_and_pandas_is_as_notebooks_need_it() -> None:
    for module in OF_FLAVOR[flavor()]:
        import_module(module)
    assert int(version("pandas").split(".")[0]) < 3
    assert tuple(map(int, version("numpy").split(".")[:2])) < (2, 4)


@pytest.mark.row("M001", "M002")
def test_the_kit_loads_no_framework_before_it_is_needed() -> None:
    code = f"import sys, a360mdk, a360runtime.onnx_model as m, a360mdk.flavors as f; f.get({flavor()!r})"
    command = [sys.executable, "-c", code + "; print(*sys.modules)"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert not {"sklearn", "xgboost", "torch", "keras", "tensorflow", "transformers"} & set(loaded)


@pytest.mark.row("M011")
def test_cells_can_call_pip_conda_and_pandoc() -> None:
    for command in (["pip", "list"], ["conda", "list"], ["mamba", "list"]):
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "onnxruntime" in listed
    assert shutil.which("pandoc")
    assert (
        "pandoc" in subprocess.run(["pandoc", "--version"], capture_output=True, text=True, check=True).stdout
    )
