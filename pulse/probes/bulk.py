"""Many rows in one statement: the ORM would take longer to read and write them than probes to run.

To be written, PostgreSQL gets all rows as one JSON text, which is quickly made here and quickly
read there; others get one prepared statement, run for each row, which costs SQLite next to nothing.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from django.db import connections, models
from django.utils import timezone

if TYPE_CHECKING:
    Field: TypeAlias = models.Field[Any, Any]
else:
    Field = models.Field

#: Rows of one statement, at most.
BATCH: Final = 1000

Model: TypeAlias = type[models.Model]
Row: TypeAlias = Sequence[Any]
T = TypeVar("T")


def read(
    model: Model,
    using: str,
    columns: Sequence[str],
    by: str,
    values: Iterable[Any],
    **same: Any,
) -> Iterator[list[Any]]:
    """Read rows by the values of one column; one query for each ``BATCH`` of them.

    Args:
        model: Whose rows.
        using: The alias of the database.
        columns: Attribute names, a foreign key's with its ``_id``.
        by: The attribute name of the column that is looked at.
        values: What it is to have; none twice.
        same: By attribute name, what every row has to have beside.
    """
    connection = connections[using]
    fields = _fields(model, columns)
    at, *beside = _names(_fields(model, [by, *same]), connection)
    fixed = [
        field.get_db_prep_value(value, connection)
        for field, value in zip(_fields(model, same), same.values(), strict=True)
    ]
    head = (
        f"SELECT {', '.join(_names(fields, connection))} "  # noqa: S608 - names alone
        f"FROM {connection.ops.quote_name(model._meta.db_table)} "
        f"WHERE {''.join(f'{name} = %s AND ' for name in beside)}{at}"
    )
    for batch in batches(values):
        if connection.vendor == "postgresql":
            found = _fetched(connection, fields, f"{head} = ANY(%s)", [*fixed, batch])
        else:
            places = ", ".join(["%s"] * len(batch))
            found = _fetched(connection, fields, f"{head} IN ({places})", [*fixed, *batch])
        yield from found


def fetch(rows: models.QuerySet[Any], columns: Sequence[str]) -> Iterator[list[Any]]:
    """Yield columns of a selection, as ``values_list`` does at more than twice the cost.

    Args:
        rows: Of one alias of a database.
        columns: Attribute names, of its own model or across one foreign key (``job__schedule``).
    """
    statement, parameters = rows.values_list(*columns).query.sql_with_params()
    fields = []
    for column in columns:
        model, name = rows.model, column
        if "__" in column:
            relation, _, name = column.partition("__")
            model = rows.model._meta.get_field(relation).related_model
        fields += _fields(model, [name])
    yield from _fetched(connections[rows.db], fields, statement, parameters)


def update(model: Model, using: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Give many rows values of their own, by primary key; one statement for each ``BATCH``.

    Args:
        model: Whose rows.
        using: The alias of the database.
        columns: Attribute names, the primary key's first; a foreign key's with its ``_id``.
        rows: A value for each column; JSON as plain values.
    """
    connection, fields = connections[using], _fields(model, columns)
    names = _names(fields, connection)
    table, key = connection.ops.quote_name(model._meta.db_table), names[0]
    if connection.vendor == "postgresql":
        values = ", ".join(f"{name} = given.{name}" for name in names[1:])
        statement = (
            f"UPDATE {table} AS kept SET {values} FROM {_recordset(fields, connection)} "  # noqa: S608 - names alone
            f"WHERE kept.{key} = given.{key}"
        )
        _send_as_json(connection, statement, columns, rows)
        return
    values = ", ".join(f"{name} = %s" for name in names[1:])
    statement = f"UPDATE {table} SET {values} WHERE {key} = %s"  # noqa: S608 - names alone
    # The key goes last, as it does in the statement.
    turned = ((*row[1:], row[0]) for row in rows)
    _send_each(connection, statement, [*fields[1:], fields[0]], turned)


def insert(
    model: Model,
    using: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    constants: Mapping[str, Any] | None = None,
) -> None:
    """Insert many rows; one statement for each ``BATCH``.

    Args:
        model: Whose rows.
        using: The alias of the database.
        columns: As for ``update``, without the primary key.
        rows: A value for each column.
        constants: Values that all of them have; columns that are named nowhere are null.
    """
    constants = constants or {}
    connection, fields = connections[using], _fields(model, [*columns, *constants])
    names = _names(fields, connection)
    table = connection.ops.quote_name(model._meta.db_table)
    head = f"INSERT INTO {table} ({', '.join(names)})"
    if connection.vendor == "postgresql":
        record = _recordset(fields, connection)
        statement = f"{head} SELECT {', '.join(names)} FROM {record}"  # noqa: S608 - names alone
        _send_as_json(connection, statement, columns, rows, constants)
        return
    statement = f"{head} VALUES ({', '.join('%s' for _ in names)})"
    values = tuple(constants.values())
    _send_each(connection, statement, fields, ((*row, *values) for row in rows))


