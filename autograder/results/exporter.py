"""The exporter of feedback pages: nbconvert's, without what takes most of its time and changes nothing here.

nbconvert parses each finished page once more, to describe pictures and to mark up the cells of JupyterLab's template.
The pictures have their descriptions before (`markup.py`, `feedback.ReadableOutputs`), and nbgrader's template has
other cells. And most of a class's cells are the handout's: they are coloured once.
"""

from typing import Any

from nbconvert.exporters.html import HTMLExporter
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat import NotebookNode

from autograder.results.plain import coloured


class FeedbackPage(HTMLExporter):
    """One notebook as a page."""

    def from_notebook_node(
        self, nb: NotebookNode, resources: dict[str, Any] | None = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page, and nbconvert's resources."""
        resources = self._init_resources(resources)
        widgets = WidgetsDataTypeFilter(notebook_metadata=self._nb_metadata, parent=self, resources=resources)
        self.register_filter("filter_data_type", widgets)
        self.register_filter("highlight_code", coloured)
        return super(HTMLExporter, self).from_notebook_node(nb, resources, **kw)
