"""How a request ends that isn't answered as it wished: refused, broken off, or with nobody left to read."""


class Refused(Exception):
    """It isn't served.

    Attributes:
        status: HTTP's.
        message: a sentence for whoever asked.
        parameter: that is wrong, if it is one.
        code: OpenAI's word for what programs tell from other errors of this status, if it has one.
    """

    def __init__(self, status: int, message: str, parameter: str | None = None, code: str | None = None):
        super().__init__(message)
        self.status, self.message, self.parameter, self.code = status, message, parameter, code

    @property
    def headers(self) -> dict[str, str]:
        """That go with the answer: when to come back, and that no more is read from a connection with a bad body."""
        headers = {}
        if self.status in RETRY_AFTER:
            headers["retry-after"] = str(RETRY_AFTER[self.status])
        if self.status in (408, 413, 503):
            headers["connection"] = "close"
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers


class Broken(Exception):
    """A reply can't go on. Attributes: the status, if none has been sent yet, and a sentence for its reader."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status, self.message = status, message


class Gone(Exception):
    """Nobody is left who could read the answer."""


BUSY, STOPPING = 429, 503
RETRY_AFTER = {BUSY: 1, STOPPING: 10}  # seconds
