"""Origins as browsers write them, and as operators name them.

Source: RFC 6454; the Fetch standard, 3.3 (CORS protocol).
"""

from typing import Final

from pulse.exceptions import InvalidOrigin

#: Stands for every origin.
ANY: Final = "*"


def parse_origin(text: str) -> str:
    """Check an origin as an operator writes it.

    Raises:
        InvalidOrigin: No browser sends it, or it would match what it does not say.
    """
    if text != ANY and "://" not in text:
        raise InvalidOrigin(text, "is no origin. Write a scheme and a host.")
    return text
