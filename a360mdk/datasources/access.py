"""The data sources of the user's groups, as the service gives them."""

from typing import TYPE_CHECKING, Any

from a360mdk.client import Client
from a360mdk.datasources import engines
from a360mdk.datasources.login import Login, type_named
from a360mdk.exceptions import DataSourceError

if TYPE_CHECKING:
    import pandas

    from a360mdk.datasource import DataSource

COLUMNS = ["name", "description", "datasource_type", "database", "schema", "warehouse"]


def listing(client: Client, datasource_type: str | None) -> "pandas.DataFrame":
    """What the user may connect to, of one type or of all."""
    import pandas

    return pandas.DataFrame(_documents(client, datasource_type), columns=COLUMNS)


def connect(client: Client, name: str, datasource_type: str) -> "DataSource":
    """Fetch the credentials of a data source, and connect.

    Raises:
        DataSourceError: there is none of this name and type, its driver is missing, or it does not answer.
    """
    from a360mdk.datasource import DataSource

    documents = _documents(client, None)
    wanted = type_named(datasource_type)
    of_type = [document for document in documents if document["datasource_type"] == wanted]
    found = next((document for document in of_type if document["name"] == name), None)
    if found is None:
        raise _missing(name, wanted, documents)
    engines.need_driver(wanted)
    login = Login.from_document(
        client.post(f"/data-sources/{found['id']}/connect", DataSourceError, repeatable=True)
    )
    source = DataSource.from_login(login, name)
    source.check()
    return source


def _documents(client: Client, datasource_type: str | None) -> list[dict[str, Any]]:
    query = {} if datasource_type is None else {"type": type_named(datasource_type)}
    return list(client.items("/data-sources", DataSourceError, query))


def _missing(name: str, wanted: str, documents: list[dict[str, Any]]) -> DataSourceError:
    other = [document["datasource_type"] for document in documents if document["name"] == name]
    names = [document["name"] for document in documents if document["datasource_type"] == wanted]
    why = f"{name} is of type {other[0]}." if other else f"There are: {', '.join(names) or 'none'}."
    return DataSourceError(
        f"Your groups have no data source {name!r} of type {wanted}.",
        why,
        "a360ai.list_datasources() lists them; the client admin gives them to groups.",
        code="not-found",
    )
