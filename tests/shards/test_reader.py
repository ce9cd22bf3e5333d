"""Opening a dataset: another format version is refused; every column is documented."""

import re

import pytest

from shards import ShardError, layout, open_dataset, writer


@pytest.mark.parametrize("version", [1, 2, layout.FORMAT_VERSION + 1, None])
def test_another_format_version_is_refused_in_one_line_that_names_both(version, tmp_path):
    writer.write_manifest(tmp_path, {"format_version": version})
    with pytest.raises(ShardError) as refused:
        open_dataset(tmp_path)
    assert re.fullmatch(
        rf".*dataset\.json has format version {version}, this program reads "
        rf"{layout.FORMAT_VERSION}: make the dataset again with `pipeline run`",
        str(refused.value),
    )


@pytest.mark.parametrize("columns", [layout.INDEX_COLUMNS, layout.LEDGER_COLUMNS])
def test_every_column_is_explained_in_a_sentence(columns):
    assert [name for name, (_, help) in columns.items() if not re.fullmatch(r"\S.*\.", help)] == []
