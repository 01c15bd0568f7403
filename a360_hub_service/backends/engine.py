"""The Docker engine of this machine, as builders and targets use it."""

import contextlib
from collections.abc import Iterator

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from a360_hub_service.backends.base import BackendError, Health

HINT = "Start the Docker engine, or give the platform the right to use its socket."


@contextlib.contextmanager
def engine(
    error: type[BackendError], timeout: float = 600.0, *, url: str = ""
) -> Iterator[docker.DockerClient]:
    """Yield a client of the engine, here or at `url`. What it refuses is raised as `error`, in its words."""
    client = None
    try:
        client = (
            docker.DockerClient(base_url=url, timeout=int(timeout))
            if url
            else docker.from_env(timeout=int(timeout))
        )
        yield client
    except DockerException as problem:
        if client is None:
            raise error(f"No Docker engine answers: {problem}", hint=HINT) from problem
        words = getattr(problem, "explanation", None) or str(problem)
        if "no space left on device" in str(words):
            hint = "Free disk space on the platform's machine, then try again."
            raise error("No space is left on the disk of the Docker engine.", hint=hint) from problem
        raise error(f"The Docker engine says: {words}") from problem
    except RequestException as problem:
        raise error(f"The Docker engine does not answer: {problem}", hint=HINT) from problem
    finally:
        if client is not None:
            client.close()


def engine_health() -> Health:
    """Say whether an engine on this machine answers."""
    try:
        with engine(BackendError, timeout=5) as client:
            if not client.api.base_url.startswith(("http+docker://", "http://localhost")):
                return Health(False, "The Docker engine runs on another machine.")
            return Health(True, f"Docker {client.version()['Version']}.")
    except (BackendError, OSError) as error:
        return Health(False, str(error))
