"""Data sources: databases outside the platform, read with the credentials that the service keeps.

Nothing of SQLAlchemy or of a driver is imported before a connection is made.
"""
