"""The ledger's database: SQLite beside the warehouse, or PostgreSQL by URL. Transactions that write come one by one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from crm_attribution.contracts import CONTRACTS
from crm_attribution.errors import ConfigurationError, Terminal
from crm_attribution.ledger.mark import Mark, Stand
from crm_attribution.ledger.tables import LEDGER, METADATA, TABLES, VERSION

FILE, MARK = "ledger.sqlite", "ledger.mark"
DAMAGED = "damaged"
"""Folder of what was replaced, as of the warehouse; an erasure empties it."""
BUSY_SECONDS = 30
_AT_ONCE = 500
"""Keys in one statement."""
_LOCK = 7_203_118_442_019
"""PostgreSQL: the advisory lock that makes writers come one by one."""


class LedgerFailed(Terminal):
    """The ledger's database could not do what was asked: nothing of the transaction is stored."""


class LedgerDamaged(LedgerFailed):
    """SQLite's file is not what was written there."""


_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


class Ledger:
    """One ledger, opened for each transaction.

    Args:
        directory: the data directory, where the mark stands and SQLite's file by default.
        url: of SQLAlchemy, `postgresql+psycopg2://…`; SQLite in the data directory where it is empty.
    """

    def __init__(self, directory: Path, url: str = "") -> None:
        self.file = None if url else directory / FILE
        self.mark = Mark(directory / MARK)
        self._engine = _engine(url) if url else _sqlite(directory / FILE)
        self._writer = self._engine.execution_options(writes=True)
        self._rehearsed: Book | None = None
        self._is_current = False

    @property
    def name(self) -> str:
        """For messages: no password, no host."""
        return str(self.file) if self.file else "the ledger of CRM_ATTRIBUTION_LEDGER_URL"

    def exists(self) -> bool:
        """Whether there is one: its tables with their one row of `ledger`."""
        if self.file is not None and not self.file.exists():
            return False
        with self._failing(), self._engine.connect() as connection:
            if not sa.inspect(connection).has_table(LEDGER.name):
                return False
            return connection.execute(sa.select(LEDGER.c.id)).first() is not None

    def create(self) -> None:
        """Make an empty one."""
        if self.file is not None and not self.file.exists():
            os.close(os.open(self.file, os.O_CREAT | os.O_WRONLY, 0o600))
        with self._failing(), self._writer.begin() as connection:
            _one_by_one(connection)
            METADATA.create_all(connection)
            if connection.execute(sa.select(LEDGER.c.id)).first() is None:
                row = {"id": secrets.token_hex(16), "serial": 0, "version": VERSION}
                connection.execute(LEDGER.insert().values(row))

    def replace(self) -> None:
        """Make an empty one in place of what is there; SQLite's file goes to `damaged/`."""
        if self.file is None:
            with self._failing(), self._writer.begin() as connection:
                _one_by_one(connection)
                METADATA.drop_all(connection)
        else:
            away = self.file.parent / DAMAGED / f"ledger-{secrets.token_hex(4)}"
            away.mkdir(mode=0o700, parents=True)
            for end in ("", "-wal", "-shm"):
                file = self.file.with_name(self.file.name + end)
                if file.exists():
                    file.rename(away / file.name)
        self.create()

    def _upgrade(self) -> None:
        """Give a ledger of an earlier release what it lacks, in one transaction."""
        if self._is_current:
            return
        with self._failing(), self._writer.begin() as connection:
            _one_by_one(connection)
            if int(connection.scalar(sa.select(LEDGER.c.version)) or 0) < VERSION:
                _add_what_lacks(connection)
                connection.execute(LEDGER.update().values(version=VERSION))
        self._is_current = True

    @contextmanager
    def writing(self) -> Iterator[Book]:
        """A transaction that may write; others that write wait for its end.

        Raises:
            LedgerFailed: when the database cannot (disk full, damaged, not to be reached); nothing is stored.
        """
        if self._rehearsed is not None:
            yield self._rehearsed
            return
        self._upgrade()
        with self._failing(), self._writer.begin() as connection:
            _one_by_one(connection)
            yield Book(connection)

    @contextmanager
    def reading(self) -> Iterator[Book]:
        """A transaction that reads; what it reads is of one moment."""
        if self._rehearsed is not None:
            yield self._rehearsed
            return
        self._upgrade()
        with self._failing(), self._engine.connect() as connection:
            yield Book(connection)

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """Every transaction inside becomes a part of one that is rolled back."""
        self._upgrade()
        with self._failing(), self._writer.connect() as connection:
            _one_by_one(connection)
            self._rehearsed = Book(connection)
            try:
                yield
            finally:
                self._rehearsed = None
                connection.rollback()

    def leave_no_trace(self) -> None:
        """Overwrite what was deleted, in SQLite's file and its log."""
        if self.file is None:
            return
        with self._failing(), self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            if raw is not None:
                for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.cursor().execute(statement)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            why = str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
            raise (LedgerDamaged if self._damaged(error) else LedgerFailed)(f"{self.name}: {why}") from None

    def _damaged(self, error: sa.exc.DBAPIError) -> bool:
        """Whether SQLite's file itself is at fault, and not room, rights or another process."""
        if self.file is None:
            return False
        return self.file.is_dir() or getattr(error.orig, "sqlite_errorname", None) in _DAMAGED


