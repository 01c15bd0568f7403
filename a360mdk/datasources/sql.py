"""What a statement is, as far as the kit has to know: to let through what reads, and nothing else.

The database's own rights are what protects it. This keeps a notebook from changing it by mistake.
"""

import re
from dataclasses import dataclass
from functools import cache

_ENDS = re.compile(r"[\s;]+\Z")


class Refused(Exception):
    """A statement that is not let through; the text says why."""


@dataclass(frozen=True)
class Token:
    """A word, a quoted name, a text, a number or a sign.

    Attributes:
        kind: "word", "name" (quoted), "text" or "sign".
        text: as it was written; of names without their quotes.
    """

    kind: str
    text: str

    @property
    def word(self) -> str:
        """In capitals, for words; else nothing."""
        return self.text.upper() if self.kind == "word" else ""


_COMMENTS = r"--[^\n]*|/\*.*?\*/"
_NAMES = {
    "mysql": r"`(?:[^`]|``)*`",
    "bigquery": r"`(?:\\.|[^`\\])*`",
    "mssql": r"\[(?:[^\]]|\]\])*\]|\"(?:[^\"]|\"\")*\"",
}
_NAMES["sqlite"] = rf"{_NAMES['mssql']}|{_NAMES['mysql']}"
_STANDARD_NAME = r"\"(?:[^\"]|\"\")*\""
_PLAIN, _ESCAPED = r"'(?:[^']|'')*'", r"'(?:\\.|''|[^'\\])*'"
_DOLLARS = r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
_DOUBLE = r"\"(?:\\.|\"\"|[^\"\\])*\""
_TEXTS = {
    "postgres": rf"[eE]{_ESCAPED}|{_PLAIN}|{_DOLLARS}",
    "mysql": rf"{_ESCAPED}|{_DOUBLE}",
    "snowflake": rf"{_ESCAPED}|{_DOLLARS}",
    "bigquery": rf"'''.*?'''|\"\"\".*?\"\"\"|{_ESCAPED}|{_DOUBLE}",
}
_MORE_COMMENTS = {"mysql": r"|\#[^\n]*", "bigquery": r"|\#[^\n]*", "snowflake": r"|//[^\n]*"}


@cache
def _pattern(database_type: str) -> re.Pattern[str]:
    comments = _COMMENTS + _MORE_COMMENTS.get(database_type, "")
    texts = _TEXTS.get(database_type, _PLAIN)
    names = _NAMES.get(database_type, _STANDARD_NAME)
    return re.compile(
        rf"(?P<skip>\s+|{comments})|(?P<text>{texts})|(?P<name>{names})|(?P<word>[^\W\d][\w$]*)|(?P<sign>\d[\w.]*|.)",
        re.DOTALL,
    )


def tokens(statement: str, database_type: str) -> list[Token]:
    """Take a statement apart, without its comments."""
    found = []
    for match in _pattern(database_type).finditer(statement):
        text = match.group()
        if match["skip"] is not None:
            if database_type == "mysql" and text.startswith(("/*!", "/*M!")):
                raise Refused("comments that MySQL executes (/*! ... */) are not let through")
        elif match["text"] is not None:
            found.append(Token("text", text))
        elif match["name"] is not None:
            found.append(Token("name", text[1:-1].replace(text[-1] * 2, text[-1])))
        else:
            found.append(Token("word" if match["word"] is not None else "sign", text))
    return found


_CHANGES = {"INSERT", "UPDATE", "DELETE", "MERGE"}
_T_SQL = {
    *_CHANGES,
    *(
        "ALTER",
        "BACKUP",
        "BEGIN",
        "BULK",
        "COMMIT",
        "CREATE",
        "DBCC",
        "DECLARE",
        "DENY",
        "DROP",
        "EXEC",
        "EXECUTE",
    ),
    *("GRANT", "KILL", "RECONFIGURE", "RESTORE", "REVERT", "REVOKE", "ROLLBACK", "SAVE", "SET", "SETUSER"),
    *("SHUTDOWN", "TRUNCATE", "UPDATETEXT", "USE", "WAITFOR", "WRITETEXT"),
}
"""Reserved words that begin a statement: in Transact-SQL one may follow another without a semicolon."""


