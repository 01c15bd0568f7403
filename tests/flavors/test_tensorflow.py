"""TensorFlow: Keras models of every style become graphs that answer the same, or are refused by name."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras", reason="needs the environment of an image: make test-flavors")

import tensorflow as tf  # noqa: E402

from a360mdk import parity, samples  # noqa: E402
from a360mdk.exceptions import ArtifactError, RunError  # noqa: E402
from a360mdk.flavors import get  # noqa: E402
from a360mdk.flavors.base import InputSchema  # noqa: E402
from tests.flavors import tricky_keras  # noqa: E402
from tests.flavors.checks import converted, reloaded, schema_of  # noqa: E402

pytestmark = pytest.mark.flavors
layers = keras.layers
TENSORFLOW = get("tensorflow")
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(300, 6))
SHOPS = RANDOM.integers(0, 20, size=(300, 1))
WORDS = RANDOM.integers(0, 50, size=(40, 12))


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.set_random_seed(7)


def fitted(model: Any, features: Any = X, loss: str = "mse") -> Any:
    """Fit for one round, as notebooks do."""
    rows = len(next(iter(features.values()))) if isinstance(features, dict) else len(features)
    model.compile("adam", loss)
    model.fit(features, np.arange(rows) % 2, verbose=0)
    return model


def without_input() -> Any:
    """Sequential whose input shape only fit fixes."""
    return keras.Sequential(
        [
            layers.Dense(8, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def functional() -> Any:
    inputs = keras.Input((6,), name="a table")
    hidden = layers.Dense(4, activation="tanh")(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.concatenate([hidden, inputs])))


@keras.saving.register_keras_serializable()
class Own(keras.Model):
    """A class of the user's own, with two outputs."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.hidden, self.drop = layers.Dense(4), layers.Dropout(0.5)
        self.one, self.two = layers.Dense(1), layers.Dense(2)

    def call(self, inputs: Any, training: bool = False) -> Any:
        hidden = self.drop(self.hidden(inputs), training=training)
        return self.one(hidden)


def normalised() -> Any:
    layer = layers.Normalization()
    layer.adapt(X)
    return keras.Sequential([keras.Input((6,)), layer, layers.Dense(1)])


def _shop_and_values() -> tuple[Any, Any, Any]:
    values, shop = keras.Input((6,), name="values"), keras.Input((1,), name="shop", dtype="int32")
    embedded = layers.Flatten()(layers.Embedding(20, 4)(shop))
    return values, shop, layers.Dense(1)(layers.concatenate([values, embedded]))


def two_inputs() -> Any:
    values, shop, answer = _shop_and_values()
    return keras.Model([values, shop], answer)


def named_inputs_and_outputs() -> Any:
    values, shop, answer = _shop_and_values()
    return keras.Model({"values": values, "shop": shop}, {"churn": answer, "aside": layers.Dense(2)(values)})


def texts() -> Any:
    return keras.Sequential([layers.Embedding(50, 8), layers.LSTM(8), layers.Dense(2, activation="softmax")])


def images() -> Any:
    return keras.Sequential(
        [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(), layers.Dense(3)]
    )


def any_length() -> Any:
    return keras.Sequential([keras.Input((None, 3)), layers.Bidirectional(layers.GRU(4)), layers.Dense(1)])


def attention() -> Any:
    inputs = keras.Input((5, 8))
    return keras.Model(
        inputs,
        layers.Dense(1)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(inputs, inputs))),
    )


BOTH = {"values": X, "shop": SHOPS}
KINDS = {
    "input shape fixed by fit": (without_input, X, "mse", (300, 1)),
    "functional": (functional, X, "mse", (300, 1)),
    "a class": (Own, X, "mse", (300, 1)),
    "normalisation fitted on data": (normalised, X, "mse", (300, 1)),
    "two inputs": (two_inputs, BOTH, "mse", (300, 1)),
    "whole numbers through a recurrent layer": (texts, WORDS, "sparse_categorical_crossentropy", (40, 2)),
    "images": (images, RANDOM.random((40, 8, 8, 3)), "sparse_categorical_crossentropy", (40, 3)),
    "sequences of any length": (any_length, RANDOM.normal(size=(40, 7, 3)), "mse", (40, 1)),
    "attention": (attention, RANDOM.normal(size=(40, 5, 8)), "mse", (40, 1)),
    "float32 data": (without_input, X.astype("float32"), "mse", (300, 1)),
    "one column": (without_input, X[:, :1], "mse", (300, 1)),
}


@pytest.mark.row("M006", "M077", "M116")
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_answer_like_their_models(kind: str, tmp_path: Path) -> None:
    build, features, loss, shape = KINDS[kind]
    model = fitted(build(), features, loss)
    graph, result = converted(TENSORFLOW, model, features)
    assert result.max_difference is not None
    native = model.predict(features, verbose=0)
    assert native.shape == shape
    if isinstance(features, dict):
        answers = graph.predict(features, "huggingface")[0]
    else:
        answers = graph.predict(features)
        assert graph.input_names == ["X"]
        assert graph.predict(features[:1]).shape == (1, *shape[1:])
    np.testing.assert_allclose(answers, native, rtol=1e-3, atol=1e-5)


