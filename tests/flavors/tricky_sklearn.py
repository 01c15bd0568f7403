"""Tricky estimators of scikit-learn."""

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
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
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
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
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.flavors.tricky import (
    BOTH,
    FLAGS,
    NUMBERS,
    THREE,
    VALUES,
    Case,
    gaps,
)
from tests.flavors.tricky_tables import FAR, INCOMPLETE, ODD, ONE, STAMPS, STRINGS, forest

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

CASES = [*CLASSIFIERS, *REGRESSORS, *OTHERS]
