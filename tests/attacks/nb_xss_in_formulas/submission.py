"""Writes scripts, links and styles into formulas, in text, in outputs and in a picture's description."""

# %% after="work-test"
from IPython.display import Latex, Markdown, Math, display

for form in (Math, Latex, Markdown):
    display(form(r"$\text{<script>alert(1)</script>} \href{javascript:alert(1)}{x} \style{color:red}{x}$"))
