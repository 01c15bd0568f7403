"""Looking for runs whose kernel is gone, as long as the service runs."""

import asyncio
import logging

from ..services import leases
from .handlers import Web

log = logging.getLogger("a360")


async def watch(web: Web) -> None:
    """Look again and again.

    Not before one lease has passed: while the service was away, nobody could send a heartbeat.
    """
    seconds = web.context.settings.run_lease_seconds
    await asyncio.sleep(seconds)
    while True:
        try:
            if count := await web.run(leases.abandon, web.context):
                log.info("%s run(s) without a heartbeat count as failed", count)
        except Exception:
            log.exception("could not look for runs without a heartbeat")
        await asyncio.sleep(seconds / 4)
