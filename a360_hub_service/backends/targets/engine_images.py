"""Images of packages in the Docker engine: those it built itself, and those it is brought."""

from pathlib import Path

import docker
from docker.errors import APIError, ImageNotFound

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import BackendError, Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.images.layout import archive_name
from a360_hub_service.backends.registries import ImageName, Registry, names
from a360_hub_service.backends.targets.types import TargetError


def is_brought(package: BuiltPackage) -> bool:
    """Was the image of this package made outside the engine?"""
    return package.builder == "oci"


def engine_name(package: BuiltPackage) -> str:
    """Return what the engine knows the image as. Raises `TargetError` for an archive that is gone."""
    if not is_brought(package):
        return package.reference
    if not _is_archive(package):
        name = _pinned(package)
        return f"{name.registry}/{name.repository}@{name.digest}"
    try:
        return archive_name(Path(package.reference))
    except FileNotFoundError as error:
        raise _gone(package) from error
    except (OSError, ValueError) as error:
        raise TargetError(f"The archive {package.reference} cannot be read: {error}.") from error


class EngineImages:
    """Brings images to an engine, from the registry as who the platform is there."""

    def __init__(self, registry: Registry, log: Log) -> None:
        self._registry, self._log = registry, log

    def bring(self, client: docker.DockerClient, package: BuiltPackage) -> None:
        """See that the engine has the image. Raises `TargetError`."""
        try:
            client.images.get(engine_name(package))
            return
        except ImageNotFound as error:
            if not is_brought(package):
                raise _gone(package) from error
        if _is_archive(package):
            self._log("Loading the image into the engine.")
            with Path(package.reference).open("rb") as file:
                client.images.load(file)
        else:
            self._pull(client, package)

    def _pull(self, client: docker.DockerClient, package: BuiltPackage) -> None:
        name = _pinned(package)
        self._log(f"Pulling {name}.")
        # Only the registry it was pushed to gets to know who the platform is there.
        try:
            registry = self._registry.holding(package.reference)
            login = registry.login() if name.registry == registry.host else None
        except BackendError as error:
            raise TargetError(error.message, hint=error.hint) from error
        account = {"username": login.username, "password": login.password} if login else None
        place = f"{name.registry}/{name.repository}"
        try:
            for line in client.api.pull(
                place, tag=name.digest, auth_config=account, stream=True, decode=True
            ):
                interruption.check()
                if words := line.get("error"):
                    raise _refused(name, str(words))
        except APIError as error:
            raise _refused(name, str(error.explanation or error)) from error


def _refused(name: ImageName, words: str) -> TargetError:
    hint = "Check that the engine of this machine reaches the registry."
    if "unauthorized" in words or "no basic auth" in words or "denied" in words:
        hint = "The operator corrects c.Registry.username and the password, or the account's right to pull."
    elif "not found" in words or "manifest unknown" in words:
        hint = "Package the model again."
    elif "no space left" in words:
        hint = "Free disk space on the platform's machine, then try again."
    elif "HTTP response to HTTPS client" in words or "x509" in words:
        hint = "Let the engine trust the registry (its documentation: registry certificates)."
    return TargetError(f"The image {name} cannot be pulled: {words.rstrip('.')}.", hint=hint)


def _gone(package: BuiltPackage) -> TargetError:
    return TargetError(f"The image {package.reference} is gone.", hint="Package the model again.")


def _is_archive(package: BuiltPackage) -> bool:
    return package.reference.startswith("/")


def _pinned(package: BuiltPackage) -> ImageName:
    """Return the name of an image by its digest: its tag may be moved, what was reviewed may not."""
    found = names.parse(package.reference)
    return ImageName(found.registry, found.repository, digest=package.digest)
