"""Write the locks of all images: ``python -m spawner_profiles.lock``."""

import subprocess
import sys

import uv

from .catalogue import Image, catalogue
from .environments import uv_environment


def lock_image(image: Image) -> None:
    """Resolve an image's packages for every platform into its lock file of versions and hashes.

    The lock names no index host and no folder, so that it works behind any mirror.
    """
    command = [
        uv.find_uv_bin(), "pip", "compile", "-", "--universal", "--python-version", "3.11",
        "--generate-hashes",
        "--no-emit-index-url", "--no-header", "--no-annotate", "--quiet", "--output-file", str(image.lock),
    ]  # fmt: skip
    subprocess.run(command, input="\n".join(image.packages), text=True, check=True, env=uv_environment())


def main() -> None:
    """Lock every image of the catalogue, or those named as arguments, by name or flavor."""
    wanted = set(sys.argv[1:])
    for image in catalogue().images:
        if not wanted or wanted & {image.name, image.flavor}:
            lock_image(image)


if __name__ == "__main__":
    main()
