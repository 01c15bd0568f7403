"""What a cluster says of pods that do not run, in plain words."""

from typing import Any

import pytest

from a360_hub_service.backends.targets.kubernetes.cluster import Missing, refusal
from a360_hub_service.backends.targets.kubernetes.troubles import trouble_of, trouble_of_deployment

NOT_FOUND = 'failed to resolve reference "r/x:1": r/x:1: not found'
TLS = "http: server gave HTTP response to HTTPS client"


def pod(waiting: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    state = {"waiting": waiting} if waiting else {"running": {}}
    container = {"image": "r/x:1", "ready": False, "state": state, **more}
    limits = {"resources": {"limits": {"memory": "300M"}}}
    return {"spec": {"containers": [limits]}, "status": {"containerStatuses": [container]}}


def ended(**why: Any) -> dict[str, Any]:
    return {"lastState": {"terminated": why}}


@pytest.mark.row("F324")
@pytest.mark.parametrize(
    ("found", "words", "hint", "final"),
    [
        (
            pod({"reason": "ErrImagePull", "message": NOT_FOUND}),
            "the image r/x:1 cannot be pulled (ErrImagePull): the registry does not have it",
            "Package the model again.",
            False,
        ),
        (
            pod({"reason": "ImagePullBackOff", "message": "401 Unauthorized"}),
            "the image r/x:1 cannot be pulled (ImagePullBackOff): "
            "the registry does not let the cluster have it",
            "The operator corrects the platform's login in the registry (c.Registry), or its right to pull.",
            True,
        ),
        (
            pod({"reason": "ImagePullBackOff", "message": TLS}),
            "the image r/x:1 cannot be pulled (ImagePullBackOff): the nodes do not trust the registry",
            "Let the nodes of the cluster trust the registry's certificate.",
            True,
        ),
        (
            pod({"reason": "ImagePullBackOff", "message": "dial tcp: lookup r: no such host"}),
            "the image r/x:1 cannot be pulled (ImagePullBackOff): the nodes do not reach the registry",
            "The nodes of the cluster must reach the registry by the name the platform uses.",
            True,
        ),
        (
            pod(restartCount=1, **ended(reason="OOMKilled", exitCode=137)),
            "ran out of memory (OOMKilled): it wanted more than its limit of 0.3 GB",
            "Publish with a higher memory limit.",
            True,
        ),
        (
            pod({"reason": "CrashLoopBackOff"}, restartCount=2, **ended(reason="Error", exitCode=3)),
            "keeps crashing (CrashLoopBackOff): it ends with code 3 soon after its start",
            "Correct the script and package again; the lines above say why.",
            True,
        ),
        (
            pod(restartCount=1, **ended(reason="Error", exitCode=3)),
            "ends with code 3 soon after its start",
            "The lines above say why.",
            False,
        ),
        (
            pod({"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}),
            'cannot be started (CreateContainerConfigError): secret "x" not found',
            "Ask the operator.",
            True,
        ),
        (
            {
                "status": {
                    "conditions": [
                        {
                            "type": "PodScheduled",
                            "status": "False",
                            "reason": "Unschedulable",
                            "message": "0/3 nodes are available: 3 Insufficient memory.",
                        }
                    ]
                }
            },
            "no node has room (Unschedulable): too little memory is left. "
            "0/3 nodes are available: 3 Insufficient memory.",
            "Publish with lower requests or fewer replicas, or let nodes be added to the cluster.",
            False,
        ),
        (
            {"status": {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}},
            "was ended by the cluster (Evicted): The node was low on memory.",
            "",
            False,
        ),
    ],
)
def test_a_pod_that_does_not_run_is_explained(
    found: dict[str, Any], words: str, hint: str, final: bool
) -> None:
    trouble = trouble_of(found)
    assert trouble is not None
    assert (trouble.words, trouble.hint, trouble.final) == (words, hint, final)


def test_nothing_is_wrong_with_a_pod_that_starts() -> None:
    assert trouble_of(pod({"reason": "ContainerCreating"})) is None
    assert trouble_of(pod(ready=True, restartCount=5, **ended(reason="OOMKilled"))) is None
    assert trouble_of({"status": {}}) is None


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ('pods "x" is forbidden: exceeded quota: small', "fewer replicas"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "fewer rights"),
        ("admission webhook denied the request", "administrators"),
    ],
)
def test_a_cluster_that_makes_no_pods_is_explained(message: str, hint: str) -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    trouble = trouble_of_deployment({"status": {"conditions": [condition]}})
    assert trouble is not None
    assert trouble.words == f"the cluster makes no pods: {message}"
    assert hint in trouble.hint
    assert trouble.final


@pytest.mark.parametrize(
    ("status", "body", "words", "hint"),
    [
        (401, b"", "does not know the user", "Give it a token"),
        (
            403,
            b'{"kind": "Status", "message": "namespaces is forbidden"}',
            "does not allow it: namespaces is forbidden",
            "Give the platform's user the rights",
        ),
        (403, b'{"kind": "Status", "message": "exceeded quota: x"}', "exceeded quota", "Ask for less"),
        (500, b"<html>secret of another server</html>", "is no Kubernetes (status 500)", "Check the address"),
        (302, b"", "is no Kubernetes (status 302)", "Check the address"),
        (422, b'{"kind": "Status", "message": "spec is wrong"}', "refuses: spec is wrong", ""),
    ],
)
def test_what_a_cluster_refuses_is_explained(status: int, body: bytes, words: str, hint: str) -> None:
    error = refusal(status, body, "https://c.example.org")
    assert words in error.message
    assert error.hint.startswith(hint)
    assert "secret of another server" not in error.message


def test_what_is_missing_is_told_apart() -> None:
    assert isinstance(refusal(404, b"", "https://c"), Missing)
