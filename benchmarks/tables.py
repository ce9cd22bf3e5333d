"""Tables of a dataset with other values, as large datasets are made of small ones."""

import pyarrow as pa


def with_columns(table: pa.Table, **columns: pa.Array | pa.ChunkedArray) -> pa.Table:
    """The table with these columns in place of its own, cast to their types."""
    for name, column in columns.items():
        number = table.schema.get_field_index(name)
        field = table.schema.field(number)
        table = table.set_column(number, field, column.cast(field.type))
    return table
