"""A token that tests know, for every server of this folder."""

from unittest import mock

import pytest

from tests.pipeline.browse.browser import TOKEN


@pytest.fixture(scope="module", autouse=True)
def _known_token():
    with mock.patch("shards.web.server.secrets.token_urlsafe", return_value=TOKEN):
        yield