class Book:
    """The ledger inside a transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._serial: int | None = None
        row = connection.execute(sa.select(LEDGER)).one()
        if row.version > VERSION:
            raise ConfigurationError(
                f"the ledger has version {row.version}, this release knows {VERSION}: use the release that made it"
            )
        if row.version < VERSION:
            raise LedgerFailed("the ledger was put back while this process had it open: run the command again")
        self.id, self._began = str(row.id), int(row.serial)
        ends = (row.lost_since, row.lost_until)
        self.lost = None if None in ends else (moment(ends[0]), moment(ends[1]))
        """From when to when it is not known what was sent."""
        self.instead_of = None if row.instead_of is None else Stand(row.instead_of, int(row.instead_of_serial))
        """What the mark said when this ledger was put in force, so that a recovery that was cut off is known."""

    @property
    def stand(self) -> Stand:
        """The ledger as it is now, this transaction's own writing included."""
        return Stand(self.id, self._began if self._serial is None else self._serial)

    # --- reading

    def read(self, table: str, *where: sa.ColumnElement[bool]) -> pl.DataFrame:
        """Rows of a table by its contract."""
        of = TABLES[table]
        names = CONTRACTS[table].polars_schema.names()
        rows = self.connection.execute(sa.select(*(of.c[name] for name in names)).where(*where))
        return _frame(table, rows.fetchall())

    def read_keys(self, table: str, column: str, keys: Iterable[str], *where: sa.ColumnElement[bool]) -> pl.DataFrame:
        """Rows of a table whose `column` is one of some texts."""
        wanted = sorted(set(keys))
        of = TABLES[table].c[column]
        parts = [wanted[at : at + _AT_ONCE] for at in range(0, len(wanted), _AT_ONCE)]
        return pl.concat([_frame(table, []), *(self.read(table, of.in_(part), *where) for part in parts)])

    def count(self, table: str, *where: sa.ColumnElement[bool]) -> int:
        """How many rows match."""
        found = sa.select(sa.func.count()).select_from(TABLES[table]).where(*where)
        return int(self.connection.scalar(found) or 0)

    # --- writing

    def insert(self, table: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Add the rows whose key is not there yet, and return those.

        Raises:
            ContractViolation: when a row breaks the contract.
        """
        contract = CONTRACTS[table]
        wanted = contract.validate(contract.conform(rows))
        texts = [name for name in contract.key if contract.polars_schema[name] == pl.String]
        known = self.read_keys(table, texts[-1], wanted[texts[-1]])  # of a key of several the most particular
        new = wanted.join(known, on=list(contract.key), how="anti", maintain_order="left")
        if new.height:
            changed = self._next()
            self.connection.execute(TABLES[table].insert(), [{**row, "changed": changed} for row in _plain(new)])
        return new

    def update(self, table: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Set columns of rows that exist. All records have one shape."""
        if not records:
            return
        schema = CONTRACTS[table].polars_schema
        given = pl.DataFrame(list(records), schema={name: schema[name] for name in records[0]})
        of, key = TABLES[table], CONTRACTS[table].key
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in given.columns if name not in key}
        statement = (
            of.update()
            .where(*(of.c[name] == sa.bindparam(f"key_{name}") for name in key))
            .values(**values, changed=self._next())
        )
        rows = [{f"{'key' if n in key else 'new'}_{n}": value for n, value in row.items()} for row in _plain(given)]
        self.connection.execute(statement, rows)

    def set(self, table: str, values: Mapping[str, datetime], *where: sa.ColumnElement[bool]) -> None:
        """Set instants of all rows that match."""
        given = {name: micros(value) for name, value in values.items()}
        self.connection.execute(TABLES[table].update().where(*where).values(**given, changed=self._next()))

    def put(self, table: sa.Table, row: Mapping[str, Any]) -> None:
        """Write a row of a small table, whether its key is there or not."""
        self._next()
        key = [column == row[column.name] for column in table.primary_key]
        self.connection.execute(table.delete().where(*key))
        self.connection.execute(table.insert().values(**row))

    def recovered(self, serial: int, lost: tuple[datetime, datetime] | None, instead_of: Stand | None = None) -> None:
        """Count on from a later number, so that none is used twice, and remember what is not known."""
        self._serial = max(serial, self.stand.serial) + 1
        ends = {} if lost is None else {"lost_since": micros(lost[0]), "lost_until": micros(lost[1])}
        came = {"instead_of": instead_of.ledger, "instead_of_serial": instead_of.serial} if instead_of else {}
        self.connection.execute(LEDGER.update().values(serial=self._serial, **ends, **came))

    def _next(self) -> int:
        if self._serial is None:
            self._serial = self._began + 1
            self.connection.execute(LEDGER.update().values(serial=self._serial))
        return self._serial


