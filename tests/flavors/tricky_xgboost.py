"""Tricky models of XGBoost."""

from typing import Any

import numpy as np
import xgboost
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from tests.flavors.tricky import BOTH, CHARGES, FLAGS, NUMBERS, ROWS, THREE, VALUES, Case, gaps, unknown_words
from tests.flavors.tricky_tables import FAR, HOLES, INCOMPLETE, ODD, STAMPS, TABLE, columns


class Trained:
    """Fits a booster the way scikit-learn fits estimators, then is the booster."""

    def __init__(self, rounds: int = 15, **parameters: Any) -> None:
        self.rounds, self.parameters = rounds, parameters

    def fit(self, rows: Any, target: Any, **more: Any) -> Any:
        """Train; further arguments go to ``xgboost.train``."""
        return xgboost.train(self.parameters, xgboost.DMatrix(rows, target), self.rounds, **more)


def classifier(**more: Any) -> XGBClassifier:
    """A small classifier."""
    return XGBClassifier(n_estimators=20, **more)


def regressor(**more: Any) -> XGBRegressor:
    """A small regressor."""
    return XGBRegressor(n_estimators=20, **more)


def case(name: str, model: Any, rows: Any, target: Any, refused: str = "", **more: Any) -> Case:
    """A case of the flavor xgboost."""
    return Case(name, model, rows, target, refused, flavor="xgboost", **more)


SHUFFLED = np.random.default_rng(3).permutation(THREE[:ROWS])
STOPS_EARLY = {"eval_set": [(NUMBERS[:ROWS], SHUFFLED)], "verbose": False}
POSITIVE = np.abs(VALUES) + 0.1
MARKED = np.where(np.isnan(INCOMPLETE), -999, NUMBERS)
ENCODER = OneHotEncoder(handle_unknown="ignore", sparse_output=False)

