"""Whether a database answers, by the very code that notebooks connect with."""

import threading
from typing import Any

from a360mdk.datasources import engines
from a360mdk.datasources.login import Login
from a360mdk.exceptions import DataSourceError

from ...errors import FieldError, Invalid, OutsideFailure

SECONDS = 20.0
"""Longest a test takes, whatever a driver makes of its own limits."""


class DatabaseCheck:
    """A test of one data source.

    Raises
    ------
    Invalid
        If the service lacks the driver.
    """

    def __init__(self, database_type: str, inputs: dict[str, Any], *, seconds: float = SECONDS) -> None:
        try:
            engines.need_driver(database_type)
        except DataSourceError:
            extra = engines.DRIVERS[database_type].extra
            raise Invalid(
                f"The service cannot test data sources of type {database_type}: the driver is not installed.",
                hint=f"Ask the operator to install the extra “{extra}” (pip install 'a360[{extra}]'). "
                "Notebooks can use the data source without it.",
                errors=[FieldError("service", f"needs the extra {extra} where the service runs")],
            ) from None
        self._login = Login.from_document({"datasource_type": database_type, **inputs})
        self._seconds = seconds

    def __call__(self) -> None:
        """Connect and ask for one value.

        Raises
        ------
        OutsideFailure
            Why that failed, or that it took too long.
        """
        found: list[str] = []
        thread = threading.Thread(target=self._try, args=(found,), name="data-source-test", daemon=True)
        thread.start()
        thread.join(self._seconds)
        if thread.is_alive():
            raise OutsideFailure(
                f"{self._login.place} did not answer within {self._seconds:.0f} s.",
                hint="Check its address, and that the service may reach it.",
            )
        if found:
            raise OutsideFailure(found[0])

    def _try(self, found: list[str]) -> None:
        try:
            engine = engines.make_engine(self._login, patient=False)
            try:
                engines.ping(engine)
            finally:
                engine.dispose()
        except DataSourceError as error:
            found.append(f"{error.what} {error.why}")
        except Exception as error:  # each driver has errors of its own; their frames would hold secrets
            found.append(engines.reason(error, self._login.secrets))
