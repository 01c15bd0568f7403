"""PyTorch: modules of many kinds become graphs that answer the same, or are refused by name."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch", reason="needs the environment of an image: make test-flavors")

from a360mdk import parity, samples  # noqa: E402
from a360mdk.exceptions import RunError  # noqa: E402
from a360mdk.flavors import get  # noqa: E402
from a360mdk.flavors.base import InputSchema  # noqa: E402
from a360runtime import ONNXModel  # noqa: E402
from tests.flavors import tricky_torch  # noqa: E402
from tests.flavors.checks import converted, reloaded, schema_of  # noqa: E402

pytestmark = pytest.mark.flavors
nn = torch.nn
PYTORCH = get("pytorch")
X = np.random.default_rng(1).normal(size=(300, 6))


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    torch.manual_seed(7)


class Net(nn.Module):
    """As notebooks define them: dropout, batch normalisation, one value per row."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, 16)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(16, 1)

    def forward(self, x: Any) -> Any:
        x = self.drop(torch.relu(self.norm(self.hidden(x))))
        return torch.sigmoid(self.out(x))


def trained(module: Any, features: Any = X, steps: int = 20) -> Any:
    """Train a little, so that normalisation has seen data; left in training mode."""
    inputs = torch.tensor(features).float()
    target = torch.tensor(features.sum(axis=tuple(range(1, features.ndim))) > 0).float()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        answer = module(inputs)
        loss = ((answer.reshape(len(target), -1)[:, 0] - target) ** 2).mean()
        loss.backward()
        optimizer.step()
    return module.train()


@pytest.mark.row("M006", "M009", "M077", "M127")
def test_a_module_in_training_mode_is_stored_as_it_answers_when_serving() -> None:
    module = trained(Net())
    model, result = converted(PYTORCH, module, X)
    assert module.training, "logging must not change the user's module"
    assert result.rows - result.edge_rows == 100
    assert result.edge_rows > 0
    module.eval()
    native = module(torch.tensor(X).float()).detach().numpy()
    np.testing.assert_allclose(model.predict(X), native, rtol=1e-4, atol=1e-6)
    one = model.predict(X[0].tolist())
    np.testing.assert_allclose(one, native[:1], rtol=1e-4, atol=1e-6)


@pytest.mark.row("M006")
def test_names_of_columns_are_kept_with_the_graph() -> None:
    frame = pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)])
    model, _ = converted(PYTORCH, trained(Net()), frame)
    assert model.feature_names == list(frame.columns)
    shuffled = frame[list(reversed(frame.columns))]
    np.testing.assert_array_equal(model.predict(shuffled), model.predict(frame))


class Regression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: Any) -> Any:
        return self.layers(x).squeeze(-1)


class Several(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 3), nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        return self.one(x), self.two(x)


class Named(Several):
    def forward(self, x: Any) -> Any:
        return {"first": self.one(x), "second": self.two(x)}


class Texts(nn.Module):
    """Whole numbers in, through an embedding and a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(50, 8), nn.LSTM(8, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, ids: Any) -> Any:
        states, _ = self.rnn(self.embed(ids))
        return self.out(states[:, -1])


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 4), nn.Linear(4 + 6, 1)

    def forward(self, shop: Any, values: Any) -> Any:
        return self.out(torch.cat([self.embed(shop).flatten(1), values], dim=1))


class MixedTable(nn.Module):
    """A table whose first column is a category and whose others must not be cut to whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(20, 4), nn.Linear(4 + 6, 1)

    def forward(self, x: Any) -> Any:
        return self.out(torch.cat([self.embed(x[:, 0].long()), x[:, 1:]], dim=1))


def image_net() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3),
    )


def attention() -> Any:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 1), nn.Flatten(), nn.Linear(5 * 8, 1))


RANDOM = np.random.default_rng(3)
KINDS = {
    "one value a row": (Regression(), X, (300,)),
    "several outputs, of which the first counts": (Several(), X, (300, 3)),
    "outputs by name": (Named(), X, (300, 3)),
    "softmax": (nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=1)), X, (300, 3)),
    "one column": (nn.Linear(1, 1), X[:, :1], (300, 1)),
    "double": (Regression().double(), X, (300,)),
    "images": (image_net(), RANDOM.normal(size=(40, 3, 8, 8)), (40, 3)),
    "sequences": (attention(), RANDOM.normal(size=(40, 5, 8)), (40, 1)),
    "whole numbers": (Texts(), RANDOM.integers(0, 50, size=(40, 12)), (40, 2)),
    "two inputs": (
        TwoInputs(),
        {"shop": RANDOM.integers(0, 20, size=(40, 1)), "values": X[:40]},
        (40, 1),
    ),
    "a category in a table": (MixedTable(), np.c_[RANDOM.integers(0, 20, size=300), X], (300, 1)),
    "float32 data": (Net(), X.astype(np.float32), (300, 1)),
    "integer data for a module of floats": (Net(), RANDOM.integers(0, 9, size=(50, 6)), (50, 1)),
}


