"""Contents of a bucket: sent once, and copied by the server."""

import contextlib
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from ...errors import Conflict, NotFound
from .base import FileInfo
from .keys import HIDDEN, check_key
from .objects import ContentWriter, Kept, Objects, digest, object_key
from .s3_account import code_of

if TYPE_CHECKING:
    from .s3 import S3Storage

PART_BYTES = 8 * 1024**2
# A server copies at most 5 GB in one request; several parts at once are faster long before.
_COPY = TransferConfig(multipart_threshold=1024**3, multipart_chunksize=256 * 1024**2, max_concurrency=8)
_CHANGED = ("PreconditionFailed", "412")
_MISSING = ("404", "NoSuchKey", "NotFound")


class S3Objects(Objects):
    """Contents under the hidden prefix of a bucket."""

    def __init__(self, storage: "S3Storage") -> None:
        self.storage: S3Storage = storage

    def size(self, sha256: str) -> int | None:
        """Bytes of a content."""
        found = self.storage.head(object_key(sha256))
        return found.size if found else None

    def read(self, sha256: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a content."""
        return self.storage.chunks(object_key(sha256), offset, length)

    def writer(self) -> "S3ContentWriter":
        """Begin a content."""
        return S3ContentWriter(self)

    def place(
        self, sha256: str, key: str, *, overwrite: bool = True, prepared: str | None = None
    ) -> FileInfo:
        """Have the server copy a content to a key."""
        self.storage.demand_free(check_key(key), overwrite)
        try:
            self.copy(object_key(sha256), key)
        except NotFound:
            raise NotFound(f"The data repo does not hold the content {sha256} any more.") from None
        info = self.storage.head(key)
        if info is None:
            raise Conflict(f"“{key}” was deleted as soon as it was written.")
        return info

    def keep(self, key: str) -> tuple[Kept, FileInfo]:
        """Read what an object holds, and have the server copy it."""
        info = self.storage.stat(key)
        if info is None:
            raise NotFound(f"There is no file “{key}”.")
        kept = digest(self.storage.read(key, etag=info.etag))
        if self.size(kept.sha256) is None:
            self.copy(key, object_key(kept.sha256), etag=info.etag)
        return kept, info

    def copy(self, source: str, target: str, *, etag: str | None = None) -> None:
        """Have the server copy an object.

        Raises
        ------
        NotFound
            If there is no such object.
        Conflict
            If it is another version by now.
        """
        bucket = self.storage.bucket
        extra = {"CopySourceIfMatch": f'"{etag}"'} if etag else {}
        with self.storage.translated():
            try:
                self.storage.client.copy(
                    {"Bucket": bucket, "Key": source}, bucket, target, ExtraArgs=extra, Config=_COPY
                )
            except ClientError as error:
                if code_of(error) in _CHANGED:
                    raise Conflict(f"“{source}” has just been replaced.", hint="Try again.") from None
                if code_of(error) in _MISSING:
                    raise NotFound(f"There is no file “{source}”.") from None
                raise


class S3ContentWriter(ContentWriter):
    """A content on its way into a bucket.

    A small one is one request, under its name. The name of a large one is known when most of it is sent, so
    it gets one of its own first, and the server copies it.
    """

    def __init__(self, objects: S3Objects) -> None:
        super().__init__()
        self._objects, self._storage = objects, objects.storage
        self._buffer = bytearray()
        self._object: dict[str, Any] = {
            "Bucket": self._storage.bucket,
            "Key": f"{HIDDEN}/incoming/{secrets.token_hex(16)}",
        }
        self._upload_id = ""
        self._parts: list[Any] = []

    def _write(self, chunk: bytes) -> None:
        self._buffer += chunk
        while len(self._buffer) > PART_BYTES:
            part = bytes(memoryview(self._buffer)[:PART_BYTES])
            del self._buffer[:PART_BYTES]
            self._send(part)

    def _send(self, part: bytes) -> None:
        client = self._storage.client
        with self._storage.translated():
            if not self._upload_id:
                self._upload_id = client.create_multipart_upload(**self._object)["UploadId"]
            number = len(self._parts) + 1
            sent = client.upload_part(**self._object, UploadId=self._upload_id, PartNumber=number, Body=part)
        self._parts.append({"ETag": sent["ETag"], "PartNumber": number})

    def _keep(self, kept: Kept) -> None:
        client, key = self._storage.client, object_key(kept.sha256)
        known = self._objects.size(kept.sha256) is not None
        if known:
            self.abort()
        elif not self._upload_id:
            with self._storage.translated():
                client.put_object(Bucket=self._storage.bucket, Key=key, Body=bytes(self._buffer))
        else:
            self._send(bytes(self._buffer))
            with self._storage.translated():
                client.complete_multipart_upload(
                    **self._object, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts}
                )
            self._upload_id = ""
            try:
                self._objects.copy(self._object["Key"], key)
            finally:
                with contextlib.suppress(BotoCoreError, ClientError):
                    client.delete_object(**self._object)
        self._buffer.clear()

    def abort(self) -> None:
        """Throw away the parts that were sent."""
        self._buffer.clear()
        if self._upload_id:
            with contextlib.suppress(BotoCoreError, ClientError):
                self._storage.client.abort_multipart_upload(**self._object, UploadId=self._upload_id)
            self._upload_id = ""
