"""What one client may ask for, so that nobody's wishes are at the others' expense."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Each of them is answered with an error that names it.

    Attributes:
        body: bytes of a request.
        context: tokens of a prompt and its reply together; None: as many as the whole cache holds.
        reply: tokens of a chat's reply if its request doesn't say how many.
        choices: replies to one request, `n` for each of its prompts.
        stops: stop strings of a request.
        stop_letters: of each stop string.
        likeliest: tokens told beside each chosen one.
        seconds: from a request's arrival to the end of its reply; whoever takes longer is cancelled.
        head_seconds: from a connection's beginning, or from the last answer on it, to a request's last header.
        body_seconds: to the last byte of a request's body.
        reader_seconds: for which a reader may take nothing of what is sent.
        farewell_seconds: that running replies still get when the server is asked to stop.
    """

    body: int = 1_000_000
    context: int | None = None
    reply: int = 1024
    choices: int = 8
    stops: int = 16
    stop_letters: int = 256
    likeliest: int = 20
    seconds: float = 600.0
    head_seconds: float = 30.0
    body_seconds: float = 30.0
    reader_seconds: float = 60.0
    farewell_seconds: float = 30.0


LIMITS = Limits()
