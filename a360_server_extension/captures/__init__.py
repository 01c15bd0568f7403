"""Captures: notebooks that run headless, as runs of experiments, whether or not a browser is open."""
