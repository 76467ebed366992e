"""Small HTML tables in JupyterLab's and Colab's own style, so that light and dark themes both show them."""

from collections.abc import Mapping, Sequence
from html import escape


class Table:
    """A table that a notebook shows as HTML, and everything else as aligned text. The arguments are those of `html`."""

    def __init__(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "", numbers: Sequence[int] = ()
    ):
        self.head, self.rows, self.below, self.numbers = head, rows, below, numbers

    def __repr__(self) -> str:
        lines = [row for row in (self.head, *self.rows) if any(row)]
        whole = [row for row in lines if len(row) == len(self.head)]  # a row of one text spans the columns
        widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
        aligned = (
            "  ".join(
                text.rjust(width) if index in self.numbers else text.ljust(width)
                for index, (text, width) in enumerate(zip(row, widths, strict=len(row) > 1))
            ).rstrip()
            for row in lines
        )
        return "\n".join([*aligned, self.below] if self.below else aligned)

    def _repr_html_(self) -> str:
        return html(self.head, self.rows, self.below, self.numbers)


def show(head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "", numbers: Sequence[int] = ()) -> None:
    """Show a table from anywhere in a cell, also from within an `if`. The arguments are those of `html`."""
    from IPython.display import display  # the module also serves the command line, without a notebook

    display(Table(head, rows, below, numbers))


def facts(found: Mapping[str, object]) -> Table:
    """A dict as a table of two columns; a notebook shows it as a cell's last value."""
    return Table(("", ""), [(name.replace("_", " "), str(value)) for name, value in found.items()])


def html(head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "", numbers: Sequence[int] = ()) -> str:
    """A table with a line of text below it.

    Args:
        head: the columns' names; all empty, there is no line of them.
        rows: plain text, which is escaped here. A row of one text spans all columns and heads what follows.
        numbers: indices of columns that are aligned to the right.
    """
    lines = [_row("th", head, numbers)] if any(head) else []
    for row in rows:
        if len(row) == 1:
            lines.append(f"<tr><th colspan='{len(head)}' style='text-align:left'>{escape(row[0])}</th></tr>")
        else:
            lines.append(_row("td", row, numbers))
    return f"<table>{''.join(lines)}</table>" + (f"<p>{escape(below)}</p>" if below else "")


def _row(tag: str, texts: Sequence[str], numbers: Sequence[int]) -> str:
    cells = (
        f"<{tag} style='text-align:{'right' if index in numbers else 'left'}'>{escape(text)}</{tag}>"
        for index, text in enumerate(texts)
    )
    return f"<tr>{''.join(cells)}</tr>"
