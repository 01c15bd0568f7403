"""The documented calls: names of parameters, their order and their defaults, as notebooks rely on them."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from a360mdk import A360AI, DataRepo, DataSource, Experiment, FileSystem, Model, Run
from a360runtime import ONNXModel

# What the call takes by place, as the lists have it; where rulings differ, C08 and C10, as these have it.
CALLS: list[tuple[str, Callable[..., Any], str]] = [
    ("M018", A360AI.list_datarepos, ""),
    ("M019", A360AI.set_default_datarepo, "datarepo_name"),
    ("M020", A360AI.list_datasets, "subpath='', exclude_projects=True, full=False"),
    ("M020", DataRepo.list_datasets, "subpath='', exclude_projects=True, full=False"),
    ("M024", A360AI.delete_dataset, "dataset=None"),
    ("M024", DataRepo.delete_dataset, "dataset=None"),
    ("M025", A360AI.load_dataset, "key, source_format=None, target_format='pandas', index=None"),
    ("M025", DataRepo.load_dataset, "key, source_format=None, target_format='pandas', index=None"),
    ("M029", A360AI.write_dataset, "data, file_key, target_format=None, overwrite=False"),
    ("M029", DataRepo.write_dataset, "data, file_key, target_format=None, overwrite=False"),
    ("M032", A360AI.write_remote_dataset, "uri, dataset, header='infer', names=None"),
    ("M032", DataRepo.write_remote_dataset, "uri, dataset, header='infer', names=None"),
    ("M035", A360AI.get_or_create_model, "model_name='', version='1.0', model_type=None"),
    ("M043", A360AI.export_model_definition, "local_path, model=None"),
    (
        "M044",
        A360AI.get_or_create_experiment,
        "model_name, version='1.0', experiment_name='', model_flavor=None, train_features=None, "
        "train_target=None",
    ),
    ("M054", Experiment.run_experiment, ""),
    ("M055", Run.log_hyperparameters, "hyperparameters"),
    ("M056", Run.log_metadata, "metadata"),
    ("M057", Run.log_metrics, "metrics"),
    ("M058", Run.log_model, "model"),
    ("M059", Run.log_preprocessor, "preprocessor, preprocessor_shape=None"),
    ("M070", Experiment.list_runs, ""),
    ("M072", Model.set_final_run, "experiment, best_run_id"),
    ("M073", Model.set_final_run_by_metric, "experiment, metric"),
    ("M074", Model.get_artifact, "name, path='.'"),
    ("M076", ONNXModel, "path"),
    ("M077", ONNXModel.predict, "data"),
    ("M078", ONNXModel.transform, "data"),
    ("M081", Model.get_model_detail_page, ""),
    (
        "M087",
        Model.enable_drift_monitoring,
        "train_features=None, feature_names=None, train_target=None",
    ),
    ("M088", A360AI.list_datasources, "datasource_type=None"),
    ("M089", A360AI.connect_to_datasource, "datasource_name, datasource_type"),
    ("M090", DataSource.query, "select_query=None"),
    ("M091", DataSource.command, "sql_command"),
    ("M094", A360AI.close_datasource_connection, "datasource"),
    (
        "M110",
        DataSource,
        "database_name=None, username=None, password=None, host=None, account=None, warehouse=None, "
        "schema=None, database_type='sqlite'",
    ),
    (
        "M146",
        FileSystem,
        "storage_provider, volume_name, volume_account=None, volume_region=None, access_key=None, "
        "secret_access_key=None, session_token=None, target_arn=None, expiration=None, local=False",
    ),
    ("M151", FileSystem.create_dir, "directory"),
    ("M152", FileSystem.delete_dir, "directory"),
    ("M153", FileSystem.delete_dir_contents, "directory"),
    ("M154", FileSystem.delete_file, "file"),
    ("M155", FileSystem.get_file_info, "file"),
    ("M156", FileSystem.get_object, "file"),
    ("M157", FileSystem.list_bucket, "subpath='', recursive=False, exclude_projects=True"),
    ("M159", FileSystem.write_dataset, "data_object, file_key, target_format='parquet'"),
    ("M160", FileSystem.write_file_from_remote, "file_key, path"),
    ("M161", FileSystem.write_file_to_remote, "file, file_key, metadata=None"),
]
BY_KEYWORD = {
    Model.get_or_create_experiment: (
        "experiment_name", "model_flavor", "enable_drift_monitoring", "train_features", "train_target",
        "feature_names", "data_exploration_file", "data_preparation_file", "model_training_file",
        "pipeline_name", "tokenizer", "framework",
    ),
    A360AI.import_model: (
        "model_name", "experiment_name", "model_artifact_object_in_memory", "model_flavor", "model_type",
        "enable_drift_monitoring", "train_features", "train_target", "feature_names",
    ),
    A360AI.delete_dataset: ("dataset", "key"),
    DataSource.query: ("select_query", "sql_query"),
}  # fmt: skip


def parameters(call: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a caller passes."""
    return [each for each in inspect.signature(call).parameters.values() if each.name != "self"]


def written(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
    return f"{parameter.name}{default}"


@pytest.mark.parametrize(
    ("call", "documented"),
    [
        pytest.param(call, documented, marks=pytest.mark.row(row), id=call.__qualname__)
        for row, call, documented in CALLS
    ],
)
def test_calls_by_place_are_as_documented(call: Callable[..., Any], documented: str) -> None:
    by_place = [written(each) for each in parameters(call) if each.kind is each.POSITIONAL_OR_KEYWORD]
    wanted = documented.split(", ") if documented else []
    assert by_place[: len(wanted)] == wanted
    # What is ours stands behind, and may be left out.
    for more in parameters(call)[len(wanted) :]:
        assert more.default is not more.empty or more.kind in (more.VAR_KEYWORD, more.VAR_POSITIONAL)


@pytest.mark.row("M024", "M045", "M090", "M114", "M134", "C08")
@pytest.mark.parametrize("call", BY_KEYWORD, ids=lambda call: call.__qualname__)
def test_calls_by_keyword_are_as_documented(call: Callable[..., Any]) -> None:
    given = dict.fromkeys(BY_KEYWORD[call])
    inspect.signature(call).bind(None, **given)
