"""Who makes a package, and which registry its image goes to (rows F304, F305)."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from ..backends.images.base import ImageBuilder, ScriptForm
from ..backends.registries import Registry
from ..entities import Package
from ..errors import Conflict, Invalid
from . import registries
from .context import Actor, Context

PUSHING = "oci"
"""The builder that pushes what it makes to a registry."""


@dataclass(frozen=True, kw_only=True)
class PackageSpec(ScriptForm):
    """The form of F288 to F305.

    An empty ``builder`` is settled by :func:`usable_builder`, which asks the registry that
    :func:`chosen_registry` found.
    """

    repository: str
    branch: str = ""
    repository_account: str = ""
    registry_type: str = ""
    registry_url: str = ""
    builder: str = ""


def choose_builder(context: Context, name: str) -> ImageBuilder:
    """The builder of this name.

    Raises
    ------
    Invalid
        If there is none, naming those there are.
    """
    builder = context.builders.get(name)
    if builder is None:
        raise Invalid.field(
            "builder", f"there is no “{name}”", hint=f"Offered here: {', '.join(context.builders)}."
        )
    return builder


def builder_of(context: Context, package: Package) -> ImageBuilder:
    """The builder of a package, at the registry the package goes to.

    Raises
    ------
    Invalid
        If the builder is not offered any more.
    BackendError
        If the credential of the registry is gone.
    """
    return at_registry(context, choose_builder(context, package.builder), package.form.get("registry", ""))


def at_registry(context: Context, builder: ImageBuilder, place: str) -> ImageBuilder:
    """The builder at a registry: the platform's own, none, or that of a credential's identifier.

    Raises
    ------
    BackendError
        If the credential is gone.
    """
    if builder.name != PUSHING or place == registries.OWN:
        return builder
    own = context.registry
    if place == registries.NONE:
        return builder.at(Registry(platform=own, prefix=own.prefix, base_hosts=own.base_hosts))
    return builder.at(registries.read_registry(context.database, context.secrets, own, place))


def chosen_registry(session: Session, context: Context, actor: Actor, spec: PackageSpec) -> tuple[str, bool]:
    """Where a form's image would go, and whether the form says so: what :func:`usable_builder` takes.

    Raises
    ------
    Invalid
        If the caller may use no such registry.
    """
    says = spec.registry_type not in ("", registries.NONE) or bool(spec.registry_url)
    builder = spec.builder or ("" if says else context.settings.default_builder) or PUSHING
    found = registry_for(session, context, actor, spec, builder)
    return found.credential if found else registries.NONE, says


def registry_for(
    session: Session, context: Context, actor: Actor, spec: PackageSpec, builder: str
) -> registries.Offered | None:
    """The registry that a builder pushes a form's image to; ``None`` for none.

    Raises
    ------
    Invalid
        If the caller may use no such registry, or the builder pushes to none.
    """
    if builder == PUSHING:
        return registries.choose(session, context, actor, spec.registry_type, spec.registry_url)
    if spec.registry_type not in ("", registries.NONE) or spec.registry_url:
        raise Invalid.field(
            "registry_type" if spec.registry_type else "registry_url",
            f"the builder “{builder}” pushes to no registry",
            hint=f"Choose the builder “{PUSHING}”, or leave the registry out.",
        )
    return None


def usable_builder(context: Context, name: str, place: str = registries.OWN, pushes: bool = False) -> str:
    """The name of the builder to use; asks the world outside, so call it without a transaction.

    It is the one that was asked for, or the one that pushes where the form names a registry (``pushes``), or
    the operator's default, or else the first of those offered that works here as it is: images in the
    registry at ``place`` where there is one, images of an engine where one answers, else bundles (C26).

    Raises
    ------
    Conflict
        If it cannot work now, saying why.
    """
    name = name or (PUSHING if pushes else context.settings.default_builder)
    if not name:
        there = (at_registry(context, each, place) for each in context.builders.values())
        ready = (each.name for each in there if each.health_unasked().available)
        name = next(ready, next(iter(context.builders), ""))
    builder = at_registry(context, choose_builder(context, name), place)
    health = builder.health()
    if not health.available:
        raise Conflict(
            f"Packages of the kind “{builder.name}” cannot be built now. {health.reason}",
            hint="Choose another builder, or ask the operator.",
        )
    return builder.name
