"""What tricky scikit-learn models are fitted on, and steps that many of them share."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    StandardScaler,
)

from tests.flavors.tricky import (
    FLAGS,
    NUMBERS,
    WORDS,
    frame,
    gaps,
)

TABLE, HOLES = frame(), frame(missing=True)
NUMERIC = ["Monthly Charges", "tenure"]
TEXTS = ["contract", "payment"]
ODD = pd.DataFrame(NUMBERS, columns=["a b", "a_b", "7", "größe (€), {x: 1}"])
ONE = ODD[["a b"]]
INCOMPLETE = gaps(NUMBERS)
STRINGS = np.array(["leaves", "stays"], dtype=object)[FLAGS]
FAR = NUMBERS + np.array([1e9, 0, 0, 0])  # values that float32 cannot tell apart
STAMPS = np.c_[1.7e9 + np.arange(len(NUMBERS)) * 37, NUMBERS[:, 0]]  # seconds since 1970
REVIEWS = np.array([f"{WORDS[n % 6]} plan, {WORDS[n % 5]} and {n % 7} more" for n in range(len(NUMBERS))])


def columns(texts: Any, numbers: Any = None) -> Any:
    """A transformer for the customer table."""
    return ColumnTransformer([("n", numbers or StandardScaler(), NUMERIC), ("t", texts, TEXTS)])


def forest(count: int = 20, **more: Any) -> RandomForestClassifier:
    """A small forest."""
    return RandomForestClassifier(count, random_state=0, **more)


ENCODED = OneHotEncoder(handle_unknown="ignore")
FILLED = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
