"""Asking the replicas when keys were used, as long as the service runs."""

import asyncio
import logging

from ..services import key_use
from .handlers import Web

log = logging.getLogger("a360")


async def watch(web: Web) -> None:
    """Ask again and again."""
    while True:
        await asyncio.sleep(web.context.settings.key_use_seconds)
        try:
            await web.run(key_use.collect, web.context)
        except Exception:
            log.exception("could not find out when keys were used")