@pytest.mark.row("M080", "M007")
@pytest.mark.parametrize("kind", ["input shape fixed by fit", "a class", "normalisation fitted on data"])
def test_the_native_copy_predicts(kind: str, tmp_path: Path) -> None:
    build, features, loss, _ = KINDS[kind]
    model = fitted(build(), features, loss)
    loaded = reloaded(TENSORFLOW, model, tmp_path)
    np.testing.assert_allclose(
        loaded.predict(features, verbose=0), model.predict(features, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_inputs_and_outputs_with_names_keep_them_apart() -> None:
    model = named_inputs_and_outputs()
    graph, _ = converted(TENSORFLOW, model, BOTH)
    assert set(graph.input_names) == {"values", "shop"}
    first = keras.tree.flatten(model({"values": X, "shop": SHOPS}))[0]
    np.testing.assert_allclose(
        graph.predict(BOTH, "huggingface")[0], keras.ops.convert_to_numpy(first), rtol=1e-3, atol=1e-5
    )


def test_names_of_columns_are_kept_with_the_graph() -> None:
    frame = pd.DataFrame(X, columns=[f"feature {i}" for i in range(6)])
    graph, _ = converted(TENSORFLOW, fitted(functional()), frame)
    assert graph.feature_names == list(frame.columns)
    one = frame.iloc[0].to_dict()
    np.testing.assert_array_equal(graph.predict([one]), graph.predict(frame.iloc[:1]))


class Digamma(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.digamma(x * x + 1)


class FixedRows(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.reshape(x, (2, 6)) * 2


class Noise(layers.Layer):
    def call(self, x: Any) -> Any:
        return x + tf.random.normal(tf.shape(x))


def vectorised() -> Any:
    layer = layers.TextVectorization(20, output_sequence_length=5)
    layer.adapt(["a b", "c d"])
    inputs = keras.Input((1,), dtype="string")
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Embedding(20, 3)(layer(inputs)))))


def holding(layer: Any) -> Any:
    return keras.Sequential([keras.Input((6,)), layers.Dense(6), layer])


REFUSED = {
    "an operator ONNX lacks": (
        lambda: holding(Digamma(name="special")),
        r"operator Digamma \(layer special\) of the Sequential has no ONNX form",
    ),
    "strings cut into words": (vectorised, r"operator \w+ \(layer text_vectorization\w*\) of the Functional"),
    "categories by their borders": (
        lambda: holding(layers.Discretization([-1.0, 0.0, 1.0])),
        r"operator Bucketize \(layer discretization\w*\) of the Sequential",
    ),
    "a fixed number of rows": (lambda: holding(FixedRows()), "does not take any number of rows"),
    "random numbers": (lambda: holding(Noise()), "answers differently"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(kind: str) -> None:
    build, reason = REFUSED[kind]
    with pytest.raises(RunError, match=reason):
        next(TENSORFLOW.conversions(TENSORFLOW.unwrap(build()), InputSchema()))


def test_what_is_no_fitted_model_is_refused() -> None:
    with pytest.raises(RunError, match="not a Keras 3 model"):
        TENSORFLOW.unwrap(layers.Dense(3))
    with pytest.raises(RunError, match="neither fitted nor given an Input layer"):
        TENSORFLOW.unwrap(without_input())
    for rows in (X[:, :3], X[0], np.array([["a"] * 6], dtype=object)):
        assert parity.ask(TENSORFLOW, functional(), samples.at(rows, [0])) is None
    assert TENSORFLOW.width(functional()) == 6
    assert schema_of(X).tensors == {"": ("float64", (6,))}


@pytest.mark.row("M080")
def test_a_class_unknown_to_the_notebook_is_asked_for(tmp_path: Path) -> None:
    code = """
        import sys, keras, numpy as np
        from a360mdk.flavors import get
        class Unknown(keras.layers.Layer):
            def call(self, x):
                return x
        with open(sys.argv[1], "wb") as sink:
            get("tensorflow").save(keras.Sequential([keras.Input((2,)), Unknown()]), sink)
    """
    again = """
        from pathlib import Path
        print(get("tensorflow").load(Path(sys.argv[1])).predict(np.array([[1.0, 2.0]]), verbose=0))
    """
    command = [sys.executable, "-c", textwrap.dedent(code) + textwrap.dedent(again), str(tmp_path / "native")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[[1. 2.]]" in done.stdout  # the notebook that defines the class needs no more
    with pytest.raises(ArtifactError, match="register_keras_serializable"):
        TENSORFLOW.load(tmp_path / "native")


@pytest.mark.parametrize("name", tricky_keras.MODELS)
def test_what_converters_are_known_to_get_wrong(name: str) -> None:
    build, features = tricky_keras.MODELS[name]
    model = build()
    graph, _ = converted(TENSORFLOW, model, features)
    others = np.random.default_rng(17).permuted(features, axis=1)  # rows nobody trained on
    native = keras.ops.convert_to_numpy(model(others, training=False))
    np.testing.assert_allclose(graph.predict(others), native, rtol=1e-3, atol=1e-5)
