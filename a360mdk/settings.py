"""What a workspace tells its kernels through the environment."""

import os
from dataclasses import dataclass

from a360mdk.exceptions import ConfigurationError

_VARIABLES = {
    "api_url": "A360_API_URL",
    "token": "JUPYTERHUB_API_TOKEN",
    "project_id": "A360_PROJECT_ID",
}


@dataclass(frozen=True)
class Settings:
    """Where the service is, who asks, and for which project."""

    api_url: str
    token: str
    project_id: str
    project_name: str | None = None

    @classmethod
    def from_environment(
        cls, api_url: str | None = None, token: str | None = None, project_id: str | None = None
    ) -> "Settings":
        """Read the environment; arguments win over it.

        Raises:
            ConfigurationError: something is missing; the message names the variables.
        """
        given = {"api_url": api_url, "token": token, "project_id": project_id}
        found = {field: given[field] or os.environ.get(name, "") for field, name in _VARIABLES.items()}
        missing = [name for field, name in _VARIABLES.items() if not found[field]]
        if missing:
            raise ConfigurationError(
                "This Python process is not connected to an A360 project.",
                f"The environment lacks {', '.join(missing)}: only a workspace of a project has them.",
                "Run the notebook in a workspace, or set these variables before the first call "
                "(JUPYTERHUB_API_TOKEN is a token of your Hub account).",
            )
        # The name in the environment belongs to the project in the environment, not to one given by argument.
        same_project = found["project_id"] == os.environ.get("A360_PROJECT_ID")
        name = os.environ.get("A360_PROJECT_NAME") if same_project else None
        return cls(found["api_url"].rstrip("/"), found["token"], found["project_id"], name or None)
