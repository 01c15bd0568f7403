"""Packages: from an approved model and a script in a git repository to something that can be published
(rows F285 to F308)."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..backends.base import BackendError
from ..backends.images.base import ARTIFACT_NAMES, BuildRequest, ScriptForm
from ..backends.images.script import check_script
from ..entities import Artifact, DataRepo, Experiment, Job, Model, Package, Project, Run
from ..errors import Conflict, FieldError, Invalid
from ..jobs.work import Failure, JobKind, Step, Work
from ..lifecycle import Command
from . import certificates, jobs, registries, repositories, scanning
from .builders import PackageSpec, at_registry, builder_of, choose_builder, registry_for
from .context import Actor, Context
from .endpoints import endpoint_of
from .models import FINAL_RUN_ARTIFACT, transition
from .naming import slugify
from .paging import page

log = logging.getLogger("a360")
BASELINE = "baseline"

SLUG_LIMIT = 50
_CHUNK = 1024 * 1024


def request(session: Session, context: Context, actor: Actor, model: Model, spec: PackageSpec) -> Job:
    """Begin to package a model's final run (F306).

    Raises
    ------
    WrongState
        If the model is not approved.
    Conflict
        While another job works on the model, or if its final run has no model to serve, or no certificate
        that what is served answers like what was trained.
    Invalid
        For a builder that is not offered or a repository address that is not allowed.
    """
    jobs.refuse_second(session, model)
    transition(session, model, Command.PACKAGE, actor.name)
    builder = choose_builder(context, spec.builder)
    registry = registry_for(session, context, actor, spec, builder.name)
    if spec.validation_output and not spec.validation_input:
        raise Invalid.field(
            "validation_output",
            "there is no validation input it could be the answer to",
            hint="Give a validation input too, or leave the output out.",
        )
    try:
        context.git.check_url(spec.repository)
        if spec.base_image:
            builder.check_base_image(spec.base_image)
    except BackendError as error:
        raise invalid(error) from error
    run = session.get(Run, model.best_run_id or "")
    if run is None or FINAL_RUN_ARTIFACT not in {artifact.name for artifact in run.artifacts}:
        raise Conflict(
            "The model's final run has no model that could be served.",
            hint="Send the model back to Draft and choose a final run that logged its model.",
        )
    certificates.require(model, run)
    package = Package(
        model_id=model.id,
        run_id=run.id,
        builder=builder.name,
        form=asdict(spec)
        | {
            "builder": builder.name,
            "slug": endpoint_slug(session, model),
            "registry_type": registry.type if registry else registries.NONE,
            "registry_url": registry.url if registry else "",
            "registry": registry.credential if registry else registries.NONE,
            "repository_credential": repositories.choose(
                session, actor, spec.repository, spec.repository_account
            ),
        },
        created_by=actor.name,
        status="building",
    )
    session.add(package)
    session.flush()
    return jobs.begin(session, context, actor, model, kind=jobs.PACKAGE, subject_id=package.id)


def endpoint_slug(session: Session, model: Model) -> str:
    """The name of a model's endpoint in its address (C10); the one it has, once it was published.

    Where another model's name leads to the same slug, a hash of the identifier sets it apart.
    """
    if endpoint := endpoint_of(session, model):
        return endpoint.slug
    slug = _plain_slug(model.project.slug, model.model_name, model.version)
    others = select(Project.slug, Model.model_name, Model.version).join(Project).where(Model.id != model.id)
    if any(_plain_slug(*other) == slug for other in session.execute(others)):
        slug = f"{slug[: SLUG_LIMIT - 9].strip('-')}-{hashlib.sha256(model.id.encode()).hexdigest()[:8]}"
    return slug


def _plain_slug(project: str, name: str, version: str) -> str:
    return slugify(f"{project}-{name}-{version}", limit=SLUG_LIMIT)


def list_packages(
    session: Session, model: Model, *, limit: int, cursor: str | None
) -> tuple[Sequence[Package], str | None]:
    """A model's packages, newest first."""
    query = select(Package).where(Package.model_id == model.id)
    return page(session, query, Package.id, limit=limit, cursor=cursor)


@dataclass(frozen=True, slots=True)
class Made:
    """Where something that was packaged is."""

    builder: str
    package_id: str
    slug: str
    registry: str = registries.OWN


def made_of(session: Session, project: Project) -> list[Made]:
    """What was packaged of a project's models."""
    packages = select(Package).join(Model).where(Model.project_id == project.id)
    return [
        Made(row.builder, row.id, row.form["slug"], row.form.get("registry", registries.OWN))
        for row in session.scalars(packages)
        if row.form
    ]


def remove(context: Context, made: Sequence[Made]) -> None:
    """Remove packages nobody refers to any more, as far as their builders can be reached."""
    for package in made:
        builder = context.builders.get(package.builder)
        if builder is None:
            continue
        try:
            at_registry(context, builder, package.registry).remove(package.package_id, package.slug)
        except BackendError as error:
            log.warning("the package %s could not be removed: %s", package.package_id, error)


def invalid(error: BackendError) -> Invalid:
    """What a backend says about a form, as an error of its field."""
    fields = [FieldError(error.field, error.message)] if error.field else []
    return Invalid(error.message, hint=error.hint, errors=fields)


