"""What a store says when it refuses, in words a person can act on."""

import errno

from a360mdk.exceptions import FileSystemError

# As pyarrow and boto3 spell them; compared without regard to case.
_CREDENTIALS = (
    "access_denied",
    "accessdenied",
    "invalid_access_key",
    "invalidaccesskeyid",
    "signature_does_not_match",
    "signaturedoesnotmatch",
    "invalid_client_token",
    "invalidclienttokenid",
    "invalidtoken",
    "expired_token",
    "expiredtoken",
    "unable to locate credentials",
    "http response code 403",
    "http status 403",
)
_PLACE = (
    "no_such_bucket",
    "nosuchbucket",
    "no_such_key",
    "nosuchkey",
    "permanentredirect",
    "path does not exist",
    "resource_not_found",
    "http response code 301",
    "http status 301",
)


def storage_error(error: OSError, subject: str, bucket: str, local: bool) -> FileSystemError:
    """Make the FileSystemError for an error of pyarrow or of the operating system.

    Args:
        error: what was raised.
        subject: key or folder it was about.
        bucket: folder or bucket of the data repo.
        local: whether it is a folder on this machine.
    """
    text = str(error)
    said = text.lower()
    if isinstance(error, FileNotFoundError) or any(mark in said for mark in _PLACE):
        return FileSystemError(
            f"{subject} is not there (code 100).",
            f"There is no such path in {bucket}" + (f": {text}" if not local else "."),
            "Check the name with list_datasets()" + ("." if local else ", and the region of the bucket."),
            code="code 100",
        )
    if isinstance(error, PermissionError) or any(mark in said for mark in _CREDENTIALS):
        return FileSystemError(
            f"The storage of this data repo refuses access to {subject} (core 15).",
            text,
            "The credentials are wrong or have expired: ask the client admin to test the credential of the "
            "volume account."
            if not local
            else f"This user may not read or write {bucket}.",
            code="core 15",
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FileSystemError(
            f"{subject} was not written: the storage is full.",
            text,
            "Delete data that is no longer needed, or ask the operator for more space.",
        )
    return FileSystemError(
        f"The storage of this data repo failed on {subject}.",
        text,
        "Try again; if it lasts, tell the operator of the platform.",
    )
