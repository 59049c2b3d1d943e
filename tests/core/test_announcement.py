import pytest

from pulse.core.announcement import Announcement


def test_text_is_read_as_it_was_written() -> None:
    announcement = Announcement("1b4e28ba-2fa1-11d2-883f-0016d3cca427", 12, 3)
    assert str(announcement) == "1b4e28ba-2fa1-11d2-883f-0016d3cca427:12:3"
    assert Announcement.parse(str(announcement)) == announcement


@pytest.mark.parametrize("text", [None, "", "a", "a:1", "a:1:x", "a:-1:0", "a:1:2:3", "a b:1:2"])
def test_anything_else_is_no_announcement(text: str | None) -> None:
    assert Announcement.parse(text) is None
