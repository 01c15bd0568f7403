"""Looking after endpoints, as long as the service runs."""

import asyncio
import logging

from ..services.tending import Tending
from .handlers import Web

log = logging.getLogger("a360")


async def watch(web: Web) -> None:
    """Look at once, and again after each pause the operator chose."""
    tending = Tending(web.context)
    while True:
        try:
            await web.run(tending.look)
        except Exception:
            log.exception("could not look after the endpoints")
        await asyncio.sleep(web.context.settings.tend_seconds)
