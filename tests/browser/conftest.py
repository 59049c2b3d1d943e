"""The browser that tests of pages share the making of."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import CHROMIUM


@pytest.fixture(scope="module")
def chromium_of_this_file() -> Iterator[Any]:
    """To start one takes longer than most tests of it."""
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as started:
        # Playwright's loop lives in this thread, where Django would take it for a server's own.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium_of_this_file: Any) -> Iterator[Any]:
    """A browser that knows nothing of the tests before."""
    yield chromium_of_this_file
    for context in chromium_of_this_file.contexts:
        context.close()
