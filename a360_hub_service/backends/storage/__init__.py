"""Where the files of data repos are: folders of this machine, or buckets of an S3 server."""

from .base import FileInfo, Listing, Storage, StorageFactory, Writer

__all__ = ["FileInfo", "Listing", "Storage", "StorageFactory", "Writer"]
