"""The documented surface: packages, and the classes with their attributes, defaults and mutable fields."""

from typing import Any

import pytest

import a360mdk
import a360runtime
from a360mdk import Experiment, Model, Run
from a360mdk.exceptions import ExperimentError, ModelError, RunError

ATTRIBUTES: dict[type, dict[str, Any]] = {
    Experiment: {
        **dict.fromkeys(("id", "best_run_id", "experiment_name", "model_id")),  # M115
        "model_flavor": None,  # M116
        **dict.fromkeys(("input_signature", "output_signature")),  # M117
        "train_shape": None,  # M118
        **dict.fromkeys(("data_exploration_file", "data_preparation_file", "model_training_file")),
        "enable_drift_monitoring": False,  # M122 and C06
        **dict.fromkeys(("baseline", "monitoring_expected_value")),  # M123, M124
        **dict.fromkeys(("feature_names", "train_features", "train_target")),  # M125
        **dict.fromkeys(("a360ai", "model")),  # M126
        **dict.fromkeys(("framework", "model_manifest", "pipeline_name", "tokenizer")),  # M127
    },
    Model: {
        **dict.fromkeys(
            ("id", "model_name", "version", "model_type", "status", "sub_status")
        ),  # M129 to M132
        **dict.fromkeys(("best_experiment_id", "best_run_id", "imported", "a360ai")),  # M133 to M135
    },
    Run: {
        **dict.fromkeys(("id", "model_experiment_id")),  # M137
        **{name: {} for name in ("metadata", "hyperparameters", "metrics")},  # M138
        **dict.fromkeys(("trained_model", "baseline", "preprocessor", "preprocessor_shape")),  # M139 to M142
        **dict.fromkeys(("data_exploration_file", "data_preparation_file", "model_training_file")),
        **dict.fromkeys(("dataset", "framework", "pipeline_name", "tokenizer")),  # M144
    },
}
MUTABLE = {
    Experiment: {
        *("baseline", "data_exploration_file", "data_preparation_file", "model_training_file"),
        *("enable_drift_monitoring", "monitoring_expected_value"),
    },
    Model: {"status", "sub_status", "best_experiment_id", "best_run_id"},
    Run: {
        *("baseline", "preprocessor", "preprocessor_shape", "dataset"),
        *("data_exploration_file", "data_preparation_file", "model_training_file"),
    },
}
ERRORS: dict[type, type[Exception]] = {Experiment: ExperimentError, Model: ModelError, Run: RunError}


@pytest.mark.row("M001", "M002")
def test_the_packages_offer_what_they_are_for() -> None:
    for name in ("A360AI", "DataRepo", "Model", "Experiment", "Run", "Artifact"):
        found = getattr(a360mdk, name)
        assert isinstance(found, type)
        assert name in a360mdk.__all__
        assert (found.__doc__ or "").strip()
    assert isinstance(a360runtime.ONNXModel, type)


@pytest.mark.row("M115", "M116", "M117", "M118", "M119", "M120", "M121", "M122", "M123", "M124", "M125")
@pytest.mark.row("M126", "M127", "M129", "M130", "M131", "M132", "M133", "M134", "M135")
@pytest.mark.row("M137", "M138", "M139", "M140", "M141", "M142", "M143", "M144")
@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_attributes_have_their_documented_defaults(kind: type) -> None:
    made = kind()
    assert {name: getattr(made, name) for name in ATTRIBUTES[kind]} == ATTRIBUTES[kind]
    # Made by hand with values, as far as they are known.
    given = {name: f"some {name}" for name, default in ATTRIBUTES[kind].items() if default is None}
    filled = kind(**given)
    assert {name: getattr(filled, name) for name in given} == given
    with pytest.raises(ERRORS[kind], match="has no field colour"):
        kind(colour="red")


@pytest.mark.row("M128", "M136", "M145")
@pytest.mark.parametrize("kind", MUTABLE, ids=lambda kind: kind.__name__)
def test_only_documented_fields_may_change(kind: Any) -> None:
    assert set(kind.mutable) == MUTABLE[kind]
    made = kind()
    for name in set(ATTRIBUTES[kind]) - MUTABLE[kind]:
        with pytest.raises(ERRORS[kind], match=f"{name} cannot be changed") as refused:
            setattr(made, name, "other")
        assert all(each in str(refused.value) for each in MUTABLE[kind])
        assert getattr(made, name) == ATTRIBUTES[kind][name]
