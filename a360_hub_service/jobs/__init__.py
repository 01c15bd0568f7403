"""Durable work, packaging and publishing, with a log that any number of viewers can replay."""