CLASSIFIERS = [
    case("xgboost: two classes", classifier(), NUMBERS, FLAGS),
    case("xgboost: a base score", classifier(base_score=0.9), NUMBERS, FLAGS),
    case("xgboost: three classes", classifier(), NUMBERS, THREE),
    case("xgboost: softmax", classifier(objective="multi:softmax"), NUMBERS, THREE),
    case("xgboost: hinge", classifier(objective="binary:hinge"), NUMBERS, FLAGS),
    case("xgboost: several labels at once", classifier(), NUMBERS, BOTH),
    case(
        "xgboost: stopped early",
        XGBClassifier(n_estimators=200, learning_rate=0.9, early_stopping_rounds=3),
        NUMBERS,
        THREE,
        fit=STOPS_EARLY,
    ),
    case("xgboost: several trees a round", classifier(num_parallel_tree=4, subsample=0.5), NUMBERS, THREE),
    case("xgboost: a forest", xgboost.XGBRFClassifier(n_estimators=20), NUMBERS, THREE),
    case("xgboost: odd column names", classifier(), ODD, FLAGS),
    case("xgboost: missing values", classifier(), INCOMPLETE, FLAGS, held_out=gaps),
    case("xgboost: missing values where none were in training", classifier(), NUMBERS, FLAGS, held_out=gaps),
    case("xgboost: a value for missing ones", classifier(missing=-999), MARKED, FLAGS),
    case("xgboost: unbalanced classes", classifier(scale_pos_weight=30, max_delta_step=1), NUMBERS, FLAGS),
    case(
        "xgboost: constraints",
        classifier(monotone_constraints=(1, 0, 0, 0), max_leaves=6, grow_policy="lossguide"),
        NUMBERS,
        FLAGS,
    ),
    case("xgboost: a search", GridSearchCV(classifier(), {"max_depth": [2, 4]}, cv=2), NUMBERS, FLAGS),
    case("xgboost: behind a scaler", classifier(), NUMBERS, FLAGS, preprocessor=StandardScaler()),
    case(
        "xgboost: behind a scaler on values that float32 merges",
        classifier(),
        FAR,
        FLAGS,
        preprocessor=StandardScaler(),
    ),
    case(
        "xgboost: behind text columns",
        classifier(),
        TABLE,
        CHARGES,
        preprocessor=columns(ENCODER),
        held_out=unknown_words,
    ),
    case(
        "xgboost: categories of its own",
        classifier(enable_categorical=True),
        TABLE.astype({"contract": "category", "payment": "category"}),
        CHARGES,
        refused="categorical features",
    ),
]
REGRESSORS = [
    case("xgboost: values", regressor(), NUMBERS, VALUES),
    case("xgboost: large values", regressor(), NUMBERS, VALUES + 1e6),
    case("xgboost: times", regressor(), STAMPS, VALUES),
    case("xgboost: several values", regressor(), NUMBERS, np.c_[VALUES, 7 - VALUES * 1e4]),
    case(
        "xgboost: one tree for several values",
        regressor(multi_strategy="multi_output_tree"),
        NUMBERS,
        np.c_[VALUES, -VALUES],
        refused="multi_output_tree",
    ),
    case("xgboost: counts", regressor(objective="count:poisson"), NUMBERS, POSITIVE),
    case("xgboost: gamma", regressor(objective="reg:gamma"), NUMBERS, POSITIVE),
    case("xgboost: Tweedie", regressor(objective="reg:tweedie"), NUMBERS, POSITIVE),
    case("xgboost: shares", regressor(objective="reg:logistic"), NUMBERS, FLAGS),
    case("xgboost: absolute errors", regressor(objective="reg:absoluteerror"), NUMBERS, VALUES),
    case(
        "xgboost: quantiles",
        regressor(objective="reg:quantileerror", quantile_alpha=[0.1, 0.9]),
        NUMBERS,
        VALUES,
    ),
    case("xgboost: survival", regressor(objective="survival:cox"), NUMBERS, POSITIVE),
    case("xgboost: nothing to learn", regressor(), NUMBERS, np.full(len(NUMBERS), 5.0)),
    case(
        "xgboost: trees that drop out",
        regressor(booster="dart", rate_drop=0.3),
        NUMBERS,
        VALUES,
        refused="dart",
    ),
    case("xgboost: a linear model", regressor(booster="gblinear"), NUMBERS, VALUES, refused="gblinear"),
]
BOOSTERS = [
    case("xgboost: a booster", Trained(objective="binary:logistic"), NUMBERS, FLAGS),
    case("xgboost: a booster on odd names", Trained(objective="reg:squarederror"), ODD, VALUES),
    case("xgboost: a booster of labels", Trained(objective="multi:softmax", num_class=3), NUMBERS, THREE),
    case(
        "xgboost: a booster of probabilities",
        Trained(objective="multi:softprob", num_class=3),
        NUMBERS,
        THREE,
    ),
    case(
        "xgboost: a booster stopped early",
        Trained(200, objective="binary:logistic", eta=0.9),
        NUMBERS,
        FLAGS,
        fit={
            "evals": [(xgboost.DMatrix(NUMBERS[:ROWS], SHUFFLED > 1), "e")],
            "early_stopping_rounds": 2,
            "verbose_eval": False,
        },
    ),
]
PIPELINES = [
    Case("xgboost behind a scaler in a pipeline", make_pipeline(StandardScaler(), classifier()), FAR, FLAGS),
    Case(
        "xgboost behind texts in a pipeline",
        make_pipeline(columns(ENCODER, SimpleImputer()), classifier()),
        HOLES,
        CHARGES,
        held_out=gaps,
    ),
    Case("xgboost values in a pipeline", make_pipeline(StandardScaler(), regressor()), NUMBERS, VALUES),
    Case(
        "xgboost votes",
        VotingClassifier(
            [("x", classifier()), ("l", make_pipeline(StandardScaler(), LogisticRegression()))], voting="soft"
        ),
        NUMBERS,
        FLAGS,
    ),
]

CASES = [*CLASSIFIERS, *REGRESSORS, *BOOSTERS, *PIPELINES]
