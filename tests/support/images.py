"""Where the tests keep environments of images."""

import os
from pathlib import Path

# Environments of images are whole or absent and keyed by content: all tests of a machine share them.
IMAGES = Path(os.environ.get("A360_TEST_IMAGES") or Path(__file__).parents[2] / ".a360" / "images")
