"""Archives with edited header fields, as `python -m benchmarks correctness hostile-archives`."""

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks.correctness.hostile_archives import SONGS, ZIP, Archive, check, tars, zips

FEW = settings(max_examples=300, suppress_health_check=list(HealthCheck))


@FEW
@given(tars())
def test_a_tar_whose_headers_lie_is_rows(tmp_path_factory, archive):
    check(archive, tmp_path_factory.getbasetemp())


@FEW
@given(zips())
def test_a_zip_whose_headers_lie_is_rows_and_hides_no_song(tmp_path_factory, archive):
    check(archive, tmp_path_factory.getbasetemp())


def test_the_check_tells_of_a_song_that_is_hidden(tmp_path):
    with pytest.raises(AssertionError):
        check(Archive(".zip", ZIP, len(SONGS) + 1), tmp_path)
