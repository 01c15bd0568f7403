"""Names as people write them, and what is made of them for paths, buckets and addresses."""

import hashlib
import re
import unicodedata

from ..errors import Invalid

VOLUME_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


def slugify(text: str, *, limit: int = 50) -> str:
    """Lower-case letters, digits and dashes; with a hash of the whole where it had to be cut (C10).

    Parameters
    ----------
    text
        Any text.
    limit
        Most characters of the result.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if slug and len(slug) <= limit:
        return slug
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{slug[: limit - 9].strip('-')}-{digest}".strip("-")


def check_name(field: str, value: str) -> str:
    """A display name without control characters; returned as it is.

    Raises
    ------
    Invalid
        If it holds characters that no screen shows.
    """
    if not value.strip():
        raise Invalid.field(field, "is required")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise Invalid.field(
            field, "holds control characters", hint="Type the name by hand instead of pasting it."
        )
    return value


def check_volume_name(value: str) -> str:
    """A volume name by the rules of S3 buckets (C01): 3 to 63 lower-case letters, digits and dashes."""
    if not VOLUME_NAME.fullmatch(value):
        raise Invalid.field(
            "volume_name",
            "must have 3 to 63 lower-case letters, digits and dashes, with no dash at either end",
            hint=f"Try “{slugify(value, limit=63) or 'my-volume'}”.",
        )
    return value
