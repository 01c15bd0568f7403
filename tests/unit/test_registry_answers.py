"""What registries refuse, told in a line and a hint."""

import json

import httpx
import pytest

from a360_hub_service.backends.images import BuildError
from a360_hub_service.backends.registries.answers import no_answer, refusal

HOST = "registry.example.org"


def told(
    status: int, code: str = "", message: str = "", *, method: str = "PUT", **options: object
) -> BuildError:
    body = json.dumps({"errors": [{"code": code, "message": message, "detail": options.pop("detail", None)}]})
    headers = {"WWW-Authenticate": str(options.pop("challenge", ""))}
    request = httpx.Request(method, f"https://{HOST}/v2/models/iris/manifests/1")
    answer = httpx.Response(status, headers=headers, request=request)
    has_login = bool(options.pop("has_login", True))
    found = refusal(BuildError, HOST, answer, body.encode(), "models/iris", has_login=has_login)
    assert isinstance(found, BuildError)
    return found


@pytest.mark.row("F308")
@pytest.mark.parametrize(
    ("found", "message", "hint"),
    [
        (told(401), "does not accept the user name and password", "c.Registry.username"),
        (told(401, has_login=False), "no user name is configured", "c.Registry.username"),
        (told(403), "does not let the platform write models/iris", "push to"),
        (told(403, method="GET"), "does not let the platform read models/iris", "pull from"),
        (told(401, "DENIED"), "does not let the platform write", "push to"),
        (told(401, challenge='Bearer error="insufficient_scope"'), "does not let the platform", "push to"),
        (told(400, "NAME_INVALID"), "does not take 'models/iris' as the name", "c.Registry.prefix"),
        (told(404, "NAME_UNKNOWN"), "has no registry.example.org/models/iris", "Create the repository"),
        (told(500, "UNKNOWN", detail={"Op": "write", "Err": 28}), "has no space left", "Free space"),
        (told(507), "has no space left", "Free space"),
        (told(413), "does not take a request of this size", "c.Registry.chunk_bytes"),
        (told(429), "takes no more requests now", "Wait"),
        (told(500, "UNKNOWN", "it broke."), "answers 500 to registry.example.org/models/iris: it broke.", ""),
    ],
)
def test_a_refusal_names_what_to_do(found: BuildError, message: str, hint: str) -> None:
    assert message in found.message
    assert "\n" not in found.message
    assert hint in found.hint


def test_a_refusal_that_is_no_json_is_shown_in_short() -> None:
    request = httpx.Request("GET", f"https://{HOST}/v2/")
    answer = httpx.Response(502, request=request)
    found = refusal(BuildError, HOST, answer, b"<html>\n  Bad gateway" + b" " * 9999, "", has_login=True)
    assert found.message == f"The registry {HOST} answers 502 to {HOST}: <html> Bad gateway."


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (httpx.ConnectTimeout("timed out"), "takes too long"),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "Name or service not known"),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), "certificate is not trusted"),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong"), "does not speak HTTPS"),
    ],
)
def test_silence_has_a_reason(problem: Exception, words: str) -> None:
    found = no_answer(BuildError, HOST, problem)
    assert words in found.message
    assert found.hint
