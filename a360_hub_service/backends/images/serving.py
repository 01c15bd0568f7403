"""What all images of served models have in common, whoever makes them."""

from a360_hub_service.backends.images.base import BuildRequest
from a360_hub_service.backends.images.resolve import Dependencies

PORT = 8080
"""Port an image listens on."""
USER = 65532
"""User and group an image runs as; it owns nothing in it."""
WORK_FOLDER = "/app/script"
COMMAND = ("--host", "0.0.0.0", "--port", str(PORT))  # noqa: S104
TIME = 1_700_000_000
"""Time of everything in an image, in seconds since 1970, so that the same content gives the same digest."""


def entrypoint(program: str) -> list[str]:
    """Return what an image runs with the Python program at `program`."""
    return [program, "-I", "-S", "/app/run.py"]


def labels(request: BuildRequest, dependencies: Dependencies) -> dict[str, str]:
    """Return the labels of an image: those of the request, and what says where it comes from."""
    own = {
        "a360.package": request.package_id,
        "a360.slug": request.slug,
        "a360.commit": request.commit,
        "a360.lock": dependencies.sha256,
        "org.opencontainers.image.title": request.slug,
        "org.opencontainers.image.revision": request.commit,
    }
    return dict(request.labels) | own


def tag(package_id: str) -> str:
    """Return the tag of a package's image."""
    # Ids begin with their time, so their end is what tells two packages of one second apart.
    return f"{package_id[:12]}-{package_id[-8:]}"


def wheel_platform(machine: str, libc: str, version: str) -> str:
    """Return which wheels fit, as uv says it: a `machine` ("amd64"), a `libc` ("glibc") and its version."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(machine, machine)
    if libc != "glibc":
        return f"{machine}-unknown-linux-musl"
    modern = tuple(int(part) for part in version.split(".")[:2]) >= (2, 28)
    return f"{machine}-manylinux_2_28" if modern else f"{machine}-manylinux2014"
