"""Which hosts the service may be sent to by what users write.

A user who names a host makes the service connect to it from inside the operator's network. So a host has to
be public, or one the operator names.
"""

import ipaddress
import socket
from dataclasses import dataclass
from fnmatch import fnmatch
from urllib.request import getproxies_environment, proxy_bypass

import httpx

ANY = "*"
"""Among the operator's hosts: every public one."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class HostRefusedError(ValueError):
    """A host that may not be used, in words for people."""


@dataclass(frozen=True)
class Hosts:
    """The operator's list: ``host``, ``host:port``, ``*.example.org``, or ``*`` for every public host.

    A host of the list may have a private address; another one may not.
    """

    entries: tuple[str, ...]

    def names(self, host: str, port: int) -> bool:
        """Is this host on the list by its name?"""
        plain = host.lower().rstrip(".").strip("[]")
        given = (each.lower() for each in self.entries if each != ANY)
        return any(fnmatch(plain, each.strip("[]")) or fnmatch(f"{plain}:{port}", each) for each in given)

    def check(self, host: str, port: int) -> None:
        """Raise `HostRefusedError` unless the list allows the host; touches no network."""
        if ANY not in self.entries and not self.names(host, port):
            allowed = ", ".join(self.entries) or "none"
            raise HostRefusedError(f"{host} is not a host that the operator allows; allowed: {allowed}")

    def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of an allowed host.

        Raises
        ------
        HostRefusedError
            For a host that is not allowed, and for one that the list does not name with an address that is
            not public: private, of this machine, link-local, reserved.
        OSError
            If the name cannot be resolved.
        """
        self.check(host, port)
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self.names(host, port) and (private := next((a for a in addresses if not is_public(a)), "")):
            where = host if host == private else f"{host} ({private})"
            raise HostRefusedError(
                f"{where} is not a public address, and the operator does not allow it by name"
            )
        return addresses


def is_public(address: str) -> bool:
    """Is this an address of the internet, whatever it is wrapped in?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


def is_proxied(scheme: str, host: str) -> bool:
    """Does a proxy of the environment connect to this host for us? Then it is the one that resolves names."""
    proxies = getproxies_environment()
    return bool(proxies.get(scheme) or proxies.get("all")) and not proxy_bypass(host, proxies)


class GuardedTransport(httpx.BaseTransport):
    """Connects to the addresses that were checked, each redirect included.

    The name is resolved once: between a check and a connection it could come to mean another machine.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts, self._inner = hosts, httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request. Raises `httpx.ConnectError` with a :class:`HostRefusedError` as its cause."""
        host, port = request.url.host, request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            addresses = self._hosts.addresses(host, port)
        except HostRefusedError as error:
            raise httpx.ConnectError(str(error), request=request) from error
        except OSError as error:
            raise httpx.ConnectError(f"{host}: {error.strerror or error}", request=request) from error
        for address in addresses[:-1]:
            try:
                return self._inner.handle_request(_to(request, address))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        return self._inner.handle_request(_to(request, addresses[-1]))

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def _to(request: httpx.Request, address: str) -> httpx.Request:
    """Return the request with the address in place of the name, which TLS and the header Host still hear."""
    sni = {"sni_hostname": request.url.host}
    return httpx.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, **(sni if request.url.scheme == "https" else {})},
    )
