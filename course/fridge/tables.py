"""Small HTML tables in JupyterLab's and Colab's own style, so that light and dark themes both show them."""

from collections.abc import Sequence
from html import escape


def html(head: Sequence[str], rows: Sequence[Sequence[str]], below: str = "", numbers: Sequence[int] = ()) -> str:
    """A table with a line of text below it.

    Args:
        head: the columns' names.
        rows: plain text, which is escaped here. A row of one text spans all columns and heads what follows.
        numbers: indices of columns that are aligned to the right.
    """
    lines = [_row("th", head, numbers)]
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
