"""Data repos in buckets of an S3 server: AWS, or another one with an address of its own."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from ...errors import Conflict, Invalid, NotFound, OutsideFailure
from .base import CHUNK, FileInfo, Storage, Writer
from .keys import HIDDEN, PART, check_key, check_prefix
from .s3_account import S3Account, code_of, translated
from .s3_objects import S3Objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Account", "S3Storage"]

PART_BYTES = 8 * 1024**2
US_EAST_1 = "us-east-1"


class S3Storage(Storage):
    """A bucket.

    Parameters
    ----------
    account
        Where it is.
    bucket
        Its name.
    """

    in_order = True
    page_size = 1000
    """How many names one request asks for."""

    def __init__(self, account: S3Account, bucket: str) -> None:
        self.account, self.bucket = account, bucket

    @property
    def client(self) -> "S3Client":
        """The account's client."""
        client: S3Client = self.account.client()
        return client

    def translated(self) -> "contextlib.AbstractContextManager[None]":
        """A block in which the server's errors become ours."""
        return translated(self.bucket, self.account.region)

    def stat(self, key: str) -> FileInfo | None:
        """The file of this key."""
        return self.head(check_key(key))

    def head(self, key: str) -> FileInfo | None:
        """The object of this key, of the platform's own ones too."""
        with self.translated():
            try:
                found = self.client.head_object(Bucket=self.bucket, Key=key)
            except ClientError as error:
                if code_of(error) in ("404", "NoSuchKey", "NotFound"):
                    return None
                raise
        return FileInfo(key, "file", found["ContentLength"], found["LastModified"], found["ETag"].strip('"'))

    def _entries(self, folder: str, recursive: bool, after: str) -> Iterator[FileInfo]:
        prefix = f"{folder}/" if folder else ""
        request: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": self.page_size}
        if after:
            request["StartAfter"] = after
        if not recursive:
            request["Delimiter"] = "/"
        while True:
            with self.translated():
                answer = self.client.list_objects_v2(**request)
            folders = [(found["Prefix"], None) for found in answer.get("CommonPrefixes", ())]
            files = [(found["Key"], found) for found in answer.get("Contents", ())]
            for key, found in sorted([*folders, *files], key=lambda entry: entry[0]):
                if info := _shown(key, found):
                    yield info
            if not answer.get("IsTruncated"):
                return
            if files and files[-1][0].startswith(f"{HIDDEN}/"):
                # There may be many more of them: go on behind the last one there can be.
                request["StartAfter"] = f"{HIDDEN}/\U0010ffff"
                request.pop("ContinuationToken", None)
            else:
                request["ContinuationToken"] = answer["NextContinuationToken"]

    def read(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield a file by one request."""
        return self.chunks(check_key(key), offset, length, etag=etag)

    def chunks(
        self, key: str, offset: int = 0, length: int | None = None, *, etag: str | None = None
    ) -> Iterator[bytes]:
        """Yield an object, of the platform's own ones too."""
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": key}
        if length == 0:
            return
        if offset or length is not None:
            request["Range"] = f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))
        if etag is not None:
            request["IfMatch"] = f'"{etag}"'
        with self.translated():
            try:
                body = self.client.get_object(**request)["Body"]
            except ClientError as error:
                if code_of(error) == "InvalidRange":
                    return
                if code_of(error) in ("NoSuchKey", "404"):
                    raise NotFound(f"There is no file “{key}”.") from None
                if code_of(error) in ("PreconditionFailed", "412"):
                    raise Conflict(f"“{key}” has just been replaced.", hint="Try again.") from None
                raise
            with contextlib.closing(body):
                yield from body.iter_chunks(CHUNK)

    def writer(self, key: str, *, overwrite: bool = True) -> "S3Writer":
        """Begin a file."""
        self.demand_free(key, overwrite)
        return S3Writer(self, check_key(key), overwrite)

    @property
    def objects(self) -> S3Objects:
        """The contents of all versions."""
        return S3Objects(self)

    def demand_free(self, key: str, overwrite: bool) -> None:
        """See that a file of this key can be made."""
        if not overwrite and self.stat(key):
            raise exists(key)

    def delete(self, key: str) -> bool:
        """Delete a file."""
        if self.stat(key) is None:
            return False
        with self.translated():
            self.client.delete_object(Bucket=self.bucket, Key=key)
        return True

    def delete_prefix(self, prefix: str) -> int:
        """Delete all files whose keys start with the folder, a thousand at a time."""
        folder = check_key(check_prefix(prefix), field="prefix")
        count = 0
        with self.translated():
            while True:
                answer = self.client.list_objects_v2(
                    Bucket=self.bucket, Prefix=f"{folder}/", MaxKeys=self.page_size
                )
                keys = [found["Key"] for found in answer.get("Contents", ())]
                if not keys:
                    return count
                done = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
                if errors := done.get("Errors"):
                    raise OutsideFailure(
                        f"“{errors[0].get('Key')}” cannot be deleted: {errors[0].get('Message')}."
                    )
                count += sum(not key.endswith("/") for key in keys)

    def ensure_volume(self, *, create: bool) -> None:
        """Make the bucket, or see that it is there and in the account's region."""
        with self.translated():
            region = self._region()
            if not create:
                self._demand_region(region)
                return
            if region is not None:
                raise self._taken()
            request: dict[str, Any] = {"Bucket": self.bucket}
            if self.account.region != US_EAST_1:
                request["CreateBucketConfiguration"] = {"LocationConstraint": self.account.region}
            try:
                self.client.create_bucket(**request)
            except ClientError as error:
                if code_of(error) in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise self._taken() from None
                raise
            self._forget_half_uploads()

    def reach(self) -> None:
        """Ask for the bucket."""
        with self.translated():
            self._region()

    def _region(self) -> str | None:
        """The bucket's region; ``None`` if there is no such bucket, empty if the server has no regions."""
        try:
            client = self.account.client(patient=False)
            found: Any = client.get_bucket_location(Bucket=self.bucket).get("LocationConstraint")
        except ClientError as error:
            if code_of(error) in ("NoSuchBucket", "404"):
                return None
            raise
        if self.account.endpoint_url and found in (None, "", "default"):
            return ""
        return US_EAST_1 if not found else "eu-west-1" if found == "EU" else str(found)

    def _demand_region(self, region: str | None) -> None:
        if region is None:
            raise Invalid.field(
                "volume_name",
                f"there is no bucket “{self.bucket}” in the account",
                hint="Choose “new” to create it, or another name.",
            )
        if region not in ("", self.account.region):
            raise Invalid.field(
                "volume_region",
                f"the bucket “{self.bucket}” is in {region}, not in {self.account.region}",
                hint=f"Use a volume account of the region {region}.",
            )

    def _taken(self) -> Conflict:
        return Conflict(
            f"There is a bucket “{self.bucket}” already.",
            hint="Choose “existing” if it is yours, or another name: everybody's bucket names are different.",
        )

    def _forget_half_uploads(self) -> None:
        """Let the server remove what uploads left that died with their process; not every server can."""
        rule: Any = {
            "ID": "a360-half-uploads",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
        }
        with contextlib.suppress(ClientError):
            self.client.put_bucket_lifecycle_configuration(
                Bucket=self.bucket,
                LifecycleConfiguration={"Rules": [rule]},
            )

    def discard_volume(self) -> None:
        """Remove the bucket if it is empty."""
        with contextlib.suppress(BotoCoreError, ClientError):
            self.client.delete_bucket(Bucket=self.bucket)

    def check(self) -> None:
        """See that the bucket can be listed."""
        with self.translated():
            self.account.client(patient=False).list_objects_v2(Bucket=self.bucket, MaxKeys=1)

    def access(self) -> dict[str, str | None]:
        """The address, with keys that end soon if the account has a role, else with the account's (C02)."""
        account = self.account
        keys = (
            account.temporary_keys(self.bucket)
            if account.role_arn
            else {"access_key": account.access_key, "secret_access_key": account.access_secret}
        )
        return {"endpoint_url": account.endpoint_url, "region": account.region, **keys}


