"""nbgrader's pages for instructors, whose origin has a terminal: every value in them is text, whatever it is.

nbgrader renders formgrader's templates without escaping, serves files that lie beside a notebook as they are, and runs
the nbgrader_config.py of whichever folder an address names. `walls.put_up` changes that.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.base import BaseHandler
from tornado import web

# A template's value stands in a page's text, in an attribute or in a script's string: these end one of them, or a line.
_NO_TEXT = frozenset("&<>\"'`\\\u2028\u2029")
_open = handlers.FormgraderHandler.get


def put_up() -> None:
    """Change formgrader in this process; a second time changes nothing."""
    BaseHandler.render = _render
    handlers.FormgraderHandler.get = _get
    handlers.SubmissionFilesHandler.content_security_policy = property(_policy)


def as_text(value: Any) -> Markup:
    """A value as text, wherever in a page it stands; what a template made of values stays as it is."""
    if isinstance(value, Markup):
        return value
    return Markup("".join(f"&#{ord(one)};" if one in _NO_TEXT or not one.isprintable() else one for one in str(value)))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader([handlers.template_path]), autoescape=True, finalize=as_text)


def _render(self: BaseHandler, name: str, **values: Any) -> str:
    return _environment().get_template(name).render(**values)


@web.authenticated
def _get(self: BaseHandler) -> Any:
    # nbgrader would run the nbgrader_config.py of any folder, and a link in a learner's notebook can name one.
    path = self.get_argument("path", "")
    if path and Path(path).resolve() != Path(self.coursedir.root).resolve():
        raise web.HTTPError(403, "formgrader shows the course that JupyterLab was opened on")
    return _open(self)


def _policy(self: BaseHandler) -> str:
    return "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
