"""A simulated S3 server that checks keys and permissions, unlike the plain one, which takes any key."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import requests

from tests.support.s3 import REGION, S3Server, moto_server

EVERYTHING = "*"


class Guarded:
    """The server with two users: one that stays, and one whose keys can be taken away.

    Attributes
    ----------
    role
        A role that may use S3, which ``beggar`` may take on and has nothing else.
    """

    def __init__(self, server: S3Server) -> None:
        iam = _client(server, "iam")
        self.admin, self.user = _user(server, iam, EVERYTHING), _user(server, iam, EVERYTHING)
        self.beggar = _user(server, iam, "sts:AssumeRole")
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        name = f"role-{secrets.token_hex(4)}"
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy(trust))
        allowed = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
        iam.put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=_policy(allowed))
        self.role = str(made["Role"]["Arn"])

    def revoke(self) -> None:
        """Take the user's keys away."""
        client = _client(self.admin, "iam")
        for found in client.list_users()["Users"]:
            for key in client.list_access_keys(UserName=found["UserName"])["AccessKeyMetadata"]:
                if key["AccessKeyId"] == self.user.access_key:
                    client.delete_access_key(UserName=found["UserName"], AccessKeyId=key["AccessKeyId"])


@contextmanager
def guarded_server() -> Iterator[Guarded]:
    """A server for the time of a block; the simulation in this process checks keys that long."""
    with moto_server() as server:
        made = Guarded(server)
        _check_from(server, 0)
        try:
            yield made
        finally:
            _check_from(server, float("inf"))


def _check_from(server: S3Server, requests_made: float) -> None:
    answer = requests.post(f"{server.url}/moto-api/reset-auth", data=str(requests_made), timeout=10)
    answer.raise_for_status()


def _client(server: S3Server, service: str) -> Any:
    return boto3.session.Session().client(
        service,
        region_name=REGION,
        endpoint_url=server.url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


def _policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _user(server: S3Server, iam: Any, action: str) -> S3Server:
    name = f"user-{secrets.token_hex(4)}"
    iam.create_user(UserName=name)
    allowed = {"Effect": "Allow", "Action": action, "Resource": "*"}
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=_policy(allowed))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return S3Server(server.url, key["AccessKeyId"], key["SecretAccessKey"])
