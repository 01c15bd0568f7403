"""The registry that images of models are pushed to, as the operator configures it."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Callable, Float, Int, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health
from a360_hub_service.backends.registries.client import RegistryClient
from a360_hub_service.backends.registries.login import Login
from a360_hub_service.backends.registries.names import ImageName, check_repository, is_loopback

_DOCKER_HUB = "docker.io"
# Names of repositories have 255 characters at most, and that of an endpoint follows the prefix.
_LONGEST_PREFIX = 200


class Registry(LoggingConfigurable):
    """Where images are kept, and who the platform is there. Builders push, targets pull."""

    url = Unicode(
        "", help="Address, https://registry.example.org; empty: there is none. http only for this machine."
    ).tag(config=True)
    prefix = Unicode("a360", help="First part of the names of repositories.").tag(config=True)
    credential = Unicode(
        "", help="Name of a credential of the service oci_registry; in place of user name and password."
    ).tag(config=True)
    read_login = Callable(
        None, allow_none=True, help="Returns the login of a credential; from the application."
    )
    username = Unicode("", help="User name; empty: the registry asks for none.").tag(config=True)
    password = Unicode("", help="Password or access token.").tag(config=True)
    password_file = Unicode("", help="File with the password, read at each use.").tag(config=True)
    timeout = Float(60.0, help="Seconds a registry may be silent.").tag(config=True)
    chunk_bytes = Int(
        256 * 1024**2, help="Bytes of one request; larger layers are sent in several. At least 5 MiB."
    ).tag(config=True)

    @validate("url")
    def _check_url(self, proposal: Mapping[str, str]) -> str:
        url = proposal["value"].rstrip("/")
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise TraitError(f"Registry.url is {url!r}: {error}.") from error
        if url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query):
            raise TraitError(
                f"Registry.url is {url!r}; write https://host or https://host:port, without a path."
            )
        if parts.username is not None:
            raise TraitError("Registry.url holds a user name; write it in Registry.username.")
        if parts.scheme == "http" and not is_loopback(parts.netloc):
            raise TraitError(
                f"Registry.url is {url!r}; http would show the password, so it is for this machine only."
            )
        return url

    @validate("prefix")
    def _check_prefix(self, proposal: Mapping[str, str]) -> str:
        prefix = proposal["value"].strip("/")
        try:
            check_repository(prefix)
        except ValueError as error:
            raise TraitError(f"Registry.prefix: {error}.") from error
        if len(prefix) > _LONGEST_PREFIX:
            raise TraitError(f"Registry.prefix has {len(prefix)} characters; {_LONGEST_PREFIX} are the most.")
        return prefix

    @property
    def configured(self) -> bool:
        """Is there a registry?"""
        return bool(self.url)

    @property
    def host(self) -> str:
        """The first part of the names of its images."""
        return urlsplit(self.url).netloc

    def name(self, slug: str, tag: str) -> ImageName:
        """Return the name of an image of the platform."""
        return ImageName(self.host, f"{self.prefix}/{slug}", tag)

    def login(self) -> Login | None:
        """Return who the platform is there. Raises `BackendError` when its password cannot be had."""
        if self.credential:
            if self.read_login is None:
                raise BackendError("There are no stored credentials here.", hint="Set c.Registry.username.")
            found = self.read_login(self.credential, self.url)
            assert isinstance(found, Login)
            return found
        if not self.username:
            return None
        return Login(self.username, self._password())

    def _password(self) -> str:
        if not self.password_file:
            return self.password
        try:
            return Path(self.password_file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise BackendError(
                f"The password of the registry cannot be read: {error}.",
                hint="Correct c.Registry.password_file.",
            ) from error

    def client(self, error: type[BackendError], host: str = "", timeout: float = 0.0) -> RegistryClient:
        """Return a client, of the registry at `host` if one is given: a base image may be anywhere.

        No other registry than the configured one gets to know the login. Raises `error`.
        """
        timeout = timeout or self.timeout
        if host and host != self.host:
            address = f"{'http' if is_loopback(host) else 'https'}://{host}"
            address = "https://registry-1.docker.io" if host == _DOCKER_HUB else address
            return RegistryClient(address, error, timeout=timeout)
        try:
            login = self.login()
        except BackendError as problem:
            raise error(problem.message, hint=problem.hint) from problem
        return RegistryClient(self.url, error, login, timeout=timeout, chunk=self.chunk_bytes)

    def health(self) -> Health:
        """Say whether the registry answers and knows the platform."""
        if not self.configured:
            return Health(False, "No registry of images is configured (c.Registry.url).")
        try:
            with self.client(BackendError, timeout=5) as client:
                client.check()
        except BackendError as error:
            return Health(False, f"{error.message} {error.hint}".strip())
        return Health(True, f"{self.host}/{self.prefix}.")