def _fetch(work: Work) -> None:
    """Bring the repository; it appears whole or not at all, so what is there is complete."""
    package = _package(work)
    repo = work.folder / "repo"
    if repo.exists() and package.commit:
        work.log(f"The repository is there already, at commit {package.commit}.")
        return
    shutil.rmtree(repo, ignore_errors=True)
    url, account, login = package.form["repository"], package.form.get("repository_credential"), None
    if account:
        named = bool(package.form.get("repository_account"))
        login = repositories.login(work.context, account, url, named=named, log=work.log)
    found = work.context.git.fetch(url, package.form["branch"], repo, work.log, login)
    with work.context.database.session() as session:
        row = session.get_one(Package, package.id)
        row.commit, row.ref = found.commit, found.ref or None


def _check(work: Work) -> None:
    form = _package(work).form
    check_script(work.folder / "repo", form["script_name"], form["call_function"])


def _collect(work: Work) -> None:
    """Copy the final run's artifacts out of its data repo, and see that they are what was logged."""
    with work.context.database.session(write=False) as session:
        run = session.get_one(Run, session.get_one(Package, work.subject_id).run_id)
        artifacts = [artifact for artifact in run.artifacts if artifact.name in ARTIFACT_NAMES]
        storage = work.context.storages.open(session, session.get_one(DataRepo, run.data_repo_id))
        experiment = run.experiment
        later = experiment.baseline if experiment.enable_drift_monitoring else None
    folder = work.folder / "artifacts"
    folder.mkdir(exist_ok=True)
    for artifact in artifacts:
        path = folder / artifact.name
        if not _is_intact(path, artifact):
            storage.download(artifact.file_key, path)
        if not _is_intact(path, artifact):
            raise Conflict(
                f"The artifact “{artifact.name}” was changed after its run had logged it.",
                hint="Log the run again, choose it as the final run and have it reviewed.",
            )
        work.log(f"Took {artifact.name} ({artifact.size:,} bytes, SHA-256 {artifact.sha256[:12]}…).")
    if later and BASELINE not in {artifact.name for artifact in artifacts}:
        # Monitoring was enabled after the run (M087), so no artifact of it holds the baseline.
        (folder / BASELINE).write_text(json.dumps(later), encoding="utf-8")
        work.log(f"Took the baseline of {len(later)} features from the experiment.")


def _is_intact(path: Path, artifact: Artifact) -> bool:
    if not path.is_file() or path.stat().st_size != artifact.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256


def _build(work: Work) -> None:
    """Resolve, assemble and validate; the builder does not make one package twice."""
    package, manifest = _package(work), _manifest(work)
    form = package.form
    builder = builder_of(work.context, package)
    folder = work.folder / "artifacts"
    if form["base_image"] and package.builder == "bundle":
        work.log("Warning: a bundle has no base image; the one of the form is not used.")
    built = builder.build(
        BuildRequest(
            package_id=package.id,
            slug=form["slug"],
            manifest=manifest,
            artifact_files={name: folder / name for name in ARTIFACT_NAMES if (folder / name).exists()},
            repo_dir=work.folder / "repo",
            commit=package.commit or "",
            labels={"a360.model": work.model_id, "a360.package": package.id},
            **{field.name: form[field.name] for field in fields(ScriptForm) if field.name in form},
        ),
        work.log,
    )
    with work.context.database.session() as session:
        row = session.get_one(Package, package.id)
        row.reference, row.digest, row.size = built.reference, built.digest, built.size
        row.lock_sha256 = built.lock_sha256 or None


def _scan(work: Work) -> None:
    package = _package(work)
    scanning.scan(work, package, builder_of(work.context, package))


def _manifest(work: Work) -> dict[str, object]:
    """What the package says about the model."""
    with work.context.database.session(write=False) as session:
        run = session.get_one(Run, session.get_one(Package, work.subject_id).run_id)
        experiment = session.get_one(Experiment, run.experiment_id)
        model = session.get_one(Model, work.model_id)
        manifest: dict[str, object] = {
            "project": model.project.name,
            "model_name": model.model_name,
            "version": model.version,
            "model_flavor": experiment.model_flavor,
            "input_signature": experiment.input_signature,
            "output_signature": experiment.output_signature,
            "feature_names": experiment.feature_names,
        }
        if experiment.pipeline_name:
            manifest["pipeline_name"] = experiment.pipeline_name
        return manifest


def _package(work: Work) -> Package:
    with work.context.database.session(write=False) as session:
        return session.get_one(Package, work.subject_id)


def _succeed(session: Session, work: Work) -> None:
    session.get_one(Package, work.subject_id).status = "ready"
    model = session.get_one(Model, work.model_id)
    transition(session, model, Command.PACKAGE_SUCCEEDED, work.actor)


def _fail(session: Session, work: Work, failure: Failure) -> None:
    session.get_one(Package, work.subject_id).status = "failed"
    model = session.get_one(Model, work.model_id)
    transition(session, model, Command.PACKAGE_FAILED, work.actor, failure.error)


def _undo(work: Work) -> None:
    package = _package(work)
    if package.builder in work.context.builders:
        builder_of(work.context, package).remove(package.id, package.form["slug"])


PACKAGE = JobKind(
    name=jobs.PACKAGE,
    steps=(
        Step("fetch", "Fetching the repository", _fetch),
        Step("check", "Checking the script", _check),
        Step("collect", "Collecting the model and its artifacts", _collect),
        Step("build", "Resolving dependencies, assembling and validating the package", _build),
        Step("scan", "Scanning the package", _scan),
    ),
    succeed=_succeed,
    fail=_fail,
    undo=_undo,
)
