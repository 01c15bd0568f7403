"""``python -m a360_hub_service.cli`` is ``a360``."""

import sys

from . import main

sys.exit(main())
