"""How a page looks: light and dark, on a desk and on a phone."""

from collections.abc import Iterator

HOSTILE = "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"
LONG = "x" * 400  # a word without a place to break it
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 320, "height": 640}


def looks(page) -> Iterator[str]:
    """Show the page in each of its four looks; their names, for a picture. None is wider than its window."""
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for name, size in (("desk", DESK), ("phone", PHONE)):
            page.set_viewport_size(size)
            page.evaluate("scrollTo(0, 0)")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= size["width"], f"{name}: {wide} pixels in a window of {size['width']}"
            yield f"{name}-{theme}"
