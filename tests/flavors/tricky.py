"""Models that converters get wrong, or that look as if they might, with rows nobody trained on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, clone

RANDOM = np.random.default_rng(23)
ROWS = 400
NUMBERS = RANDOM.normal(size=(ROWS + 150, 4)) * [1, 10, 1000, 0.1] + [0, 5, -300, 0]
FLAGS = (NUMBERS[:, 0] + NUMBERS[:, 1] / 10 + RANDOM.normal(size=len(NUMBERS)) / 4 > 0.5).astype(int)
THREE = np.digitize(NUMBERS[:, 0] + NUMBERS[:, 2] / 1000, [-0.7, 0.4])
VALUES = NUMBERS[:, 0] * 3 + NUMBERS[:, 1] + np.sin(NUMBERS[:, 2])
BOTH = np.c_[FLAGS, THREE > 1].astype(int)
WORDS = np.array(
    ["Month-to-month", "One year", "Two year", "weekly, or less", "ébène", "trial"], dtype=object
)


def frame(missing: bool = False) -> pd.DataFrame:
    """Numbers, whole numbers, flags and texts, as a customer table has them."""
    random = np.random.default_rng(5)
    table = pd.DataFrame(
        {
            "Monthly Charges": NUMBERS[:, 1] * 3 + 60,
            "tenure": random.integers(0, 72, len(NUMBERS)),
            "SeniorCitizen": random.integers(0, 2, len(NUMBERS)).astype(bool),
            "contract": WORDS[random.integers(0, 4, len(NUMBERS))],
            "payment": WORDS[random.integers(2, 6, len(NUMBERS))],
        }
    )
    if missing:
        table.loc[::7, "Monthly Charges"] = np.nan
        table.loc[::9, "contract"] = np.nan
    return table


CHARGES = (frame()["Monthly Charges"] - frame()["tenure"] > 30).astype(int).to_numpy()


@dataclass
class Case:
    """One tricky model.

    Attributes:
        name: what is tricky.
        model: unfitted.
        rows: of features; the last 150 are held out.
        target: of all rows; None without one.
        refused: what the refusal says; empty where the model has to pass.
        preprocessor: unfitted; the model is fitted behind it.
        flavor: of the model.
        fit: further arguments of fit.
        held_out: changes the rows held out, for example to unknown categories.
    """

    name: str
    model: Any
    rows: Any
    target: Any = None
    refused: str = ""
    preprocessor: Any = None
    flavor: str = "sklearn"
    fit: dict[str, Any] = field(default_factory=dict)
    held_out: Callable[[Any], Any] = lambda rows: rows

    def fitted(self) -> tuple[Any, Any, Any, Any]:
        """Model, preprocessor or None, training rows, held-out rows."""
        train, rest = _split(self.rows)
        target = None if self.target is None else np.asarray(self.target)[:ROWS]
        model, before = _fresh(self.model), None
        inner = train
        if self.preprocessor is not None:
            before = _fresh(self.preprocessor).fit(train)
            inner = before.transform(train)
        # Boosters are what training returns; estimators return themselves.
        model = model.fit(inner, **self.fit) if target is None else model.fit(inner, target, **self.fit)
        return model, before, train, self.held_out(rest)


def _fresh(model: Any) -> Any:
    return clone(model) if hasattr(model, "get_params") else model


def _split(rows: Any) -> tuple[Any, Any]:
    if hasattr(rows, "iloc"):
        return rows.iloc[:ROWS].reset_index(drop=True), rows.iloc[ROWS:].reset_index(drop=True)
    return rows[:ROWS], rows[ROWS:]


class Own(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """An estimator of a notebook's own."""

    def fit(self, rows: Any, target: Any) -> "Own":
        """Learn nothing but the classes."""
        self.classes_, self.n_features_in_ = np.unique(target), rows.shape[1]
        return self

    def predict(self, rows: Any) -> Any:
        """Answer the first class."""
        return np.repeat(self.classes_[0], len(rows))


def unknown_words(rows: Any) -> Any:
    """The same rows with categories nobody saw in training."""
    changed = rows.copy()
    changed.loc[::3, "contract"] = "ten years"
    return changed


def gaps(rows: Any) -> Any:
    """The same rows with missing values."""
    changed = rows.copy()
    if hasattr(changed, "iloc"):
        changed.iloc[::4, 0] = np.nan
        changed.iloc[1::4, list(changed.columns).index("contract")] = None
    else:
        changed[::4, 1] = np.nan
    return changed
