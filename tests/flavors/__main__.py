"""Run the tests of flavors, each where its framework is: ``python -m tests.flavors [FLAVOR ...]``.

The environment is the one a workspace of that flavor gets, made by the platform's own code: the image, and a
workspace's overlay on it, into which pytest is installed as people install packages.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from spawner_profiles.catalogue import catalogue
from spawner_profiles.environments import ensure_image, ensure_overlay
from tests.support.images import IMAGES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TORCH = ("pytorch", "huggingface")
"""Flavors whose images hold torch."""


def run(flavor: str) -> int:
    """Run one flavor's tests; pytest's exit code."""
    image = catalogue().image(flavor)
    built = ensure_image(IMAGES, image, lambda line: print(f"{flavor}: {line}"))
    with tempfile.TemporaryDirectory() as home:
        overlay = ensure_overlay(built, Path(home))
        install = [str(overlay / "bin" / "pip"), "install", "--quiet", "pytest>=9", "pytest-timeout>=2.4"]
        subprocess.run(install, check=True)
        search = os.pathsep.join(
            [str(overlay / "bin"), str(built / "bin"), os.environ.get("PATH", os.defpath)]
        )
        environment = {**os.environ, "A360_IMAGE": image.name, "PATH": search}
        names = ("image", flavor, *(["tensors"] if flavor in TORCH else []))
        modules = [path for name in names if (path := HERE / f"test_{name}.py").exists()]
        tests = [str(overlay / "bin" / "python"), "-m", "pytest", "-m", "flavors", "-p", "no:cacheprovider"]
        return subprocess.run([*tests, *map(str, modules)], cwd=ROOT, env=environment).returncode


def main() -> int:
    """Run those named, or all."""
    known = [image.flavor for image in catalogue().images]
    wanted = sys.argv[1:] or known
    if unknown := set(wanted) - set(known):
        print(f"There is no image of {', '.join(sorted(unknown))}; there are: {', '.join(known)}.")
        return 2
    return max([run(flavor) for flavor in wanted])


if __name__ == "__main__":
    sys.exit(main())
