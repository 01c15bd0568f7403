"""Rows on which models are compared: of tables, tensors, several inputs and texts."""

from typing import Any

import numpy as np
import pandas as pd

from a360mdk import samples
from a360mdk.samples import Rows


def groups(features: Any, missing: bool = True) -> tuple[Rows, list[Rows]]:
    taken = samples.sampled(features)
    assert taken is not None
    return taken, list(samples.edges(features, taken, missing))


def test_a_table_has_extremes_noughts_unknown_words_and_gaps() -> None:
    frame = pd.DataFrame(
        {
            "a": np.arange(500.0),
            "k": np.arange(500) % 7,
            "on": [True, False] * 250,
            "word": ["x", "y"] * 250,
        }
    )
    taken, (extremes, zeros, unknown, gaps) = groups(frame)
    assert len(taken.places) == 100
    assert extremes.places[:2] == ("training row 0 (the lowest a)", "training row 499 (the highest a)")
    assert extremes.data.a.tolist()[:2] == [0.0, 499.0]
    assert zeros.data[["a", "k"]].to_numpy().tolist() == [[0.0, 0]]
    assert zeros.data.dtypes.tolist() == frame.dtypes.tolist()
    assert unknown.data.word.tolist() == [samples.UNSEEN]
    assert unknown.places == ("training row 0 with an unknown word",)
    assert gaps.places[-1] == "a row of missing values"
    assert gaps.data.isna().sum().to_dict() == {"a": 2, "k": 2, "on": 0, "word": 2}
    joined = samples.joined([taken, extremes, zeros, unknown, gaps])
    assert len(joined.data) == len(joined.places) == 100 + joined.edges
    kept = samples.only(joined, [0, 99, 100])
    assert (kept.edges, kept.places[2]) == (1, "training row 0 (the lowest a)")
    assert [list(group.data.columns) for group in (zeros, unknown, gaps)] == [list(frame.columns)] * 3
    assert len(groups(frame, missing=False)[1]) == 3


def test_wide_tables_cost_no_more_than_narrow_ones() -> None:
    _, found = groups(np.random.default_rng(0).normal(size=(300, 5000)))
    assert sum(len(group.places) for group in found) <= 4 * samples.COLUMNS


def test_columns_of_one_name_are_told_apart_by_place() -> None:
    frame = pd.DataFrame(np.arange(30.0).reshape(10, 3), columns=["a", "a", "b"])
    _, found = groups(frame)
    assert found[0].data.shape[1] == 3
    assert found[-1].data.iloc[0].isna().tolist() == [True, False, False]


def test_images_texts_and_several_inputs() -> None:
    images = np.random.default_rng(0).random((40, 3, 8, 8)).astype("float32")
    taken, (extremes, zeros) = groups(images)
    assert taken.data.shape == (40, 3, 8, 8)
    assert len(extremes.places) == 2
    assert not zeros.data.any()
    assert zeros.data.dtype == np.float32
    _, (texts,) = groups(pd.Series(["one word", "two words"]))
    assert texts.data.tolist() == ["", samples.UNSEEN]
    taken, none = groups({"ids": np.arange(20).reshape(10, 2), "mask": np.ones((10, 2))})
    assert (len(taken.places), taken.data["ids"].shape, none) == (10, (10, 2), [])
    assert samples.length({"a": [1, 2, 3], "b": [1, 2]}) == 2


def test_a_column_without_any_value_has_no_extremes() -> None:
    rows = np.c_[np.full(20, np.nan), np.arange(20.0)]
    _, found = groups(rows)
    assert "column 1" in found[0].places[0]
    assert len(found[0].places) == 2
