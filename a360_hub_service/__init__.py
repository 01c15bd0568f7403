"""The A360 hub service: projects, data repos, models, review, packaging, publishing and workspaces."""
