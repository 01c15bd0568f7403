"""The catalogue of profiles and images: YAML files beside this module, or an operator's own."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .sizes import Memory, memory_bytes

HERE = Path(__file__).parent
Flavor = Literal["sklearn", "xgboost", "pytorch", "tensorflow", "huggingface"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(_Strict):
    """A named size of workspace.

    ``cpu`` counts cores, ``memory`` is a number followed by Gi, ``idle_hours`` is how long a workspace of
    this size may idle before it is stopped.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    title: str
    description: str = ""
    cpu: Annotated[float, Field(gt=0, le=512)]
    memory: Memory
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    image: str
    idle_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 1.0


class Image(_Strict):
    """A workspace image: one framework, one locked set of packages.

    ``name`` ends in ``-<flavor>``, because notebooks read the flavor off the end of ``A360_IMAGE``.
    ``container`` is the reference used on Kubernetes; ``lock`` is the file of pinned, hashed requirements of
    the local environment (in the YAML file: its name beside that file). There ``common`` may
    name a file of requirements, one a line, that ``packages`` starts with.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]
    flavor: Flavor
    title: str
    description: str = ""
    container: str | None = None
    packages: list[str]
    lock: Path

    @model_validator(mode="after")
    def _name_ends_in_flavor(self) -> "Image":
        parts = self.name.split("-")
        if self.flavor not in (
            parts[-1],
            parts[-2] if self.flavor == "huggingface" and len(parts) > 1 else "",
        ):
            raise ValueError(f"image name {self.name!r} must end in its flavor {self.flavor!r}")
        return self


class Catalogue(_Strict):
    """All profiles and images; the first profile is the default and the smallest."""

    profiles: Annotated[list[Profile], Field(min_length=1)]
    images: Annotated[list[Image], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> "Catalogue":
        for kind, names in (("profile", self.profiles), ("image", self.images)):
            seen = [item.name for item in names]
            if len(set(seen)) != len(seen):
                raise ValueError(f"two entries of kind {kind} share a name")
        for profile in self.profiles:
            self.image(profile.image)
        smallest = min(self.profiles, key=lambda p: (p.gpus, p.cpu, memory_bytes(p.memory)))
        if self.profiles[0] != smallest:
            raise ValueError("the first profile is the default and must be the smallest")
        return self

    def image(self, name: str) -> Image:
        """The image with this name, or the only one of this flavor; ValueError lists what there is."""
        for image in self.images:
            if image.name == name:
                return image
        of_flavor = [image for image in self.images if image.flavor == name]
        if len(of_flavor) == 1:
            return of_flavor[0]
        raise ValueError(
            f"there is no image {name!r}; choose one of: {', '.join(i.name for i in self.images)}"
        )

    def profile_for(self, cpu: float, memory: str, gpus: int) -> Profile:
        """The smallest profile that holds this much, else the largest: it gives the idle hours."""
        need = (gpus, cpu, memory_bytes(memory))

        def size(profile: Profile) -> tuple[int, float, int]:
            return (profile.gpus, profile.cpu, memory_bytes(profile.memory))

        fitting = [p for p in self.profiles if all(a >= b for a, b in zip(size(p), need, strict=True))]
        return min(fitting, key=size) if fitting else max(self.profiles, key=size)


def read_catalogue(folder: Path) -> Catalogue:
    """Read ``profiles.yaml`` and ``images/*.yaml`` of a folder; the image of the default profile comes first.

    Raises
    ------
    ValueError
        When a file does not hold what the models say (pydantic's message names field and reason).
    """
    profiles = yaml.safe_load((folder / "profiles.yaml").read_text(encoding="utf-8"))
    images = [_read_image(path) for path in sorted((folder / "images").glob("*.yaml"))]
    read = Catalogue.model_validate({"profiles": profiles, "images": images})
    usual = read.image(read.profiles[0].image)
    return read.model_copy(update={"images": sorted(read.images, key=lambda image: image != usual)})


def _read_image(path: Path) -> Any:
    image = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "lock" in image:
        image["lock"] = path.parent / image["lock"]
    if "common" in image:
        common = path.parent / image.pop("common")
        if not common.is_file():
            raise ValueError(f"{path.name} takes packages in common from {common}, which is not there")
        image["packages"] = [*_requirements(common), *image.get("packages", [])]
    return image


def _requirements(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


@lru_cache(maxsize=8)
def _cached(folder: Path) -> Catalogue:
    return read_catalogue(folder)


def catalogue() -> Catalogue:
    """The catalogue in use: the folder named by ``A360_PROFILES``, else what the platform ships."""
    return _cached(Path(os.environ.get("A360_PROFILES") or HERE))
