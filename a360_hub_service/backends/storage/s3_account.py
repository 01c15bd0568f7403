"""Accounts of S3 servers: how they are reached, and what their errors mean."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ...errors import A360Error, Invalid, OutsideFailure

ACCESS_SECONDS = 3600
_DENIED = (
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "403",
)
_ELSEWHERE = (
    "PermanentRedirect",
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidLocationConstraint",
    "InvalidRegionName",
)


@dataclass(frozen=True, slots=True)
class S3Account:
    """Where an S3 server is and the keys for it; ``endpoint_url`` and ``role_arn`` may be ``None``."""

    region: str
    access_key: str
    access_secret: str
    endpoint_url: str | None = None
    role_arn: str | None = None

    @classmethod
    def of(cls, settings: dict[str, Any], keys: dict[str, str]) -> "S3Account":
        """The account of a credential's settings and keys."""
        return cls(
            region=settings["region"],
            access_key=keys["access_key"],
            access_secret=keys["access_secret"],
            endpoint_url=settings.get("endpoint_url"),
            role_arn=settings.get("role_arn"),
        )

    def __repr__(self) -> str:
        return f"S3Account({self.endpoint_url or 'AWS'}, {self.region})"

    def client(self, service: str = "s3", *, patient: bool = True) -> Any:
        """A boto3 client; thread-safe, and shared by everybody who uses the account.

        Parameters
        ----------
        service
            AWS's name of it.
        patient
            Whether to wait for slow answers and to try again; not where somebody wants to know whether there
            is a server at all.

        Raises
        ------
        Invalid
            If nothing could be called at the account's address or in its region.
        """
        try:
            return _client(self, service, patient)
        except ValueError as error:
            raise Invalid.field("endpoint_url", str(error), hint="Correct the credential.") from error

    def check(self) -> None:
        """See that the keys are good and the server answers.

        Raises
        ------
        A360Error
            Saying what is wrong.
        """
        with translated("", self.region):
            self.client(patient=False).list_buckets()

    def temporary_keys(self, volume_name: str) -> dict[str, str]:
        """Keys for one bucket that end in an hour, by taking on the account's role (C02)."""
        resources = [f"arn:aws:s3:::{volume_name}", f"arn:aws:s3:::{volume_name}/*"]
        policy = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": resources}],
        }
        with translated(volume_name, self.region):
            found = self.client("sts").assume_role(
                RoleArn=self.role_arn,
                RoleSessionName="a360",
                Policy=json.dumps(policy),
                DurationSeconds=ACCESS_SECONDS,
            )["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            "session_token": found["SessionToken"],
            "expiration": found["Expiration"].isoformat(),
        }


@lru_cache(maxsize=64)
def _client(account: S3Account, service: str, patient: bool) -> Any:
    settings: dict[str, Any] = {
        "connect_timeout": 5 if patient else 3,
        "read_timeout": 30 if patient else 10,
        "retries": {"mode": "standard", "total_max_attempts": 3 if patient else 1},
        "max_pool_connections": 32,
    }
    if account.endpoint_url:
        # Other servers break on the checksums boto3 adds by default, and have no address for each bucket.
        settings |= {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},
        }
    # A session of its own: the default one is not safe to make clients from in several threads.
    return boto3.session.Session().client(
        service,  # type: ignore[call-overload]
        region_name=account.region,
        endpoint_url=account.endpoint_url,
        aws_access_key_id=account.access_key,
        aws_secret_access_key=account.access_secret,
        config=Config(**settings),
    )


def code_of(error: ClientError) -> str:
    """The server's code of an error."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextlib.contextmanager
def translated(bucket: str, region: str) -> Iterator[None]:
    """Say in our words what an S3 server says in its own."""
    try:
        yield
    except ClientError as error:
        raise _meaning(error, bucket, region) from error
    except BotoCoreError as error:
        raise OutsideFailure(
            f"The S3 server does not answer: {error}",
            hint="Test the credential in the list of credentials; check its address and region.",
        ) from error


def _meaning(error: ClientError, bucket: str, region: str) -> A360Error:
    code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
    where = f" on the bucket “{bucket}”" if bucket else ""
    if code in _ELSEWHERE:
        return Invalid.field(
            "volume_region",
            f"{region} is not the region of the bucket “{bucket}”" if bucket else f"{region} is not right",
            hint="Use a volume account of the bucket's region.",
        )
    if code in _DENIED:
        return OutsideFailure(
            f"The S3 server refuses the keys of the account{where} ({code}).",
            hint="Ask an administrator to test the credential; it needs every permission on its buckets.",
        )
    if code in ("NoSuchBucket", "404"):
        return OutsideFailure(
            f"There is no bucket “{bucket}” any more.", hint="Ask an administrator about it."
        )
    return OutsideFailure(f"The S3 server cannot do this{where}: {message or code}.", hint="Try again later.")
