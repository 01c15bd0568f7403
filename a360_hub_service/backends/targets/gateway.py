"""The one port by which calls to all endpoints enter."""

from collections.abc import Sequence

from traitlets import Int, Unicode
from traitlets.config import LoggingConfigurable

from a360_hub_service.backends.base import Health, Log


class Gateway(LoggingConfigurable):
    """Routes ``/<slug>/`` to the replicas of an endpoint. Outlives the service, which finds it again."""

    home = Unicode(help="The state directory of the platform.").tag(config=True)
    host = Unicode("127.0.0.1", help="Address to listen on.").tag(config=True)
    port = Int(8010, help="Port to listen on.").tag(config=True)
    public_url = Unicode("", help="URL callers use, when something stands before the gateway.").tag(
        config=True
    )

    def health(self) -> Health:
        """Say whether the gateway answers, or could be started."""
        raise NotImplementedError

    def url(self, slug: str) -> str:
        """Return the URL of an endpoint, ending in a slash."""
        return f"{(self.public_url or f'http://{self.host}:{self.port}').rstrip('/')}/{slug}/"

    def ensure_running(self, log: Log) -> None:
        """Start the gateway unless it runs. Raises `TargetError`, for instance when the port is taken."""
        raise NotImplementedError

    def set_route(self, slug: str, addresses: Sequence[str]) -> None:
        """Send calls for `slug` to these host:port addresses, and return when that is in effect."""
        raise NotImplementedError

    def remove_route(self, slug: str) -> None:
        """Answer 404 for `slug` from now on."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the gateway. Endpoints keep running, but no call reaches them."""
        raise NotImplementedError
