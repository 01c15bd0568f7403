"""AWS's registry of images: its passwords last for hours, its repositories are made before they are used."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Unicode

from a360_hub_service.backends.base import BackendError
from a360_hub_service.backends.registries.login import Login
from a360_hub_service.backends.registries.registry import Registry
from a360_hub_service.backends.tokens import KeptTokens, Made

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_TOKENS = KeptTokens()
_KEYS = (
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
)
_HINT = "An administrator corrects the credential."


class EcrRegistry(Registry):
    """A registry of AWS, opened with the access key of a credential.

    The password is asked of AWS and used until shortly before it expires, for `url` alone.
    """

    region = Unicode(help="AWS's name of where it is.")
    access_key = Unicode()
    access_secret = Unicode()
    endpoint_url = Unicode(help="Where ECR's API is, if not at AWS's own address.")
    creates = Bool(True, help="Make repositories that are missing?")

    def login(self) -> Login:
        """Return user and password for now. Raises `BackendError`."""
        secret = hashlib.sha256(self.access_secret.encode()).hexdigest()
        token = _TOKENS.get(
            (self.url, self.region, self.endpoint_url, self.access_key, secret), self._new_token
        )
        user, _, password = token.partition(":")
        return Login(user, password)

    def prepare(self, repository: str) -> str:
        """Make the repository if it is missing; what was done. Raises `BackendError`."""
        from botocore.exceptions import ClientError

        account = {"registryId": number} if (number := self._account()) else {}
        with self._calling(f"look for the repository {repository}") as client:
            try:
                client.describe_repositories(repositoryNames=[repository], **account)
                return ""
            except ClientError as error:
                if _code(error) != "RepositoryNotFoundException":
                    raise
        if not self.creates:
            raise BackendError(
                f"The registry {self.host} has no repository {repository}, and the credential does not let "
                "the platform make it.",
                hint="Create the repository in ECR, or allow it in the credential (create_repositories).",
            )
        with self._calling(f"create the repository {repository}") as client:
            try:
                client.create_repository(repositoryName=repository, **account)
            except ClientError as error:
                if _code(error) != "RepositoryAlreadyExistsException":
                    raise
        return f"Made the repository {repository}."

    def _account(self) -> str:
        """Return the number of the AWS account whose registry this is; "" for one at another address."""
        first = self.host.partition(".")[0]
        return first if first.isdigit() and len(first) == 12 else ""

    def _new_token(self) -> Made:
        with self._calling("ask for a password (ecr:GetAuthorizationToken)") as client:
            found = client.get_authorization_token()["authorizationData"][0]
            return base64.b64decode(found["authorizationToken"]).decode(), found["expiresAt"]

    @contextmanager
    def _calling(self, what: str) -> Iterator[Any]:
        """Yield a client of ECR's API. Raises `BackendError`."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError

            from a360_hub_service.backends.storage.s3_account import S3Account
        except ModuleNotFoundError:
            raise BackendError(
                "AWS cannot be reached: boto3 is not installed where the service runs.",
                hint="Ask the operator to install the extra “s3” (pip install 'a360[s3]').",
            ) from None
        account = S3Account(self.region, self.access_key, self.access_secret, self.endpoint_url or None)
        try:
            yield account.client("ecr", patient=False)
        except ClientError as error:
            raise _refusal(error, what, self.host) from error
        except BotoCoreError as error:
            raise BackendError(
                f"AWS's ECR in {self.region} does not answer: {error}.",
                hint="Check the region and the network.",
            ) from error


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _refusal(error: "ClientError", what: str, host: str) -> BackendError:
    code = _code(error)
    words = str(error.response.get("Error", {}).get("Message", "")).rstrip(".")[:300]
    if code in _KEYS:
        return BackendError(f"AWS does not accept the access key for {host}. ({code})", hint=_HINT)
    if code == "ExpiredTokenException":
        return BackendError(f"The access key for {host} has expired.", hint=_HINT)
    if "AccessDenied" in code:
        return BackendError(
            f"The access key for {host} may not {what}. ({words})",
            hint="Give its user ecr:GetAuthorizationToken, ecr:DescribeRepositories, ecr:CreateRepository "
            "and the rights to push and pull.",
        )
    return BackendError(f"AWS's ECR could not {what}: {words or code}.", hint=_HINT)
