"""Uploads with metadata of the user's own, which pyarrow cannot send."""

import hashlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from a360mdk.exceptions import FileSystemError
from a360mdk.transfer import Stored, progress

# What pyarrow sends as headers of the object.
STANDARD = frozenset(
    {
        "ACL",
        "Cache-Control",
        "Content-Disposition",
        "Content-Encoding",
        "Content-Language",
        "Content-Type",
        "Expires",
    }
)


def upload(
    source: BinaryIO,
    size: int,
    bucket: str,
    key: str,
    metadata: Mapping[str, str],
    connection: Mapping[str, Any],
    label: str,
) -> Stored:
    """Upload with boto3, in parts of 8 MB.

    Args:
        source: readable.
        size: its bytes, for the progress bar.
        bucket, key: where to.
        metadata: names and values to keep with the object.
        connection: keyword arguments of the boto3 client.
        label: shown beside the progress bar.

    Raises:
        FileSystemError: boto3 is not installed, or the store refuses.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise FileSystemError(
            f"{key} was not uploaded: metadata needs the package boto3.",
            str(error),
            "Run !pip install boto3 in a cell, or leave metadata out.",
        ) from error
    # Newer checksum defaults of boto3 break uploads to some stores that are not AWS.
    config = Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required"
    )
    client: Any = boto3.session.Session().client("s3", config=config, **connection)
    reader = _HashingReader(source)
    try:
        with progress(size, label) as advance:
            client.upload_fileobj(
                reader, bucket, key, ExtraArgs={"Metadata": dict(metadata)}, Callback=advance
            )
    except (BotoCoreError, ClientError) as error:
        raise OSError(str(error)) from error
    return Stored(reader.size, reader.digest.hexdigest())


class _HashingReader:
    """Readable once from start to end; knows size and checksum of what went through."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, count: int = -1) -> bytes:
        chunk = self._source.read(count)
        self.digest.update(chunk)
        self.size += len(chunk)
        return chunk
