"""Profiles and images of workspaces, and what becomes of them on a machine or a cluster."""