def _fetched(
    connection: Any, fields: Sequence[Field], statement: str, parameters: Sequence[Any]
) -> Iterator[list[Any]]:
    readers = [
        (place, reader)
        for place, field in enumerate(fields)
        if (reader := _reader(field, connection))
    ]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        found = cursor.fetchall()
    for each in found:
        row = list(each)
        for place, reader in readers:
            if row[place] is not None:
                row[place] = reader(row[place])
        yield row


def batches(rows: Iterable[T]) -> Iterator[list[T]]:
    """Cut into lists of ``BATCH`` at most."""
    taken = list(rows)
    for start in range(0, len(taken), BATCH):
        yield taken[start : start + BATCH]


def _fields(model: Model, columns: Iterable[str]) -> list[Field]:
    by_name = {field.attname: field for field in model._meta.concrete_fields}
    return [by_name[column] for column in columns]


def _names(fields: Iterable[Field], connection: Any) -> list[str]:
    return [connection.ops.quote_name(field.column) for field in fields]


def _recordset(fields: Sequence[Field], connection: Any) -> str:
    names = _names(fields, connection)
    typed = (
        f"{name} {_type_of(field, connection)}" for name, field in zip(names, fields, strict=True)
    )
    return f"json_to_recordset(%s::json) AS given({', '.join(typed)})"


def _type_of(field: Field, connection: Any) -> str:
    """Name the type of a column's values; a text's bound is for the column itself to check."""
    if isinstance(field, models.CharField | models.TextField):
        return "text"
    return str(field.db_type(connection))


def _send_as_json(
    connection: Any,
    statement: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    constants: Mapping[str, Any] | None = None,
) -> None:
    shared = constants or {}
    with connection.cursor() as cursor:
        for batch in batches(rows):
            records = [{**dict(zip(columns, row, strict=True)), **shared} for row in batch]
            # NaN is no JSON: who gave it hears of it here, not from the database.
            cursor.execute(statement, [json.dumps(records, default=str, allow_nan=False)])


def _send_each(
    connection: Any, statement: str, fields: Sequence[Field], rows: Iterable[Row]
) -> None:
    adapters = [
        (place, adapt)
        for place, field in enumerate(fields)
        if (adapt := _adapter(field, connection))
    ]
    with connection.cursor() as cursor:
        for batch in batches(rows):
            taken = [list(row) for row in batch]
            for row in taken:
                for place, adapt in adapters:
                    if row[place] is not None:
                        row[place] = adapt(row[place])
            cursor.executemany(statement, taken)


def _adapter(field: Field, connection: Any) -> Callable[[Any], Any] | None:
    """Return what makes a driver's value of a field's; None where it takes them as they are."""
    if isinstance(field, models.JSONField):
        return json.dumps
    if isinstance(field, models.DateTimeField):
        return _text_of_moments(connection)
    if isinstance(field, models.CharField | models.TextField):
        # A choice is a text to Python, but not to every driver.
        return str
    return None


def _text_of_moments(connection: Any) -> Callable[[Any], Any]:
    adapt: Callable[[Any], Any] = connection.ops.adapt_datetimefield_value
    if connection.vendor != "sqlite" or connection.timezone is not UTC:
        return adapt

    def text_of(moment: datetime) -> Any:
        # What Django makes of it, in a tenth of the time.
        return str(moment.replace(tzinfo=None)) if moment.tzinfo is UTC else adapt(moment)

    return text_of


def _reader(field: Field, connection: Any) -> Callable[[Any], Any] | None:
    """Return what makes a field's value of a driver's; None where it is one already."""
    if isinstance(field, models.JSONField):
        return _from_json
    if isinstance(field, models.DateTimeField) and connection.vendor == "sqlite":
        zone = connection.timezone
        if zone is not UTC:
            return lambda moment: timezone.make_aware(moment, zone)
        return lambda moment: moment.replace(tzinfo=UTC)
    return None


def _from_json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str | bytes) else value
