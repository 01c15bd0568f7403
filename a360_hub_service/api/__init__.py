"""The HTTP side: parse, one call of a use case, serialise. Every route stands in ``routes.py``."""
