"""The command `fridge`, for learners: their points over all units, the file to hand in, a newer course, a server."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fridge.workbench.terminal import allow_any_letter, reader_has_gone

PROGRESS = "Show the points of all units, as last run and saved; `fridge` alone does so, too."
UPDATE = "Fetch the newest version of the course by git and put your answers into its notebooks."
SERVE = "Serve the chosen model to OpenAI's and Ollama's clients, with a page to talk to it. For learning."
EDGE = "Put a GGUF file into a browser tab: llama.cpp in WebAssembly (wllama), on a page for this machine alone."
SUBMIT = "Check a unit's saved notebook and make the file to hand in."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code: 0 fine, 2 wrong usage or nothing found."""
    allow_any_letter()
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except BrokenPipeError:
        return reader_has_gone()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fridge", description="The course's command for learners.")
    parser.set_defaults(run=_progress, folder=Path())
    commands = parser.add_subparsers(metavar="COMMAND")
    sub = commands.add_parser("progress", help=PROGRESS, description=PROGRESS)
    sub.set_defaults(run=_progress)
    where = "where the notebooks are; default: here"
    sub.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="FOLDER", help=where)
    _add_serve(commands)
    _add_edge(commands)
    sub = commands.add_parser("submit", help=SUBMIT, description=SUBMIT)
    sub.set_defaults(run=_submit)
    which = "03-kv-cache, 03, or a notebook's path; default: the unit of this folder, or else each that you began"
    sub.add_argument("which", nargs="?", metavar="UNIT|NOTEBOOK", help=which)
    sub = commands.add_parser("update", help=UPDATE, description=UPDATE)
    sub.set_defaults(run=_update)
    return parser


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser("serve", help=SERVE, description=SERVE)
    sub.set_defaults(run=_serve)
    sub.add_argument("--port", type=_port, default=8000, help="default: 8000; 0 takes a free one")
    reach = "where it listens; default: 127.0.0.1, for this machine alone. 0.0.0.0 lets others in, too"
    sub.add_argument("--host", default="127.0.0.1", help=reach)
    which = "a folder, a Hugging Face id or modelscope:ID; default: FRIDGE_MODEL, or else the course's own"
    sub.add_argument("--model", metavar="MODEL", help=which)
    sub.add_argument("--int8", action="store_true", help="weights and activations in 8 bits: faster, nearly as good")
    shown = "that clients have to show; default: FRIDGE_API_KEY, or else none. Others on this machine see arguments"
    sub.add_argument("--api-key", metavar="KEY", default=os.environ.get("FRIDGE_API_KEY"), help=shown)


def _add_edge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sub = commands.add_parser("edge", help=EDGE, description=EDGE)
    sub.set_defaults(run=_edge)
    which = "a GGUF file, one that you wrote, say; default: the course's own model"
    sub.add_argument("file", nargs="?", type=Path, metavar="FILE", help=which)
    sub.add_argument("--port", type=_port, default=8001, help="default: 8001; 0 takes a free one")


def _port(written: str) -> int:
    if not (written.isascii() and written.isdigit() and int(written) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {written!r}")
    return int(written)


def _serve(options: argparse.Namespace) -> int:
    # By its name: this room lies below the server's, and only its command reaches up.
    api = importlib.import_module("fridge.serving.api")
    try:
        return api.serve(api.ServeOptions(options.port, options.host, options.model, options.int8, options.api_key))
    except api.Missing as error:
        print(f"fridge: {error}", file=sys.stderr)
        return 2


def _edge(options: argparse.Namespace) -> int:
    edge = importlib.import_module("fridge.serving.edge")  # by its name, as above
    return edge.serve(edge.EdgeOptions(options.file, options.port))


def _update(options: argparse.Namespace) -> int:
    from fridge.notebook import progress
    from fridge.notebook.updating import update

    try:
        print("\n".join(update.update(Path())))
    except (update.CanNotUpdate, progress.NoNotebooks) as error:
        print(f"fridge: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"fridge: stopped ({error}). Free some space, then type `fridge update` again.", file=sys.stderr)
        return 2
    return 0


def _submit(options: argparse.Namespace) -> int:
    from fridge.notebook import handing_in, progress

    try:
        results = handing_in.submit_from(Path(), options.which)
    except (handing_in.NothingToHandIn, progress.NoNotebooks) as error:
        print(f"fridge: {error}", file=sys.stderr)
        return 2
    print("\n\n".join(map(repr, results)))
    return 0


def _progress(options: argparse.Namespace) -> int:
    from fridge.notebook import progress

    try:
        print(progress.read(options.folder))
    except progress.NoNotebooks as error:
        print(f"fridge: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