def why_no_answer(url: str) -> str | None:
    """Why PostgreSQL at an address cannot be used, in one line; None where it answers."""
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except sa.exc.DBAPIError as error:
        return str(error.orig).strip().partition("\n")[0] or type(error.orig).__name__
    return None


def micros(moment: datetime) -> int:
    """Microseconds since 1970, as the ledger stores instants."""
    return int(pl.Series([moment], dtype=pl.Datetime("us", "UTC")).dt.epoch("us")[0])


def moment(micros: int) -> datetime:
    """The instant, UTC."""
    found: datetime = pl.Series([micros], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))[0]
    return found


def _frame(table: str, rows: Sequence[Any]) -> pl.DataFrame:
    return _filled(table, rows) if rows else _empty(table).clone()


@cache
def _empty(table: str) -> pl.DataFrame:
    """Most questions find no row, and making a frame of so many columns costs more than asking."""
    return _filled(table, [])


def _filled(table: str, rows: Sequence[Any]) -> pl.DataFrame:
    schema = CONTRACTS[table].polars_schema
    times = [name for name, kind in schema.items() if isinstance(kind, pl.Datetime)]
    stored = {name: pl.Int64() if name in times else kind for name, kind in schema.items()}
    frame = pl.DataFrame([tuple(row) for row in rows], schema=stored, orient="row")
    return frame.with_columns(pl.col(times).cast(pl.Datetime("us", "UTC")))


def _plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    times = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Datetime)]
    return frame.with_columns(pl.col(times).dt.epoch("us")).rows(named=True)


def _sqlite(path: Path) -> sa.Engine:
    # an address with mode=rw: opening never makes an empty file
    address = sa.URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"})
    engine = sa.create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _opened(connection: Any, _: object) -> None:
        connection.isolation_level = None  # SQLAlchemy says when a transaction begins, not the driver
        for setting in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            connection.execute(f"PRAGMA {setting}")

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _engine(url: str) -> sa.Engine:
    try:
        return sa.create_engine(url, poolclass=NullPool, hide_parameters=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigurationError(
            f"CRM_ATTRIBUTION_LEDGER_URL is no address of a database SQLAlchemy can open ({type(error).__name__}):"
            " it has the form postgresql://USER:PASSWORD@HOST/DATABASE, and pip install 'crm-attribution[postgres]'"
        ) from None


def _add_what_lacks(connection: sa.Connection) -> None:
    METADATA.create_all(connection)
    known = sa.inspect(connection)
    for table in METADATA.tables.values():
        there = {column["name"] for column in known.get_columns(table.name)}
        for column in table.columns:
            if column.name not in there:
                described = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {described}")
        indexes = {index["name"] for index in known.get_indexes(table.name)}
        for index in table.indexes:
            if index.name not in indexes:
                index.create(connection)


def _one_by_one(connection: sa.Connection) -> None:
    """Wait for other writers, and keep them out until the end of this transaction; SQLite's `BEGIN IMMEDIATE` has."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
