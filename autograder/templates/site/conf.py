"""Sphinx's configuration of the course's website. `autograder publish --site` fills in the repository."""

from docutils.nodes import SkipNode

from autograder.results.formulas import mathml

project = "Elephant in the Fridge"
author = "the course's authors"
html_title = "Elephant in the Fridge"
extensions = ["myst_nb", "sphinx_copybutton"]
include_patterns = ["index.md", "figures.md", "course/README.md", "course/*/README.md", "course/**/*.ipynb"]
exclude_patterns = ["course/fridge/**"]
language = "en"

nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the tests"
nb_code_prompt_hide = "Hide the tests"
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
copybutton_selector = "div.cell_input div.highlight pre, div.highlight-sh pre"

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_use_index = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "repository_url": "{repository}",
    "repository_branch": "main",
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "launch_buttons": {
        "notebook_interface": "jupyterlab",
        "colab_url": "https://colab.research.google.com",
        "binderhub_url": "https://mybinder.org",
    },
}

html_math_renderer = "mathml"


def setup(app):
    """Formulas as MathML, which needs no script from elsewhere."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))


def _inline(translator, node):
    translator.body.append(_formula(node, False))
    raise SkipNode


def _block(translator, node):
    translator.body.append(f'<div class="math">{_formula(node, True)}</div>')
    raise SkipNode


def _formula(node, display):
    shown = mathml(node.astext(), display)
    if shown is None:
        raise ValueError(f"a formula that can't be shown: {node.astext()}")
    return shown
