"""Keras models that converters are known to get wrong, or that look as if they might."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

RANDOM = np.random.default_rng(11)
TABLE = RANDOM.normal(size=(60, 6))
SERIES = RANDOM.normal(size=(30, 9, 6))
IMAGES = RANDOM.normal(size=(20, 9, 9, 3))
WORDS = RANDOM.integers(0, 30, size=(40, 7))


def of(shape: tuple[int, ...], *stack: Any) -> Any:
    """A model of these layers."""
    return keras.Sequential([keras.Input(shape), *stack])


def mean_of_both_sides() -> Any:
    inputs = keras.Input((6,))
    layer = layers.Dense(6, activation="swish")
    once = layer(inputs)
    return keras.Model(inputs, layers.Average()([once, layer(once)]))


def attends() -> Any:
    inputs = keras.Input((9, 6))
    answer = layers.MultiHeadAttention(2, 3)(inputs, inputs, use_causal_mask=True)
    return keras.Model(inputs, layers.GlobalMaxPooling1D()(answer))


MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "strides with padding to the same size": (
        lambda: of((9, 9, 3), layers.Conv2D(4, 4, strides=2, padding="same")),
        IMAGES,
    ),
    "by depth, and separable": (
        lambda: of((9, 9, 3), layers.DepthwiseConv2D(3, depth_multiplier=2), layers.SeparableConv2D(2, 3)),
        IMAGES,
    ),
    "transposed convolution": (
        lambda: of((9, 9, 3), layers.Conv2DTranspose(2, 3, strides=2, padding="same")),
        IMAGES,
    ),
    "average pooling over an uneven edge": (
        lambda: of((9, 9, 3), layers.AveragePooling2D(2, padding="same")),
        IMAGES,
    ),
    "enlarged bilinearly": (lambda: of((9, 9, 3), layers.UpSampling2D(2, interpolation="bilinear")), IMAGES),
    "resized": (lambda: of((9, 9, 3), layers.Resizing(5, 7)), IMAGES),
    "dilated and causal": (
        lambda: of((9, 6), layers.Conv1D(3, 2, dilation_rate=2, padding="causal")),
        SERIES,
    ),
    "layer normalisation": (lambda: of((6,), layers.LayerNormalization(), layers.Dense(1)), TABLE),
    "GRU, reset before and after": (
        lambda: of((9, 6), layers.GRU(4, return_sequences=True), layers.GRU(3, reset_after=False)),
        SERIES,
    ),
    "LSTM backwards, with its states over time": (
        lambda: of((9, 6), layers.LSTM(4, go_backwards=True, return_sequences=True)),
        SERIES,
    ),
    "words, some of them masked": (
        lambda: of((7,), layers.Embedding(30, 4, mask_zero=True), layers.LSTM(5), layers.Dense(1)),
        WORDS,
    ),
    "masked series": (lambda: of((9, 6), layers.Masking(0.0), layers.GRU(3)), SERIES),
    "masked attention": (attends, SERIES),
    "a layer used twice": (mean_of_both_sides, TABLE),
    "leaky, exponential and parametric units": (
        lambda: of((6,), layers.Dense(6), layers.LeakyReLU(), layers.Dense(6, "elu"), layers.PReLU()),
        TABLE,
    ),
    "softmax over another axis": (lambda: of((9, 6), layers.Softmax(axis=1), layers.Flatten()), SERIES),
    "rescaled, cropped and padded": (
        lambda: of((9, 9, 3), layers.Rescaling(2.0, 1.0), layers.Cropping2D(1), layers.ZeroPadding2D(2)),
        IMAGES,
    ),
    "noise and dropout, which training only has": (
        lambda: of((6,), layers.GaussianNoise(1.0), layers.AlphaDropout(0.5), layers.Dense(2)),
        TABLE,
    ),
    "double precision": (
        lambda: keras.Sequential([keras.Input((6,), dtype="float64"), layers.Dense(3, dtype="float64")]),
        TABLE,
    ),
}
