"""Tricky scikit-learn models."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor
from sklearn.neural_network import MLPClassifier, MLPRegressor
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
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.flavors.tricky import (
    BOTH,
    CHARGES,
    FLAGS,
    NUMBERS,
    THREE,
    VALUES,
    WORDS,
    Case,
    Own,
    frame,
    gaps,
    unknown_words,
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

CLASSIFIERS = [
    Case("texts as labels", forest(), NUMBERS, STRINGS),
    Case("truth values as labels", LogisticRegression(max_iter=5000), NUMBERS, FLAGS.astype(bool)),
    Case("labels that do not start at nought", forest(), NUMBERS, THREE * 5 - 7),
    Case("whole numbers with a point as labels", forest(), NUMBERS, THREE.astype(float)),
    Case("odd column names", forest(), ODD, FLAGS),
    Case("a single column", forest(), ONE, FLAGS),
    Case("missing values in a forest", forest(), INCOMPLETE, FLAGS, held_out=gaps),
    Case("missing values where none were in training", forest(), NUMBERS, FLAGS, held_out=gaps),
    Case("a huge forest", forest(600, max_depth=10), NUMBERS, THREE),
    Case("values that float32 merges in a forest", forest(), FAR, FLAGS),
    Case("times in a boosted model", HistGradientBoostingClassifier(max_iter=20), STAMPS, FLAGS),
    Case(
        "missing values in a boosted model",
        HistGradientBoostingClassifier(max_iter=20),
        INCOMPLETE,
        THREE,
        held_out=gaps,
    ),
    Case(
        "categories in a boosted model",
        HistGradientBoostingClassifier(max_iter=5, categorical_features=[1]),
        np.c_[NUMBERS[:, 0], THREE],
        FLAGS,
        refused="categorical",
    ),
    Case("gradient boosting of three classes", GradientBoostingClassifier(n_estimators=20), NUMBERS, THREE),
    Case("gradient boosting on times", GradientBoostingClassifier(n_estimators=20), STAMPS, FLAGS),
    Case("extra trees, two targets", ExtraTreesClassifier(10, random_state=0), NUMBERS, BOTH),
    Case(
        "targets with different classes", forest(), NUMBERS, np.c_[FLAGS, THREE], refused="an array of shape"
    ),
    Case("several targets, one model each", MultiOutputClassifier(forest(10)), NUMBERS, np.c_[FLAGS, THREE]),
    Case("several labels at once", OneVsRestClassifier(LogisticRegression(max_iter=5000)), NUMBERS, BOTH),
    Case(
        "one against one", OneVsOneClassifier(LinearSVC(max_iter=5000)), NUMBERS / [1, 10, 1000, 0.1], THREE
    ),
    Case("neighbours", KNeighborsClassifier(), NUMBERS, FLAGS),
    Case(
        "weighted neighbours",
        KNeighborsClassifier(weights="distance"),
        NUMBERS,
        THREE,
        refused="answers differently",
    ),
    Case("neighbours by another distance", KNeighborsClassifier(metric="manhattan"), NUMBERS, FLAGS),
    Case("a support vector machine", make_pipeline(StandardScaler(), SVC()), NUMBERS, THREE),
    Case(
        "its probabilities",
        make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
        NUMBERS,
        FLAGS,
    ),
    Case(
        "its probabilities, three classes",
        make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
        NUMBERS,
        THREE,
    ),
    Case("another support vector machine", make_pipeline(StandardScaler(), NuSVC(nu=0.2)), NUMBERS, FLAGS),
    Case(
        "a network",
        make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=300, random_state=0)),
        NUMBERS,
        THREE,
    ),
    Case(
        "a Gaussian process",
        make_pipeline(StandardScaler(), GaussianProcessClassifier()),
        NUMBERS[:250],
        FLAGS[:250],
        refused="cannot be used",
    ),
    Case("naive Bayes on a wide range", GaussianNB(), NUMBERS, THREE),
    Case("naive Bayes of flags", BernoulliNB(), NUMBERS, FLAGS),
    Case("AdaBoost", AdaBoostClassifier(n_estimators=20, random_state=0), NUMBERS, THREE),
    Case("bagged trees", BaggingClassifier(n_estimators=10, random_state=0), NUMBERS, FLAGS),
    Case("bagged trees on fewer columns", BaggingClassifier(max_features=2, random_state=0), NUMBERS, FLAGS),
    Case(
        "stacked models",
        StackingClassifier([("f", forest()), ("l", make_pipeline(StandardScaler(), LogisticRegression()))]),
        NUMBERS,
        FLAGS,
    ),
    Case("models that vote", VotingClassifier([("f", forest()), ("n", GaussianNB())]), NUMBERS, THREE),
    Case(
        "models that vote softly",
        VotingClassifier([("f", forest()), ("n", GaussianNB())], voting="soft", weights=[2, 1]),
        NUMBERS,
        THREE,
    ),
    Case("calibrated probabilities", CalibratedClassifierCV(forest(10), cv=3), NUMBERS, FLAGS),
    Case(
        "isotonic probabilities",
        CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=3),
        NUMBERS,
        FLAGS,
        refused="answers differently",
    ),
    Case("gradient descent", make_pipeline(StandardScaler(), SGDClassifier(random_state=0)), NUMBERS, THREE),
    Case(
        "gradient descent, probabilities",
        make_pipeline(StandardScaler(), SGDClassifier(loss="modified_huber", random_state=0)),
        NUMBERS,
        THREE,
        refused="answers differently",
    ),
    Case("a perceptron", Perceptron(), NUMBERS, FLAGS),
    Case("ridge of several classes", RidgeClassifier(), NUMBERS, THREE),
    Case(
        "a search",
        GridSearchCV(
            make_pipeline(StandardScaler(), forest(10)), {"randomforestclassifier__max_depth": [2, 5]}, cv=3
        ),
        NUMBERS,
        FLAGS,
    ),
    Case("a tree of one leaf", DecisionTreeClassifier(), NUMBERS, np.zeros(len(NUMBERS), dtype=int)),
]

REGRESSORS = [
    Case("a huge forest of values", RandomForestRegressor(300, random_state=0), NUMBERS, VALUES),
    Case("large values close together", DecisionTreeRegressor(), NUMBERS, VALUES + 1e7),
    Case("linear on values that float32 merges", LinearRegression(), FAR, VALUES),
    Case(
        "several values at once",
        RandomForestRegressor(20, random_state=0),
        NUMBERS,
        np.c_[VALUES, VALUES * 1e6],
    ),
    Case(
        "several values, one model each",
        MultiOutputRegressor(GradientBoostingRegressor(n_estimators=10)),
        NUMBERS,
        np.c_[VALUES, -VALUES],
    ),
    Case("times in a boosted model of values", HistGradientBoostingRegressor(max_iter=20), STAMPS, VALUES),
    Case(
        "a boosted model of counts",
        HistGradientBoostingRegressor(loss="poisson", max_iter=10),
        NUMBERS,
        np.abs(VALUES),
        refused="answers differently",
    ),
    Case(
        "gradient boosting of a quantile",
        GradientBoostingRegressor(loss="quantile", n_estimators=10),
        NUMBERS,
        VALUES,
    ),
    Case("AdaBoost of values", AdaBoostRegressor(n_estimators=10, random_state=0), NUMBERS, VALUES),
    Case(
        "a transformed target",
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        NUMBERS,
        VALUES,
        refused="TransformedTargetRegressor",
    ),
    Case("neighbours of values", KNeighborsRegressor(), NUMBERS, VALUES),
    Case("support vectors of values", make_pipeline(StandardScaler(), SVR()), NUMBERS, VALUES),
    Case(
        "a network of values",
        make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=300, random_state=0)),
        NUMBERS,
        VALUES,
    ),
    Case(
        "a Gaussian process of values",
        make_pipeline(StandardScaler(), GaussianProcessRegressor(alpha=0.1)),
        NUMBERS,
        VALUES,
    ),
    Case(
        "stacked models of values",
        StackingRegressor([("r", Ridge()), ("f", RandomForestRegressor(10, random_state=0))]),
        NUMBERS,
        VALUES,
    ),
    Case(
        "models that vote on values",
        VotingRegressor([("r", Ridge()), ("f", RandomForestRegressor(10, random_state=0))]),
        NUMBERS,
        VALUES,
    ),
    Case("counts", make_pipeline(StandardScaler(), PoissonRegressor()), NUMBERS, np.abs(VALUES)),
    Case(
        "Tweedie",
        make_pipeline(StandardScaler(), TweedieRegressor(power=1.5, link="log")),
        NUMBERS,
        np.abs(VALUES),
    ),
    Case("Huber", make_pipeline(StandardScaler(), HuberRegressor()), NUMBERS, VALUES),
    Case("an elastic net of several values", ElasticNet(), NUMBERS, np.c_[VALUES, -VALUES]),
    Case("a lasso on odd names", Lasso(), ODD, VALUES),
]

OTHERS = [
    Case("clusters", KMeans(3, n_init=2, random_state=0), NUMBERS),
    Case(
        "clusters in batches",
        make_pipeline(StandardScaler(), MiniBatchKMeans(3, n_init=2, random_state=0)),
        NUMBERS,
    ),
    Case("clusters that cannot predict", DBSCAN(), NUMBERS, refused="DBSCAN"),
    Case(
        "clusters that cannot predict either",
        AgglomerativeClustering(),
        NUMBERS,
        refused="AgglomerativeClustering",
    ),
    Case("outliers", IsolationForest(n_estimators=20, random_state=0), NUMBERS),
    Case(
        "outliers with a given share",
        IsolationForest(n_estimators=20, contamination=0.1, random_state=0),
        NUMBERS,
    ),
    Case("outliers among neighbours", LocalOutlierFactor(novelty=True), NUMBERS),
    Case("outliers outside a margin", make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)), NUMBERS),
    Case("a mixture", GaussianMixture(2, random_state=0), NUMBERS),
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

CASES = [*PIPELINES, *CLASSIFIERS, *REGRESSORS, *OTHERS, *CHAINS]
