"""Statements that every save carries out: compiled once, and handed to the driver as they are.

SQLAlchemy makes them, so that there is one text for both databases. It also would carry them
out, at three to ten times the cost of the statement itself: a save has fifteen.
"""

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError

Values = Mapping[str, Any]
_Process = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement for one database and one set of parameters."""

    text: str
    names: tuple[str, ...] | None
    """Of the parameters, where the driver wants them in order."""
    constants: Values
    """Parameters that the statement itself gives."""
    given: tuple[tuple[str, _Process], ...]
    """What is done with parameters first."""
    taken: tuple[tuple[int, _Process], ...]
    """What is done with columns of a result."""
    row: Callable[[Sequence[Any]], Any]

    def parameters(self, values: Values) -> Any:
        """Return *values* as the driver wants them."""
        if self.given or self.constants:
            values = {**self.constants, **values}
            for name, process in self.given:
                values[name] = process(values[name])
        return values if self.names is None else [values[name] for name in self.names]

    def read(self, found: Sequence[Any]) -> Any:
        """Return a row of the driver's as the statement's."""
        if self.taken:
            found = list(found)
            for place, process in self.taken:
                found[place] = process(found[place])
        return self.row(found)


class Prepared:
    """One statement. May be shared by threads: what it remembers can be made anew."""

    def __init__(self, statement: Insert | Update | Select[Any]) -> None:
        self._statement = statement
        self._compiled: dict[tuple[str, tuple[str, ...]], _Compiled] = {}

    def first(self, connection: Connection, values: Values) -> Any:
        """Return the first row, with its columns by place and by name; or None."""
        if _is_watched(connection):
            return connection.execute(self._statement, values).first()
        compiled = self._for(connection, values)
        cursor = _execute(connection, compiled, values)
        found = cursor.fetchone()
        cursor.close()
        return None if found is None else compiled.read(found)

    def run(self, connection: Connection, values: Values) -> int:
        """Carry out a change; return how many rows it changed."""
        if _is_watched(connection):
            return int(connection.execute(self._statement, values).rowcount)
        cursor = _execute(connection, self._for(connection, values), values)
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def _for(self, connection: Connection, values: Values) -> _Compiled:
        key = connection.dialect.name, tuple(values)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = _compile(self._statement, connection.dialect, key[1])
        return compiled


def _is_watched(connection: Connection) -> bool:
    """Whether somebody listens to all statements: they shall hear of these, too."""
    return bool(connection.engine.dispatch.before_cursor_execute)


def _compile(
    statement: Insert | Update | Select[Any], dialect: Dialect, names: tuple[str, ...]
) -> _Compiled:
    inserts = isinstance(statement, Insert)
    made: Any = statement.compile(dialect=dialect, column_keys=list(names) if inserts else None)
    given = {name: bind.type for name, bind in made.binds.items()}
    columns = list(statement.selected_columns) if isinstance(statement, Select) else []
    process = [
        column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
    ]
    return _Compiled(
        text=str(made),
        names=tuple(made.positiontup) if made.positional else None,
        constants={name: value for name, value in made.params.items() if name not in names},
        given=tuple(
            (name, processor)
            for name, type_ in given.items()
            if (processor := type_.dialect_impl(dialect).bind_processor(dialect)) is not None
        ),
        taken=tuple((place, one) for place, one in enumerate(process) if one is not None),
        row=_row_of([column.key or "" for column in columns]),
    )


def _row_of(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    # The first of two columns of one name has it, as with SQLAlchemy's rows.
    kind: Any = namedtuple("kind", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = kind._make
    return make


def _execute(connection: Connection, compiled: _Compiled, values: Values) -> Any:
    driver: Any = connection.connection.dbapi_connection
    parameters = compiled.parameters(values)
    try:
        return driver.execute(compiled.text, parameters)
    except connection.dialect.loaded_dbapi.Error as error:
        gone = connection.dialect.is_disconnect(error, driver, None)
        if gone:
            connection.invalidate(error)
        raise DBAPIError.instance(
            compiled.text,
            parameters,
            error,
            connection.dialect.loaded_dbapi.Error,
            connection_invalidated=gone,
            dialect=connection.dialect,
        ) from error
