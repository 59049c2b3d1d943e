"""A page of pulse in a browser, and what went wrong on it."""

from typing import Any

#: Tells the console of every violation, also of those that it keeps to itself.
LISTEN = """document.addEventListener('securitypolicyviolation', (event) =>
  console.error('violation: ' + event.violatedDirective + ' ' + event.blockedURI));"""
#: The strictest that the pages promise to work under.
STRICTEST = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


class Opened:
    """A page of a browser, what went wrong on it, and what it asked for."""

    def __init__(self, browser: Any, live_server: Any, session: str, **options: Any) -> None:
        self.base = live_server.url
        self.context = browser.new_context(**options)
        self.context.add_cookies([{"name": "sessionid", "value": session, "url": self.base}])
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.add_init_script(LISTEN)
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _note(self, message: Any) -> None:
        # Django's own admin has no icon, and a browser may ask for one by itself.
        if message.type == "error" and not message.location["url"].endswith("/favicon.ico"):
            self.problems.append(message.text)

    def go(self, path: str) -> Any:
        return self.page.goto(f"{self.base}/pulse/{path}")