class S3Writer(Writer):
    """A file on its way into a bucket: one request if it is small, a multipart upload if not."""

    def __init__(self, storage: S3Storage, key: str, overwrite: bool) -> None:
        self._storage, self._client = storage, storage.client
        self._key, self._overwrite = key, overwrite
        self._object: dict[str, Any] = {"Bucket": storage.bucket, "Key": key}
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[Any] = []

    def write(self, chunk: bytes) -> None:
        """Add bytes; they are sent when a part is full."""
        self._buffer += chunk
        while len(self._buffer) >= PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send(part)

    def _send(self, part: bytes) -> None:
        with self._storage.translated():
            if not self._upload_id:
                self._upload_id = self._client.create_multipart_upload(**self._object)["UploadId"]
            number = len(self._parts) + 1
            sent = self._client.upload_part(
                **self._object, UploadId=self._upload_id, PartNumber=number, Body=part
            )
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

    def commit(self) -> FileInfo:
        """Let the file appear."""
        if self._upload_id and self._buffer:
            self._send(bytes(self._buffer))
        if not self._overwrite and self._storage.stat(self._key):
            raise exists(self._key)
        # Asked once more by the server itself: somebody may be faster than the line above.
        condition: dict[str, Any] = {} if self._overwrite else {"IfNoneMatch": "*"}
        with self._storage.translated():
            try:
                if self._upload_id:
                    self._client.complete_multipart_upload(
                        **self._object,
                        **condition,
                        UploadId=self._upload_id,
                        MultipartUpload={"Parts": self._parts},
                    )
                else:
                    self._client.put_object(**self._object, **condition, Body=bytes(self._buffer))
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                    raise exists(self._key) from None
                raise
        self._upload_id = ""
        info = self._storage.stat(self._key)
        if info is None:
            raise Conflict(f"“{self._key}” was deleted as soon as it was written.")
        return info

    def abort(self) -> None:
        """Throw away the parts that were sent."""
        self._buffer.clear()
        if self._upload_id:
            with contextlib.suppress(BotoCoreError, ClientError):
                self._client.abort_multipart_upload(**self._object, UploadId=self._upload_id)
            self._upload_id = ""


def exists(key: str) -> Conflict:
    """The error of a key that is taken."""
    return Conflict(f"“{key}” exists already.", hint="Choose another name, or allow to overwrite it.")


def _shown(key: str, found: Any) -> FileInfo | None:
    """What to show of a key: nothing of markers of folders, of what is not finished, or of versions."""
    name = key.rstrip("/").rpartition("/")[2]
    if name.endswith(PART) or not name or key.partition("/")[0] == HIDDEN:
        return None
    if found is None:
        return FileInfo(key.removesuffix("/"), "directory", None, None)
    if key.endswith("/"):
        return None
    return FileInfo(key, "file", found["Size"], found["LastModified"], found["ETag"].strip('"'))
