"""The main job from start to end: `python -m examples.demo` (or `make demo`)."""
