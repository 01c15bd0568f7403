"""Keys for a bucket: those that were given, or temporary ones of a role."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from a360mdk.exceptions import FileSystemError

RENEW_BEFORE = timedelta(minutes=5)
_SESSION = "a360"


@dataclass(frozen=True)
class Keys:
    """What a request is signed with; ``expiration`` is an ISO time, or None where the keys do not end."""

    access_key: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    expiration: str | None = None

    def for_boto3(self) -> dict[str, Any]:
        """The arguments of a boto3 client."""
        return {
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_access_key,
            "aws_session_token": self.session_token,
        }

    def for_pyarrow(self) -> dict[str, Any]:
        """The arguments of pyarrow's S3FileSystem."""
        if not self.access_key:
            return {}
        return {
            "access_key": self.access_key,
            "secret_key": self.secret_access_key,
            "session_token": self.session_token,
        }


def ends_soon(expiration: str | None) -> bool:
    """Whether keys end within five minutes, or have ended.

    Args:
        expiration: ISO time; UTC where it names no zone. None never ends.
    """
    if not expiration:
        return False
    ends = datetime.fromisoformat(expiration)
    ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    return datetime.now(UTC) > ends - RENEW_BEFORE


def assume_role(role_arn: str, keys: Keys, region: str | None, endpoint_url: str | None) -> Keys:
    """Take on a role by STS; its keys are for reading and writing alike.

    Args:
        role_arn: the role.
        keys: who asks; the environment's where they are empty.
        region: of the bucket.
        endpoint_url: address of a server that is not AWS; its STS is expected there too.

    Raises:
        FileSystemError: "core 15" where the role is refused; or boto3 is not installed.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise FileSystemError(
            f"The role {role_arn} was not assumed: that needs the package boto3.",
            str(error),
            "Run !pip install boto3 in a cell, or pass temporary keys and their session_token.",
        ) from error
    try:
        client: Any = boto3.session.Session().client(
            "sts", region_name=region or "us-east-1", endpoint_url=endpoint_url, **keys.for_boto3()
        )
        answer = client.assume_role(RoleArn=role_arn, RoleSessionName=_SESSION)["Credentials"]
    except (BotoCoreError, ClientError, ValueError) as error:
        raise FileSystemError(
            f"The role {role_arn} was refused (core 15).",
            str(error),
            "The keys are wrong or may not take on this role: ask the client admin to test the credential of "
            "the volume account.",
            code="core 15",
        ) from error
    return Keys(
        answer["AccessKeyId"],
        answer["SecretAccessKey"],
        answer["SessionToken"],
        answer["Expiration"].isoformat(),
    )