@pytest.mark.row("M006", "M116")
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_answer_like_their_modules(kind: str) -> None:
    module, features, shape = KINDS[kind]
    model, _ = converted(PYTORCH, module, features)
    native, labels = PYTORCH.predict(module, features)
    assert not labels
    if kind == "a category in a table":
        np.testing.assert_array_equal(native, module(torch.tensor(features).float()).detach().numpy())
    assert native.shape == shape
    if isinstance(features, dict):
        answers = model.predict(features, "huggingface")[0]
    else:
        answers = model.predict(features)
        assert model.predict(features[:1]).shape == (1, *shape[1:])
    np.testing.assert_allclose(answers, native, rtol=1e-3, atol=1e-5)


def test_a_tensor_as_training_data_is_compared_as_well() -> None:
    _, result = converted(PYTORCH, Regression(), torch.tensor(X).float())
    assert result.rows - result.edge_rows == 100


def test_without_training_data_the_first_layer_says_what_a_row_is() -> None:
    (conversion,) = PYTORCH.conversions(Net(), InputSchema())
    asked = parity.ask(PYTORCH, Net(), samples.sampled(X))
    assert asked is not None
    other = ONNXModel.from_bytes(conversion.graph)
    assert not parity.compare(other, asked).passed, "other weights must show"
    with pytest.raises(RunError, match="What the Sequential takes is not known"):
        next(PYTORCH.conversions(image_net(), InputSchema()))


def test_rows_from_before_a_preprocessing_are_not_compared() -> None:
    assert parity.ask(PYTORCH, Net(), samples.sampled(X[:, :3])) is None
    assert parity.ask(PYTORCH, Net(), samples.sampled(np.array([["a"] * 6], dtype=object))) is None


@pytest.mark.row("M079")
def test_the_native_copy_is_the_module_to_call_on_a_float_tensor(tmp_path: Path) -> None:
    module = trained(Net())
    loaded = reloaded(PYTORCH, module, tmp_path)
    assert isinstance(loaded, nn.Module)
    assert not loaded.training
    tensor = torch.tensor(X).float()
    torch.testing.assert_close(loaded(tensor), module.eval()(tensor))


@pytest.mark.row("M007", "M079")
def test_a_class_of_one_notebook_is_loaded_by_another(tmp_path: Path) -> None:
    written = """
        import sys, torch
        from a360mdk.flavors import get
        class Own(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(2, 1)
            def forward(self, x):
                return self.layer(x)
        with open(sys.argv[1], "wb") as sink:
            get("pytorch").save(Own(), sink)
    """
    read = """
        import sys, torch
        from pathlib import Path
        from a360mdk.flavors import get
        print(get("pytorch").load(Path(sys.argv[1]))(torch.zeros(3, 2).float()).shape)
    """
    for code in (written, read):
        command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "native")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch.Size([3, 1])"


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Any) -> Any:
        x = self.layer(x)
        if x.sum() > 0:
            return x
        return -x


class Eigenvalues(nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.eigvals(x[:, :4].reshape(-1, 2, 2)).real


class FixedRows(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.reshape(2, 6).sum(dim=1)


class AcrossRows(nn.Module):
    def forward(self, x: Any) -> Any:
        return x - x.mean()


class Noise(nn.Module):
    def forward(self, x: Any) -> Any:
        return x + torch.randn_like(x)


class Holds(nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(6, 6), inner

    def forward(self, x: Any) -> Any:
        return self.inner(self.first(x))


REFUSED = {
    "an if on values": (Holds(Branches()), r"layer inner \(Branches\) of the Holds.*if x.sum\(\) > 0"),
    "an operator without ONNX form": (Holds(Eigenvalues()), r"operator aten.linalg_eig\w* of the Holds"),
    "a fixed number of rows": (FixedRows(), "does not take any number of rows"),
    "random numbers": (Noise(), "answers differently"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(kind: str) -> None:
    module, reason = REFUSED[kind]
    with pytest.raises(RunError, match="(?s)" + reason):
        next(PYTORCH.conversions(module, schema_of(X)))


def test_what_is_no_module_is_refused() -> None:
    for thing in (Net().state_dict(), "text", np.zeros(3)):
        with pytest.raises(RunError, match=r"not a torch\.nn\.Module"):
            PYTORCH.unwrap(thing)
    with pytest.raises(RunError, match="scripted"):
        PYTORCH.unwrap(torch.jit.trace(Regression(), torch.zeros(2, 6)))
    module = Net()
    assert PYTORCH.unwrap(nn.DataParallel(module)) is module
    assert PYTORCH.unwrap(torch.compile(module)) is module


def test_answers_that_depend_on_the_other_rows_of_a_call_are_refused() -> None:
    with pytest.raises(RunError, match="answers differently"):
        converted(PYTORCH, AcrossRows(), X)


@pytest.mark.parametrize("name", tricky_torch.MODULES)
def test_what_exporters_are_known_to_get_wrong(name: str) -> None:
    build, features = tricky_torch.MODULES[name]
    module = build()
    model, _ = converted(PYTORCH, module, features)
    others = np.random.default_rng(17).permuted(features, axis=1)  # rows nobody trained on
    native, _ = PYTORCH.predict(module, others)
    answers = model.predict(others)
    assert answers.dtype.kind == native.dtype.kind
    np.testing.assert_allclose(answers.reshape(native.shape), native, rtol=1e-3, atol=1e-5)
