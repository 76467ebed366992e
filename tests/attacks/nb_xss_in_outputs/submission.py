"""Shows scripts to the instructor: in HTML, Markdown, SVG, LaTeX, images' text, exceptions' names and messages."""

# %% nbgrader={"grade_id": "work", "solution": true, "grade": false}
BAD = '<script>alert(1)</script><img src=x onerror=alert(1)><a href="javascript:alert(1)">x</a><svg onload=alert(1)></svg><iframe src="javascript:alert(1)"></iframe><style>@import "//evil.example";</style><form action="//evil.example"><input name=p></form><base href="//evil.example"><meta http-equiv=refresh content="0;url=//evil.example"><object data="//evil.example"></object><math><mtext><table><mglyph><style><img src=x onerror=alert(1)>'
def positions_processed(prompt_tokens, new_tokens):
    raise type(BAD[:90], (Exception,), {})(BAD)

# %% after="work-test"
from IPython.display import HTML, Image, Javascript, Latex, Markdown, SVG, display
display(HTML(BAD), Markdown(BAD + "\n\n[x](javascript:alert(1)) ![y](javascript:alert(1))"), Latex("$" + BAD + "$"), Javascript("alert(1)"))
display({"image/svg+xml": "<svg onload=alert(1)><script>alert(1)</script></svg>", "image/png": '"><script>alert(1)</script>', "image/jpeg": "x' onerror='alert(1)",
         "application/javascript": "alert(1)", "text/html": BAD, "text/latex": BAD, "text/markdown": BAD, "text/plain": BAD}, raw=True)
print(BAD)
import sys
print("\x1b[31m" + BAD + "\x1b]8;;javascript:alert(1)\x07link\x1b]8;;\x07", file=sys.stderr)

# %% after="memory-test"
raise type(BAD[:90], (Exception,), {})(BAD)
