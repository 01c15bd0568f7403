"""Endpoints as Deployments of a Kubernetes cluster."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from a360_hub_service.backends import interruption
from a360_hub_service.backends.base import BackendError, Health, Log
from a360_hub_service.backends.images.base import BuiltPackage
from a360_hub_service.backends.registries import names as image_names
from a360_hub_service.backends.targets.kubernetes import kubeconfig, manifests, names, rollout
from a360_hub_service.backends.targets.kubernetes.checking import KubeconfigError
from a360_hub_service.backends.targets.kubernetes.cluster import Cluster, one_at_a_time
from a360_hub_service.backends.targets.kubernetes.exposure import Exposure
from a360_hub_service.backends.targets.kubernetes.manifests import Manifest, Place, Workload
from a360_hub_service.backends.targets.kubernetes.objects import Objects
from a360_hub_service.backends.targets.kubernetes.settings import RIGHTS, KubernetesSettings
from a360_hub_service.backends.targets.kubernetes.troubles import replica_of
from a360_hub_service.backends.targets.types import (
    EndpointSpec,
    EndpointStatus,
    KeyRecord,
    TargetError,
)


class KubernetesTarget(KubernetesSettings):
    """Runs images as Deployments; the cluster keeps them up.

    A revision is named by the hash of what its pods are made of. Its Secret holds the spec, so that the
    version before can come back: after a failed change by itself, and by :meth:`rollback`.
    """

    name: ClassVar[str] = "kubernetes"
    description: ClassVar[str] = "Pods of a Kubernetes cluster, EKS included."
    builders: ClassVar[tuple[str, ...]] = ("oci",)
    scales: ClassVar[bool] = True

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._bound: dict[str, KubernetesTarget] = {}
        self._cluster: tuple[str, Cluster, Exposure] | None = None
        self._new_keys: dict[str, str] = {}

    def account_inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Check a deployment target; its kubeconfig comes back without what clusters no longer know (C15)."""
        try:
            found = kubeconfig.read(str(inputs.get("kubeconfig") or ""), self.rules)
        except KubeconfigError as error:
            raise TargetError(str(error), hint=error.hint, field="kubeconfig") from error
        exposure = Exposure.of(inputs)
        needed = {"ingress": ("host",), "http_route": ("host", "gateway_ref")}.get(exposure.way, ())
        for name in needed:
            if not getattr(exposure, name):
                raise TargetError(f"is required where calls come by {exposure.way}", field=name)
        return {
            **inputs,
            "expose": exposure.way,
            "kubeconfig": found.text,
            "server": found.access.server,
            "cluster": found.cluster,
            "notes": list(found.notes),
        }

    def at(self, account: str) -> "KubernetesTarget":
        """Return this target on the cluster of a deployment target."""
        if not account:
            return self
        with one_at_a_time(f"bound {id(self)}"):
            if account not in self._bound:
                settings = self.trait_values(config=True)
                settings |= {"gateway": self.gateway, "registry": self.registry, "account": account}
                self._bound[account] = KubernetesTarget(read_account=self.read_account, **settings)
            return self._bound[account]

    # The cluster.

    def open(self) -> tuple[Cluster, Exposure]:
        """Return the cluster and how calls come to it; a changed kubeconfig counts at once.

        Raises `TargetError` when there is none.
        """
        text, exposure = self._access()
        with one_at_a_time(f"cluster {id(self)}"):
            if self._cluster is None or self._cluster[0] != text:
                access = None
                if text:
                    try:
                        access = kubeconfig.read(text, self.rules).access
                    except KubeconfigError as error:
                        raise TargetError(f"The kubeconfig: {error}.", hint=error.hint) from error
                timeout = self.request_timeout
                cluster = (
                    Cluster(access, timeout=timeout)
                    if access
                    else Cluster.of_this_pod(Path(self.service_account), timeout)
                )
                self._cluster = (text, cluster, exposure)
            return self._cluster[1], exposure

    def _access(self) -> tuple[str, Exposure]:
        if self.account:
            assert self.read_account is not None
            try:
                text, settings = self.read_account(self.account)
            except BackendError as error:
                raise TargetError(error.message, hint=error.hint) from error
            return text, Exposure.of(settings)
        if not self.kubeconfig:
            return "", self.own_exposure
        try:
            return Path(self.kubeconfig).read_text("utf-8"), self.own_exposure
        except (OSError, UnicodeDecodeError) as error:
            raise TargetError(
                f"The kubeconfig cannot be read: {error}.", hint="Correct c.KubernetesTarget.kubeconfig."
            ) from error

    def health(self) -> Health:
        """Say whether the cluster answers, is new enough, and lets the platform do what it must."""
        try:
            cluster, exposure = self.open()
            version = cluster.version()
            missing = [
                f"{verb} {thing}" for verb, group, thing in RIGHTS if not cluster.may(verb, group, thing)
            ]
        except TargetError as error:
            return Health(False, f"{error.message} {error.hint}".strip())
        if missing:
            return Health(False, f"The cluster does not let the platform {', '.join(missing)}.")
        if exposure.way == "gateway" and not (found := self.gateway.health()).available:
            return found
        return Health(True, f"Kubernetes {version[0]}.{version[1]} at {cluster.server}.")

    # What a target does.

    def apply(self, spec: EndpointSpec, log: Log) -> EndpointStatus:
        """Make `spec` what runs; see `Target.apply`."""
        image = self._image(spec)
        cluster, exposure = self.open()
        with one_at_a_time(f"{self.platform} {spec.slug}"):
            objects = Objects(cluster, self._place(spec), log)
            revision = names.revision_of(spec, {"image": image, "tmp": self.tmp_size})
            ready = objects.ready_revision()
            before = objects.stored_spec(ready) if ready else None
            try:
                self._bring(objects, exposure, spec, image, revision)
                objects.mark_ready(revision)
            except (TargetError, interruption.Interrupted):
                self._undo(objects, exposure, before, ready, log)
                raise
            objects.prune({revision, objects.previous_revision()})
            log(f"{spec.slug} is ready at {exposure.url(self.gateway, spec.slug)}.")
            return self.status(spec.slug)

    def rollback(self, slug: str, log: Log) -> EndpointStatus:
        """Make the version before what runs, as it was; calls go on meanwhile. Raises `TargetError`."""
        cluster, _ = self.open()
        objects = self._found(cluster, slug, log)
        if objects is None:
            raise TargetError(f"{slug} does not run.", hint="Publish it.")
        previous = objects.previous_revision()
        spec = objects.stored_spec(previous) if previous else None
        if spec is None:
            raise TargetError(f"There is no version of {slug} before this one.", hint="Publish another one.")
        log(f"Going back to the version before ({previous}).")
        return self.apply(spec, log)

    def status(self, slug: str) -> EndpointStatus:
        """Return what runs under `slug` now."""
        cluster, exposure = self.open()
        objects = self._found(cluster, slug, self.log.info)
        deployment = objects.deployment() if objects else None
        if objects is None or deployment is None:
            return EndpointStatus(slug, self.name, "absent")
        pods = rollout.pods_of(cluster, objects.place)
        items = tuple(replica_of(pod) for pod in pods if not pod["metadata"].get("deletionTimestamp"))
        wanted = int(deployment["spec"].get("replicas", 1))
        ready = sum(item.ready for item in items)
        status = "running" if ready >= wanted > 0 else "degraded" if ready else "starting"
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        return EndpointStatus(
            slug=slug,
            target=self.name,
            status=status,
            url=exposure.url(self.gateway, slug),
            replicas=wanted,
            ready_replicas=min(ready, wanted),
            items=items,
            limits=manifests.in_words(container.get("resources", {})),
            package=str(container["image"]),
            message=next((item.message for item in items if item.message), ""),
        )

    def remove(self, slug: str, log: Log) -> None:
        """Take the endpoint away; see `Target.remove`."""
        cluster, _ = self.open()
        with one_at_a_time(f"{self.platform} {slug}"):
            self._new_keys.pop(slug, None)
            self.gateway.remove_route(slug)
            for namespace in Objects.namespaces(cluster, self.platform, slug):
                objects = Objects(cluster, Place(platform=self.platform, namespace=namespace, slug=slug), log)
                objects.remove(self.drain_timeout)
                log(f"{slug} is withdrawn.")
            Objects.sweep(cluster, self.platform, log)

    def slugs(self) -> list[str]:
        """Return the slugs of the endpoints of this target."""
        if not self._has_place():
            return []
        cluster, _ = self.open()
        found = cluster.list("Deployment", labelSelector=names.selector_text(self.platform))
        return sorted({str(each["metadata"]["labels"][names.SLUG]) for each in found})

    def write_keys(self, slug: str, keys: Sequence[KeyRecord]) -> None:
        """Replace the keys that open this endpoint; replicas have them a second later."""
        document = json.dumps([asdict(key) | {"expires_at": key.expires_at or None} for key in keys])
        cluster, _ = self.open()
        objects = self._found(cluster, slug, self.log.info)
        # What is not there yet gets them when it is made.
        self._new_keys[slug] = document
        if objects is not None:
            objects.write_keys(document)

    def logs(self, slug: str, lines: int = 100) -> str:
        """Return the last lines the replicas wrote."""
        cluster, _ = self.open()
        objects = self._found(cluster, slug, self.log.info)
        if objects is None:
            return ""
        pods = [str(pod["metadata"]["name"]) for pod in rollout.pods_of(cluster, objects.place)]
        found = (cluster.logs(pod, objects.place.namespace, lines) for pod in pods)
        return "\n".join(text for text in found if text)

    def restore(self, log: Log) -> None:
        """Open the gateway again for what runs; the cluster itself restores nothing of ours."""
        if not self._has_place():
            return
        try:
            cluster, exposure = self.open()
            slugs = self.slugs()
        except TargetError as error:
            log(f"the cluster cannot be asked what runs: {error}")
            return
        for slug in slugs:
            # A withdrawal at the same time must not find its route again.
            with one_at_a_time(f"{self.platform} {slug}"):
                try:
                    for service in cluster.list(
                        "Service", labelSelector=names.selector_text(self.platform, slug)
                    ):
                        exposure.open(self.gateway, slug, service, log)
                except TargetError as error:
                    log(f"{slug} could not be put back on the gateway: {error}")

    def _has_place(self) -> bool:
        """Is a cluster configured, or the service in one? Whoever has none has nothing to restore there."""
        return bool(self.account or self.kubeconfig or os.environ.get("KUBERNETES_SERVICE_HOST"))

    # How.

    def _bring(
        self, objects: Objects, exposure: Exposure, spec: EndpointSpec, image: str, revision: str
    ) -> None:
        """Apply all objects of a spec, wait for its pods, and open the way for calls."""
        place = objects.place
        workload = self._workload(spec, image, revision, self._pull_secret(objects, spec))
        with one_at_a_time(f"{self.platform} namespace {place.namespace}"):
            objects.ensure_namespace()
            objects.store(spec, revision)
            # Keys from `write_keys`, or those that are there.
            objects.write_keys(self._new_keys.get(spec.slug, ""), create=True)
            wanted = self._wanted(objects, exposure, spec)
            objects.log(f"Starting {spec.replicas} replica{'s' * (spec.replicas != 1)} of {spec.slug}.")
            objects.apply(wanted, workload, spec)
        objects.log(f"Limits: {manifests.in_words(manifests.resources(workload))}")
        rollout.Rollout(objects.cluster, place, revision, objects.log).wait(self.start_timeout)
        service = objects.cluster.get("Service", place.name, place.namespace)
        assert service is not None
        exposure.open(self.gateway, spec.slug, service, objects.log)
        self._new_keys.pop(spec.slug, None)

    def _wanted(self, objects: Objects, exposure: Exposure, spec: EndpointSpec) -> list[Manifest]:
        """Return all that goes with the Deployment, beside the Secrets of revision and keys."""
        place = objects.place
        wanted = [
            manifests.network_policy(place, callers=self.callers, egress=self.egress),
            manifests.service(place),
            manifests.disruption_budget(place),
            *exposure.manifests(place),
        ]
        if objects.pull_secret:
            wanted.append(objects.pull_secret)
        if spec.max_replicas > spec.replicas:
            most = spec.max_replicas
            wanted.append(manifests.autoscaler(place, spec.replicas, most, self.scale_at_percent))
        return wanted

    def _undo(
        self, objects: Objects, exposure: Exposure, before: EndpointSpec | None, revision: str, log: Log
    ) -> None:
        """Put back what ran before; leave nothing of what never ran. The first error is the one told."""
        try:
            if before is None:
                self.remove(objects.place.slug, log)
                return
            log("What ran before goes on running.")
            workload = self._workload(
                before, self._image(before), revision, self._pull_secret(objects, before)
            )
            objects.store(before, revision)
            objects.apply(self._wanted(objects, exposure, before), workload, before)
            objects.prune({revision, objects.previous_revision()})
        except BackendError as error:
            log(f"It could not be tidied up: {error}")

    def _workload(self, spec: EndpointSpec, image: str, revision: str, pull_secret: str) -> Workload:
        threads = math.ceil(spec.cpu_limit) if spec.cpu_limit else 1
        own = {
            "HOME": "/tmp",  # noqa: S108
            "TMPDIR": "/tmp",  # noqa: S108
            "A360_KEYS_FILE": "/keys/keys.json",
            "A360_THREADS": str(threads),
            "A360_DRAIN_SECONDS": str(max(1, int(self.drain_timeout))),
        }
        return Workload(
            image=image,
            revision=revision,
            replicas=spec.replicas,
            cpu_request=spec.cpu_request,
            cpu_limit=spec.cpu_limit,
            memory_request=spec.memory_request,
            memory_limit=spec.memory_limit,
            environment=own,
            secret_environment=sorted(spec.environment),
            pull_secret=pull_secret,
            drain_seconds=max(1, int(self.drain_timeout)),
            start_seconds=int(self.start_timeout),
            tmp_megabytes=self.tmp_size,
            node_selector=self.node_selector,
            tolerations=self.tolerations,
        )

    def _image(self, spec: EndpointSpec) -> str:
        """Return the image by its digest: a tag may be moved. Raises `TargetError` if no node can pull it."""
        package: BuiltPackage = spec.package
        if package.builder not in self.builders:
            raise TargetError(
                f"The {self.name} target does not run packages made by the {package.builder} builder.",
                hint=f"Package again with the {self.builders[0]} builder, or choose another target.",
                field="target",
            )
        if package.reference.startswith("/"):
            raise TargetError(
                "The image is a file on the platform's machine; a cluster pulls images from a registry.",
                hint="The operator configures one (c.Registry.url); then package the model again.",
                field="target",
            )
        found = image_names.parse(package.reference)
        return f"{found.registry}/{found.repository}@{package.digest}"

    def _pull_secret(self, objects: Objects, spec: EndpointSpec) -> str:
        """Prepare the nodes' login at the registry the image was pushed to; return its name."""
        host = image_names.parse(spec.package.reference).registry
        try:
            registry = self.registry.holding(spec.package.reference)
            login = registry.login() if host == registry.host else None
        except BackendError as error:
            raise TargetError(error.message, hint=error.hint) from error
        if login is None:
            return ""
        objects.pull_secret = manifests.pull_secret(objects.place, host, login.username, login.password)
        return str(objects.pull_secret["metadata"]["name"])

    def _place(self, spec: EndpointSpec) -> Place:
        namespace = names.namespace_name(self.platform, spec.project)
        return Place(platform=self.platform, namespace=namespace, slug=spec.slug)

    def _found(self, cluster: Cluster, slug: str, log: Log) -> Objects | None:
        found = cluster.list("Deployment", labelSelector=names.selector_text(self.platform, slug))
        if not found:
            return None
        place = Place(platform=self.platform, namespace=found[0]["metadata"]["namespace"], slug=slug)
        return Objects(cluster, place, log)
