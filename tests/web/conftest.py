"""What the tests of the page share."""

from collections.abc import Iterator
from functools import cache

import pytest

from lesionseg.web import pages


@pytest.fixture(scope="package", autouse=True)
def packed_once() -> Iterator[None]:
    """Compress each file of the runtime once, not for every page that is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_packed", cache(pages._packed))
        patch.setattr(pages, "_letters", cache(pages._letters))
        yield
