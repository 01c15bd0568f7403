"""The registry that images of models are pushed to, as the operator configures it."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from traitlets import Callable, Float, Instance, Int, List, TraitError, Unicode, validate
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import BackendError, Health
from a360_hub_service.backends.hosts import ANY, Hosts, is_proxied
from a360_hub_service.backends.registries.client import RegistryClient
from a360_hub_service.backends.registries.login import Login
from a360_hub_service.backends.registries.names import (
    ImageName,
    check_repository,
    is_loopback,
    split_port,
)

_DOCKER_HUB = "docker.io"
_WELL_KNOWN = [
    "docker.io",
    "gcr.io",
    "ghcr.io",
    "mcr.microsoft.com",
    "nvcr.io",
    "public.ecr.aws",
    "quay.io",
    "registry.access.redhat.com",
    "registry.gitlab.com",
    "registry.k8s.io",
]
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
    read_holding = Callable(
        None, allow_none=True, help="Returns the registry of an image of a package; from the application."
    )
    base_hosts = List(
        Unicode(),
        _WELL_KNOWN,
        help="Registries of base images that forms name, beside the platform's own: host, host:port, "
        "*.example.org, or * for every public one. Only one that is named may have a private address.",
    ).tag(config=True)
    platform = Instance(
        "a360_hub_service.backends.registries.registry.Registry",
        allow_none=True,
        help="The platform's own registry, where this is another one: base images may be there.",
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

    def prepare(self, repository: str) -> str:
        """See that images can be pushed to a repository; what was done for it. Raises `BackendError`."""
        return ""

    def holding(self, reference: str) -> "Registry":
        """Return the registry that an image of a package was pushed to: this one, or one of a credential.

        Raises `BackendError`.
        """
        found = self.read_holding(reference) if self.read_holding is not None else None
        assert found is None or isinstance(found, Registry)
        return found or self

    def check_base_host(self, host: str, *, resolve: bool) -> None:
        """Raise `HostRefusedError` unless base images that forms name may come from `host`.

        With `resolve` its addresses are looked at as well, for engines that connect there by themselves.
        """
        if host in (self.host, self.platform.host if self.platform else ""):
            return
        hosts, (name, port) = Hosts(tuple(self.base_hosts)), split_port(host)
        hosts.check(name, port)
        if resolve and not is_proxied("https", name):
            with contextlib.suppress(OSError):
                hosts.addresses(name, port)

    def client(
        self, error: type[BackendError], host: str = "", timeout: float = 0.0, *, trusted: bool = True
    ) -> RegistryClient:
        """Return a client, of the registry at `host` if one is given: a base image may be anywhere.

        No other registry than the configured ones gets to know a login. One that is not `trusted`, of which a
        user said the name, leads to no private address unless `base_hosts` name it. Raises `error`.
        """
        timeout = timeout or self.timeout
        platform: Registry | None = self.platform
        if platform and platform.configured and host == platform.host != self.host:
            return platform.client(error, timeout=timeout)
        if host and host != self.host:
            address = f"{'http' if is_loopback(host) else 'https'}://{host}"
            address = "https://registry-1.docker.io" if host == _DOCKER_HUB else address
            allowed = None if trusted else Hosts((*self.base_hosts, ANY))
            return RegistryClient(address, error, timeout=timeout, hosts=allowed)
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
