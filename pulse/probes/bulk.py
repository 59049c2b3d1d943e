"""Many rows in one statement: the ORM would take longer to write results than probes to run."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from django.db import connections, models

if TYPE_CHECKING:
    Field: TypeAlias = models.Field[Any, Any]
else:
    Field = models.Field

#: Rows of one statement, at most.
BATCH: Final = 1000

Row = Sequence[Any]


def update(
    model: type[models.Model], using: str, columns: Sequence[str], rows: Iterable[Row]
) -> None:
    """Give many rows values of their own, by primary key; one statement for each ``BATCH``.

    Args:
        model: Whose rows.
        using: The alias of the database.
        columns: Attribute names, the primary key's first; a foreign key's with its ``_id``.
        rows: A value for each column; JSON as plain values.
    """
    connection = connections[using]
    fields = [_field_of(model, column) for column in columns]
    write = _update_unnested if connection.vendor == "postgresql" else _update_each
    taken = list(rows)
    for start in range(0, len(taken), BATCH):
        write(connection, model, fields, taken[start : start + BATCH])


def _field_of(model: type[models.Model], column: str) -> Field:
    return next(field for field in model._meta.concrete_fields if field.attname == column)


def _update_each(
    connection: Any,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: Sequence[Row],
) -> None:
    """Prepare one statement and run it for each row, which costs SQLite next to nothing."""
    quote = connection.ops.quote_name
    values = ", ".join(f"{quote(field.column)} = %s" for field in fields[1:])
    table, key = quote(model._meta.db_table), quote(fields[0].column)
    statement = f"UPDATE {table} SET {values} WHERE {key} = %s"  # noqa: S608 - names alone
    columns = _adapted(connection, fields, rows)
    with connection.cursor() as cursor:
        cursor.executemany(statement, list(zip(*columns[1:], columns[0], strict=True)))


def _update_unnested(
    connection: Any,
    model: type[models.Model],
    fields: Sequence[Field],
    rows: Sequence[Row],
) -> None:
    """Send each column as one array: one round trip, and one plan whatever the number of rows."""
    quote = connection.ops.quote_name
    names = [quote(field.column) for field in fields]
    values = ", ".join(
        f"{name} = given.{name}{'::jsonb' if isinstance(field, models.JSONField) else ''}"
        for name, field in zip(names[1:], fields[1:], strict=True)
    )
    arrays = ", ".join(f"%s::{_array_type(field, connection)}[]" for field in fields)
    statement = (
        f"UPDATE {quote(model._meta.db_table)} AS kept SET {values} "  # noqa: S608 - names alone
        f"FROM unnest({arrays}) AS given({', '.join(names)}) "
        f"WHERE kept.{names[0]} = given.{names[0]}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, _adapted(connection, fields, rows))


def _adapted(connection: Any, fields: Sequence[Field], rows: Sequence[Row]) -> list[list[Any]]:
    """Turn rows into columns, of values that the driver takes."""
    columns = []
    for field, column in zip(fields, zip(*rows, strict=True), strict=True):
        adapt = _adapter(field, connection)
        columns.append([value if value is None else adapt(value) for value in column])
    return columns


def _adapter(field: Field, connection: Any) -> Callable[[Any], Any]:
    if isinstance(field, models.JSONField):
        return json.dumps
    if isinstance(field, models.DateTimeField):
        adapt: Callable[[Any], Any] = connection.ops.adapt_datetimefield_value
        return adapt
    if isinstance(field, models.CharField | models.TextField):
        # A choice is a text to Python, but not to every driver.
        return str
    return _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _array_type(field: Field, connection: Any) -> str:
    """Name the type of a column's values; a text's bound is for the column itself to check."""
    if isinstance(field, models.JSONField | models.CharField | models.TextField):
        return "text"
    return str(field.db_type(connection))
