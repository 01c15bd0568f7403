"""The interface object of a notebook: ``a360ai``."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from a360mdk import definitions, experiment, flavors
from a360mdk.capture import Captures
from a360mdk.cards import card
from a360mdk.client import Client
from a360mdk.datarepo import DataRepo
from a360mdk.datasources import access
from a360mdk.default_repo import DefaultRepo
from a360mdk.exceptions import A360AIError, ConfigurationError, DataRepoError, GraphQLError, ModelError
from a360mdk.experiment import Experiment
from a360mdk.model import Model, checked_names
from a360mdk.settings import Settings

if TYPE_CHECKING:
    import pandas

    from a360mdk.datasource import DataSource

DEFAULT_VERSION = "1.0"


class A360AI(DefaultRepo, Captures):
    """The project of this workspace: its data, models and experiments.

    Nothing is asked of the service before the first use.

    Args:
        api_url, token, project_id: where they are not in the environment (``A360_API_URL``,
            ``JUPYTERHUB_API_TOKEN``, ``A360_PROJECT_ID``), as they are in a workspace.
    """

    def __init__(
        self, *, api_url: str | None = None, token: str | None = None, project_id: str | None = None
    ) -> None:
        self._given = {"api_url": api_url, "token": token, "project_id": project_id}
        self._settings: Settings | None = None
        self._client: Client | None = None
        self._project_name: str | None = None
        self._repos: dict[str, DataRepo] = {}
        self._reads: dict[str, str] = {}
        self._model: Model | None = None
        self._experiment: Experiment | None = None

    def __repr__(self) -> str:
        try:
            return f"<A360 AI Interface for project: {self.project_name}>"
        except ConfigurationError as error:
            return f"<A360 AI Interface, not connected: {error.why}>"
        except (A360AIError, GraphQLError) as error:
            return f"<A360 AI Interface, not connected: {error.what} {error.why}>"

    def _repr_html_(self) -> str | None:
        try:
            name = self._project_name or self.settings.project_name
        except ConfigurationError:
            return None  # the text says what is missing
        facts = {"Model": self._model, "Experiment": self._experiment}
        return card(f"A360 project {name}", facts) if name else None

    # Connection

    @property
    def settings(self) -> Settings:
        """Where the service and the project are."""
        if self._settings is None:
            self._settings = Settings.from_environment(**self._given)
        return self._settings

    @property
    def client(self) -> Client:
        """Connection to the service."""
        if self._client is None:
            self._client = Client(self.settings.api_url, self.settings.token)
        return self._client

    @property
    def project_name(self) -> str:
        """Name of the project."""
        if self._project_name is None:
            known = self.settings.project_name
            if known is None:
                known = self.client.get(f"/projects/{self.settings.project_id}", A360AIError)["name"]
            self._project_name = str(known)
        return self._project_name

    @property
    def model(self) -> Model | None:
        """The current model: the last one that get_or_create_model or import_model returned."""
        return self._model

    @property
    def experiment(self) -> Experiment | None:
        """The current experiment."""
        return self._experiment

    def remember_experiment(self, loaded: Experiment) -> None:
        """Make an experiment the current one.

        Args:
            loaded: the experiment.
        """
        self._experiment = loaded

    # Data repos

    @property
    def datarepo(self) -> DataRepo:
        """The project's default data repo.

        Raises:
            DataRepoError: the project has none.
        """
        chosen = next((document for document in self._repo_documents() if document["is_default"]), None)
        if chosen is None:
            raise DataRepoError(
                f"The project {self.project_name} has no default data repo.",
                "Data sets and artifacts go to that one.",
                "Add one on the project's page, or choose one: a360ai.set_default_datarepo(name).",
            )
        self._default_repo_id = chosen["id"]
        return self._repo_of(chosen)

    @property
    def filesystem(self) -> Any:
        """Files of the default data repo."""
        return self.datarepo.filesystem

    def data_repo(self, repo_id: str) -> DataRepo:
        """Return the data repo of an id.

        Args:
            repo_id: as on the platform.
        """
        if repo_id not in self._repos:
            self._repo_of(self.client.get(f"/data-repos/{repo_id}", DataRepoError))
        return self._repos[repo_id]

    def list_datarepos(self) -> "pandas.DataFrame":
        """List the project's data repos: name, description, storage_provider."""
        import pandas

        columns = ["name", "description", "storage_provider"]
        return pandas.DataFrame(list(self._repo_documents()), columns=columns)

    def get_datarepo(self, datarepo_name: str) -> DataRepo:
        """Return the data repo of a name.

        Args:
            datarepo_name: its name in the project.

        Raises:
            DataRepoError: the project has none of this name.
        """
        documents = list(self._repo_documents())
        for document in documents:
            if document["name"] == datarepo_name:
                return self._repo_of(document)
        raise DataRepoError(
            f"The project {self.project_name} has no data repo {datarepo_name!r}.",
            f"It has: {', '.join(document['name'] for document in documents) or 'none'}.",
            "a360ai.list_datarepos() lists them.",
        )

    def set_default_datarepo(self, datarepo_name: str) -> None:
        """Make a data repo the one that data sets and artifacts go to.

        Args:
            datarepo_name: its name in the project.

        Raises:
            DataRepoError: the project has none of this name.
        """
        chosen = self.get_datarepo(datarepo_name)
        self.client.post(f"/data-repos/{chosen.id}/default", DataRepoError, repeatable=True)

    def _repo_documents(self) -> list[dict[str, Any]]:
        path = f"/projects/{self.settings.project_id}/data-repos"
        return list(self.client.items(path, DataRepoError))

    def _repo_of(self, document: dict[str, Any]) -> DataRepo:
        """One object per data repo, so that its storage is opened once."""
        if document["id"] not in self._repos:
            self._repos[document["id"]] = DataRepo.from_document(document, a360ai=self)
        return self._repos[document["id"]]

    # Data sources

    def list_datasources(self, datasource_type: str | None = None) -> "pandas.DataFrame":
        """List the data sources of your groups.

        The columns are name, description, datasource_type, database, schema and warehouse.

        Args:
            datasource_type: only those of one type, for example "snowflake".
        """
        return access.listing(self.client, datasource_type)

    def connect_to_datasource(self, datasource_name: str, datasource_type: str) -> "DataSource":
        """Connect to a data source, in its warehouse, database and schema.

        Args:
            datasource_name, datasource_type: as ``list_datasources`` shows them.

        Raises:
            DataSourceError: none of your groups has one of this name and type, or it does not answer.
        """
        return access.connect(self.client, datasource_name, datasource_type)

    def close_datasource_connection(self, datasource: "DataSource") -> None:
        """Close all connections of a data source.

        Args:
            datasource: what ``connect_to_datasource`` returned.
        """
        datasource.close()
        print("Connection is closed")

    # Models and experiments

    def get_or_create_model(
        self,
        model_name: str = "",
        version: str = DEFAULT_VERSION,
        model_type: str | None = None,
        *,
        from_yaml: str | os.PathLike[str] | None = None,
    ) -> Model:
        """Load the model of this name and version, or create it; it becomes ``a360ai.model``.

        Args:
            model_name: unique with the version in the project.
            version: 1 to 12 characters.
            model_type: "regression", "classification", "clustering", "time series" or any other text.
            from_yaml: a file that says all this instead; see :meth:`create_from_yaml`.

        Raises:
            ModelError: wrong name or version, before anything is asked of the service; or a refusal.
        """
        if from_yaml is not None:
            if model_name or model_type is not None or version != DEFAULT_VERSION:
                raise ModelError(
                    "The model was not created: it is defined twice.",
                    f"Both the call and {from_yaml} say which it is.",
                    "Pass from_yaml alone.",
                )
            return self.create_from_yaml(from_yaml)
        name, checked = checked_names(model_name, version)
        return self._get_or_create_model(name, checked, model_type, imported=False)

    def _get_or_create_model(self, name: str, version: str, model_type: str | None, imported: bool) -> Model:
        body: dict[str, Any] = {"model_name": name, "version": version}
        if model_type is not None:
            body["model_type"] = model_type
        if imported:
            body["imported"] = True
        path = f"/projects/{self.settings.project_id}/models"
        self._model = Model.of(self.client.post(path, ModelError, body, repeatable=True), self)
        return self._model

    def get_or_create_experiment(
        self,
        model_name: str,
        version: str = DEFAULT_VERSION,
        experiment_name: str = "",
        model_flavor: str | None = None,
        train_features: Any = None,
        train_target: Any = None,
        **more: Any,
    ) -> Experiment:
        """Load or create a model and an experiment of it; see ``Model.get_or_create_experiment``.

        Args:
            model_name, version: of the model.
            experiment_name, model_flavor, train_features, train_target: of the experiment.
            more: all else that ``Model.get_or_create_experiment`` takes.
        """
        model = self.get_or_create_model(model_name, version)
        return model.get_or_create_experiment(
            experiment_name, model_flavor, train_features, train_target, **more
        )

    def import_model(
        self,
        model_name: str,
        experiment_name: str,
        model_artifact_object_in_memory: Any,
        model_flavor: str,
        model_type: str | None = None,
        enable_drift_monitoring: bool = False,
        train_features: Any = None,
        train_target: Any = None,
        feature_names: Sequence[str] | None = None,
        version: str = DEFAULT_VERSION,
        **more: Any,
    ) -> Model:
        """Register a model trained elsewhere: model, experiment, run and final run in one call.

        Args:
            model_name, version, model_type: of the model.
            experiment_name, model_flavor: of the experiment.
            model_artifact_object_in_memory: the fitted model.
            enable_drift_monitoring, train_features, train_target, feature_names: as for an experiment;
                training data may be left out when drift is not monitored.
            more: pipeline_name, tokenizer, framework, where the flavor needs them.

        Returns:
            The model.

        Raises:
            RunError: the object cannot be stored; nothing is created when that shows at first sight.
        """
        name, checked = checked_names(model_name, version)
        flavor = flavors.get(model_flavor)
        fitted = flavor.unwrap(model_artifact_object_in_memory)
        experiment.check_training_data(
            train_features, train_target, feature_names, bool(enable_drift_monitoring), needed=False
        )
        model = self._get_or_create_model(name, checked, model_type, imported=True)
        loaded = experiment.get_or_create(
            model,
            experiment_name,
            model_flavor,
            enable_drift_monitoring=enable_drift_monitoring,
            train_features=train_features,
            train_target=train_target,
            feature_names=feature_names,
            features_needed=False,
            width=flavor.width(fitted),
            **more,
        )
        with loaded.run_experiment() as run:
            run.log_model(fitted)
        model.set_final_run(loaded, str(run.id))
        self.remember_experiment(loaded)
        print(loaded.summary())
        return model

    def export_model_definition(
        self, local_path: str | os.PathLike[str], model: Model | None = None, experiments: bool = False
    ) -> str:
        """Write a model's definition as YAML, as :meth:`create_from_yaml` reads it; return the path.

        Args:
            local_path: file to write, or a folder.
            model: the current model when None.
            experiments: also its experiments, with their signatures.

        Raises:
            ModelError: no model given and none is current.
        """
        chosen = model or self._model
        if chosen is None:
            raise ModelError(
                "There is no current model to export.",
                "This kernel has not loaded one.",
                "Call a360ai.get_or_create_model(...) first, or pass one.",
            )
        chosen.refresh()
        return str(definitions.write(chosen, local_path, experiments))

    def create_from_yaml(self, local_path: str | os.PathLike[str]) -> Model:
        """Load or create the model and the experiments that a YAML file defines; return the model.

        The file is read strictly: nothing is created when a key is unknown. Its syntax is in
        :mod:`a360mdk.definitions`. The last experiment becomes ``a360ai.experiment``.

        Args:
            local_path: the file.

        Raises:
            ModelError: the file cannot be read, lacks model_name, or says something unknown; with its line.
            ExperimentError: the same in an experiment, or one that cannot be created.
        """
        given = definitions.read(local_path)
        model = self.get_or_create_model(**given.model)
        definitions.create_experiments(model, given)
        return model

    import_model_definition = create_from_yaml
