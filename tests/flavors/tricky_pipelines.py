"""Tricky pipelines of scikit-learn, and models behind a preprocessor of their own."""

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC

from tests.flavors.tricky import (
    CHARGES,
    FLAGS,
    NUMBERS,
    VALUES,
    Case,
    Own,
    gaps,
    unknown_words,
)
from tests.flavors.tricky_tables import (
    ENCODED,
    FAR,
    FILLED,
    HOLES,
    INCOMPLETE,
    NUMERIC,
    ODD,
    REVIEWS,
    STAMPS,
    TABLE,
    TEXTS,
    columns,
    forest,
)

PIPELINES = [
    Case(
        "text categories, scaled numbers, forest", make_pipeline(columns(ENCODED), forest()), TABLE, CHARGES
    ),
    Case(
        "categories never seen in training",
        make_pipeline(columns(ENCODED), LogisticRegression()),
        TABLE,
        CHARGES,
        held_out=unknown_words,
    ),
    Case(
        "imputers for numbers and texts",
        make_pipeline(columns(FILLED, make_pipeline(SimpleImputer(), StandardScaler())), forest()),
        HOLES,
        CHARGES,
        held_out=gaps,
    ),
    Case(
        "imputer with an indicator",
        make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=5000)),
        INCOMPLETE,
        FLAGS,
        held_out=gaps,
    ),
    Case(
        "median imputer before a float64 forest",
        make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), forest()),
        INCOMPLETE,
        FLAGS,
        held_out=gaps,
    ),
    Case(
        "imputer for a value of its own",
        make_pipeline(SimpleImputer(missing_values=-999), forest()),
        np.where(np.isnan(INCOMPLETE), -999, NUMBERS),
        FLAGS,
    ),
    Case(
        "nearest neighbours impute",
        make_pipeline(KNNImputer(), forest()),
        INCOMPLETE,
        FLAGS,
        refused="a row of missing values",
    ),
    Case(
        "ordinal categories with unknown ones",
        make_pipeline(
            columns(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)), forest()
        ),
        TABLE,
        CHARGES,
        held_out=unknown_words,
    ),
    Case(
        "ordinal categories with missing ones",
        make_pipeline(
            columns(
                OrdinalEncoder(
                    handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
                ),
                SimpleImputer(),
            ),
            forest(),
        ),
        HOLES,
        CHARGES,
        held_out=gaps,
    ),
    Case(
        "ordinal categories, missing ones stay missing",
        make_pipeline(
            make_column_transformer(
                (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan), TEXTS),
                ("passthrough", NUMERIC),
            ),
            HistGradientBoostingClassifier(max_iter=10),
        ),
        HOLES,
        CHARGES,
        held_out=gaps,
    ),
    Case(
        "missing texts as a category",
        make_pipeline(columns(ENCODED, SimpleImputer()), forest()),
        HOLES,
        CHARGES,
        held_out=gaps,
    ),
    Case(
        "rare categories together",
        make_pipeline(
            columns(OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60)), forest()
        ),
        TABLE,
        CHARGES,
        held_out=unknown_words,
    ),
    Case(
        "the first category dropped",
        make_pipeline(columns(OneHotEncoder(drop="first")), LogisticRegression()),
        TABLE,
        CHARGES,
    ),
    Case(
        "whole numbers as categories",
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        TABLE[["tenure"]],
        CHARGES,
    ),
    Case(
        "halves as categories",
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
        np.round(NUMBERS[:, :2] * 2) / 2,
        FLAGS,
    ),
    Case(
        "target encoding",
        make_pipeline(columns(TargetEncoder(random_state=0)), forest()),
        TABLE,
        CHARGES,
        held_out=unknown_words,
    ),
    Case(
        "columns chosen by number",
        make_pipeline(ColumnTransformer([("s", StandardScaler(), [0, 3])]), forest()),
        NUMBERS,
        FLAGS,
    ),
    Case(
        "columns that pass through",
        make_pipeline(
            ColumnTransformer([("s", StandardScaler(), ["a b"])], remainder="passthrough"), forest()
        ),
        ODD,
        FLAGS,
    ),
    Case("a scaler in front of a forest", make_pipeline(StandardScaler(), forest(100)), NUMBERS, FLAGS),
    Case("a scaler on values that float32 merges", make_pipeline(StandardScaler(), forest()), FAR, FLAGS),
    Case(
        "bins",
        make_pipeline(KBinsDiscretizer(5, encode="onehot-dense"), LogisticRegression()),
        NUMBERS,
        FLAGS,
    ),
    Case("bins as numbers", make_pipeline(KBinsDiscretizer(5, encode="ordinal"), Ridge()), NUMBERS, VALUES),
    Case("polynomials", make_pipeline(StandardScaler(), PolynomialFeatures(3), Ridge()), NUMBERS, VALUES),
    Case(
        "quantiles", make_pipeline(QuantileTransformer(n_quantiles=50), LogisticRegression()), NUMBERS, FLAGS
    ),
    Case("powers", make_pipeline(PowerTransformer(), LogisticRegression()), NUMBERS, FLAGS),
    Case(
        "powers of positive values",
        make_pipeline(PowerTransformer(method="box-cox"), forest()),
        np.abs(NUMBERS) + 0.1,
        FLAGS,
    ),
    Case(
        "powers before thresholds that lie on the very values",
        make_pipeline(PowerTransformer(), HistGradientBoostingClassifier(max_iter=10)),
        INCOMPLETE,
        FLAGS,
        refused="answers differently",
        held_out=gaps,
    ),
    Case(
        "products of columns before trees",
        make_pipeline(
            PolynomialFeatures(2, interaction_only=True), GradientBoostingRegressor(n_estimators=20)
        ),
        STAMPS,
        VALUES,
    ),
    Case("clipped ranges", make_pipeline(MinMaxScaler(clip=True), LogisticRegression()), NUMBERS, FLAGS),
    Case("robust scaling", make_pipeline(RobustScaler(), SVC()), NUMBERS, FLAGS),
    Case("rows of length one", make_pipeline(Normalizer(), forest()), NUMBERS, FLAGS),
    Case("selected columns", make_pipeline(VarianceThreshold(), SelectKBest(k=2), forest()), ODD, FLAGS),
    Case("main components", make_pipeline(StandardScaler(), PCA(2), forest()), NUMBERS, FLAGS),
    Case("whitened components", make_pipeline(PCA(3, whiten=True), LogisticRegression()), NUMBERS, FLAGS),
    Case(
        "kernel components",
        make_pipeline(StandardScaler(), KernelPCA(2, kernel="rbf"), LogisticRegression()),
        NUMBERS,
        FLAGS,
    ),
    Case(
        "a union of features",
        make_pipeline(FeatureUnion([("p", PCA(2)), ("s", MaxAbsScaler())]), forest()),
        NUMBERS,
        FLAGS,
    ),
    Case("truncated components", make_pipeline(TruncatedSVD(2), Ridge()), NUMBERS, VALUES),
    Case(
        "words of reviews",
        make_pipeline(ColumnTransformer([("w", TfidfVectorizer(), "review")]), LogisticRegression()),
        pd.DataFrame({"review": REVIEWS}),
        FLAGS,
    ),
    Case(
        "texts alone",
        make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()),
        REVIEWS,
        FLAGS,
    ),
    Case(
        "texts without common words",
        make_pipeline(TfidfVectorizer(stop_words="english"), LogisticRegression()),
        REVIEWS,
        FLAGS,
    ),
    Case(
        "parts of words",
        make_pipeline(
            CountVectorizer(analyzer="char", ngram_range=(2, 3)), LogisticRegression(max_iter=2000)
        ),
        REVIEWS,
        FLAGS,
    ),
    Case(
        "texts without accents",
        make_pipeline(TfidfVectorizer(strip_accents="unicode"), LogisticRegression()),
        REVIEWS,
        FLAGS,
        refused="accents",
    ),
    Case(
        "words that are there or not",
        make_pipeline(CountVectorizer(binary=True), BernoulliNB()),
        REVIEWS,
        FLAGS,
    ),
    Case(
        "a function",
        make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()),
        np.abs(NUMBERS),
        FLAGS,
        refused="FunctionTransformer",
    ),
    Case("an estimator of one's own", make_pipeline(StandardScaler(), Own()), NUMBERS, FLAGS, refused="Own"),
]

CHAINS = [
    Case("a scaler, then a forest", forest(50), NUMBERS, FLAGS, preprocessor=StandardScaler()),
    Case(
        "a scaler on values that float32 merges, then a forest",
        forest(),
        FAR,
        FLAGS,
        preprocessor=StandardScaler(),
    ),
    Case(
        "text columns, then a forest",
        forest(),
        TABLE,
        CHARGES,
        preprocessor=columns(OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        held_out=unknown_words,
    ),
    Case(
        "sparse columns, then a linear model",
        LogisticRegression(),
        TABLE,
        CHARGES,
        preprocessor=columns(OneHotEncoder(handle_unknown="ignore")),
    ),
    Case(
        "imputed, then boosted",
        HistGradientBoostingClassifier(max_iter=10),
        INCOMPLETE,
        FLAGS,
        preprocessor=make_pipeline(SimpleImputer(), MinMaxScaler()),
        held_out=gaps,
    ),
    Case(
        "named columns in and out",
        GradientBoostingRegressor(n_estimators=10),
        ODD,
        VALUES,
        preprocessor=StandardScaler().set_output(transform="pandas"),
    ),
]

CASES = [*PIPELINES, *CHAINS]
