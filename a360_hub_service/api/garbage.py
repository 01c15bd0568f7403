"""Full collections of Python's garbage, when nobody waits for an answer.

A full collection walks all objects there are and keeps the interpreter for as long: some 80 ms once a service
has served a few thousand requests. Left to themselves, collections begin anywhere, also in a request.
"""

import asyncio
import gc
import logging
import time

from .handlers import Web

log = logging.getLogger("a360")

YOUNG = (2_000, 10)
"""New objects until the youngest are walked, and walks of these until those that survived one are. So what is
collected by itself is 20,000 objects at most: 10 ms."""
NEVER = 2**31 - 1
QUIET_SECONDS = 2.0
OVERDUE = 500
"""Collections of the young without a full one; after these it is done even while requests come."""


def tame() -> None:
    """Leave what is loaded by now out of all collections, and full ones to :func:`collect_when_quiet`."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*YOUNG, NEVER)


async def collect_when_quiet(
    web: Web, pause: float = 10.0, quiet: float = QUIET_SECONDS, overdue: int = OVERDUE
) -> None:
    """Collect all garbage again and again, if there were requests since, and none now.

    Parameters
    ----------
    web
        Tells when the last request came or ended.
    pause
        Seconds between two looks.
    quiet
        Seconds without a request before a collection.
    overdue
        Collections of the young after which it is not put off any more.
    """
    while True:
        await asyncio.sleep(pause)
        survived = gc.get_count()[2]
        if survived and (time.monotonic() - web.used_at > quiet or survived > overdue):
            await web.run(_collect)


def _collect() -> None:
    # Until the event loop waits again: it would be kept from ending the very step that asked for this.
    time.sleep(0.05)
    started = time.perf_counter()
    count = gc.collect()
    log.debug("collected %d objects in %.0f ms", count, (time.perf_counter() - started) * 1000)