def single(statement: str | None, database_type: str) -> tuple[str, list[Token]]:
    """A statement without its last semicolon, and its parts.

    Raises:
        Refused: it is none, or several.
    """
    if not isinstance(statement, str):
        raise Refused(f"a statement is a text, not {type(statement).__name__}")
    found = tokens(statement, database_type)
    while found and found[-1].text == ";":
        found.pop()
    if not found:
        raise Refused("there is no statement")
    if Token("sign", ";") in found:
        raise Refused("only one statement at a time is let through")
    return _ENDS.sub("", statement), found


def select(statement: str | None, database_type: str) -> str:
    """The statement, if it is a query that changes nothing.

    Raises:
        Refused: it is something else.
    """
    text, found = single(statement, database_type)
    first = next((token for token in found if token.text != "("), found[0])
    if first.word not in ("SELECT", "WITH"):
        raise Refused(f"query() takes SELECT and WITH only, and this begins with {first.text}")
    refused = _T_SQL if database_type == "mssql" else set()
    before = ""
    for token in found:
        if token.word == "INTO":
            raise Refused("SELECT ... INTO writes what it finds somewhere")
        if token.word in refused or (token.word in _CHANGES and before in ("(", ")")):
            raise Refused(f"{token.word} changes the database")
        before = token.text
    return text


def command(statement: str, database_type: str) -> tuple[str, list[Token]]:
    """The statement and its parts, if it is DESCRIBE, SHOW or USE.

    Raises:
        Refused: it is something else.
    """
    text, found = single(statement, database_type)
    verb = {"DESC": "DESCRIBE"}.get(found[0].word, found[0].word)
    if verb not in ("DESCRIBE", "SHOW", "USE"):
        raise Refused(f"command() takes DESCRIBE, SHOW and USE only, and this begins with {found[0].text}")
    later = {token.word for token in found[1:]}
    if changing := sorted(later & (_T_SQL if database_type == "mssql" else {*_CHANGES, "ANALYZE"})):
        raise Refused(f"{changing[0]} does not belong into {verb}")
    return text, [Token("word", verb), *found[1:]]


KINDS = {
    "sqlite": (),
    "postgres": ("database", "schema"),
    "mysql": ("database",),
    "mssql": ("database",),
    "snowflake": ("database", "schema", "warehouse"),
    "bigquery": ("schema", "database"),
}
"""What USE switches; the first is meant when only a name is given."""
_SAME = {"mysql": {"schema": "database"}, "bigquery": {"dataset": "schema", "project": "database"}}


def use(found: list[Token], database_type: str) -> dict[str, str]:
    """What a USE switches to: names by "database", "schema" and "warehouse".

    Raises:
        Refused: roles stay as they are, and not every database knows all of it.
    """
    rest = found[1:]
    if rest and rest[0].word in ("ROLE", "SECONDARY"):
        raise Refused("roles cannot be switched: the administrator chose the role of this data source")
    known = KINDS[database_type]
    if not known:
        raise Refused("a database of sqlite is a file; connect to another data source instead")
    kind = known[0]
    if len(rest) > 1 and rest[0].word and rest[1].text != ".":
        kind = rest[0].text.lower()
        kind, rest = _SAME.get(database_type, {}).get(kind, kind), rest[1:]
    if kind not in known:
        raise Refused(f"{database_type} cannot switch the {kind}; it can switch: {', '.join(known)}")
    path = names(rest, database_type)
    if len(path) == 2 and kind in ("database", "schema") and "schema" in known:
        return {"database": path[0], "schema": path[1]}
    if len(path) != 1:
        raise Refused("USE takes one name")
    return {kind: path[0]}


def names(found: list[Token], database_type: str) -> list[str]:
    """The parts of a dotted name, written as the database stores them.

    Raises:
        Refused: it is no name.
    """
    parts, dots = found[::2], found[1::2]
    if (
        not parts
        or len(parts) != len(dots) + 1
        or any(dot.text != "." for dot in dots)
        or any(part.kind not in ("word", "name") for part in parts)
    ):
        raise Refused(
            f"{' '.join(token.text for token in found) or 'nothing'} is no name; quote unusual ones"
        )
    return [_stored(part, database_type) for part in parts]


def _stored(part: Token, database_type: str) -> str:
    if part.kind == "word" and database_type in ("postgres", "snowflake"):
        return part.text.lower() if database_type == "postgres" else part.text.upper()
    return part.text
