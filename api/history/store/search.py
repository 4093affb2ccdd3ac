"""Full-text search of messages: the same words on both engines, FTS5 on SQLite and a tsvector on PostgreSQL.

The words are made here and not by the engines, so that both find the same: letters and digits without case and accents,
and each ideogram or syllable of a script that is written without spaces. Every word of a query is the beginning of a
word of one message. The index is no table of the metadata: the engines have nothing in common there.
"""

import hashlib
import re
import unicodedata
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Executable, MetaData, Select, String, Table, Text, func, select, text
from sqlalchemy.types import UserDefinedType

from api._kit.jobs import JobFailed
from api._kit.store import PLATFORM, Database, Transaction, Write

LONGEST: Final = 60
"""Characters of a word that count."""
STEP: Final = 256
"""Pages of SQLite's index that are merged in one transaction."""
_ALONE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_ALONE}]|[^\W_{_ALONE}]+")


class _Vector(UserDefinedType[str]):
    """Words with spaces between them, as PostgreSQL keeps them: none of its parsers has a say in what a word is."""

    cache_ok = True

    def bind_expression(self, bindvalue: Any) -> Any:
        return func.array_to_tsvector(func.string_to_array(bindvalue, " "))


def _index(words: Any, *more: Column[Any]) -> Table:
    names = ("organization_id", "conversation_id", "message_id")
    return Table("message_words", MetaData(), *more, Column("words", words), *(Column(n, String(64)) for n in names))


INDEX: Final = {"sqlite": _index(Text(), Column("rowid", BigInteger)), "postgresql": _index(_Vector())}


def words(said: str) -> list[str]:
    plain = "".join(c for c in unicodedata.normalize("NFKD", said.casefold()) if not unicodedata.combining(c))
    return [word[:LONGEST] for word in _WORD.findall(unicodedata.normalize("NFC", plain))]


def _number(message_id: str) -> int:
    """The message's row in SQLite's index, which finds rows quickly by their numbers only."""
    return int.from_bytes(hashlib.sha256(message_id.encode()).digest()[:8]) >> 1


def row(dialect: str, conversation_id: str, message_id: str, said: str) -> dict[str, Any]:
    """The values that make a message findable."""
    values: dict[str, Any] = {"rowid": _number(message_id)} if dialect == "sqlite" else {}
    return values | {"words": " ".join(words(said)), "conversation_id": conversation_id, "message_id": message_id}


def dropping(tx: Transaction, dialect: str, message_ids: list[str]) -> Executable:
    """The statement that takes messages out."""
    index = INDEX[dialect]
    if dialect == "sqlite":
        return tx.delete(index).where(index.c.rowid.in_([_number(id) for id in message_ids]))
    return tx.delete(index).where(index.c.message_id.in_(message_ids))


def matching(tx: Transaction, dialect: str, query: str, wanted: str) -> Select[Any] | None:
    """The column `wanted` of messages in which every word of the query begins a word; None for a query without any."""
    found, index = words(query), INDEX[dialect]
    if not found:
        return None
    if dialect == "sqlite":
        condition, asked = text("message_words MATCH :asked"), " AND ".join(f'"{word}"*' for word in found)
    else:
        condition, asked = text("words @@ CAST(:asked AS tsquery)"), " & ".join(f"'{word}':*" for word in found)
    own = index.c.organization_id == tx.organization_id
    return select(index.c[wanted]).where(own, condition.bindparams(asked=asked))


async def tidy(database: Database) -> None:
    """Remove what was deleted from SQLite's files: words from the index's old pages, and everything from the log.

    PostgreSQL's vacuum does the same there. Raises JobFailed, to be tried again.
    """
    if database.dialect != "sqlite":
        return
    step = -STEP

    def merge(tx: Write) -> int:
        before = tx.scalar(text("SELECT total_changes()"))
        tx.run(text(f"INSERT INTO message_words(message_words, rank) VALUES('merge', {step})"))
        return int(tx.scalar(text("SELECT total_changes()")) - before)

    while await database.write(PLATFORM, merge) > 1:
        step = STEP
    async with database.engine.connect() as connection:
        raw = (await connection.get_raw_connection()).driver_connection
        async with raw.execute("PRAGMA wal_checkpoint(TRUNCATE)") as answer:  # type: ignore[union-attr]
            busy, *_ = await answer.fetchone()
    if busy:
        raise JobFailed("Somebody was reading all the while.", again=True)
