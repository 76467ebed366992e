"""Speaks of reveal in comments, strings, notes and a function of its own, and loses nothing; its metadata name another exercise as given up."""

# %% after="rope-test"
# fridge.reveal("rope")
"""If I am stuck: fridge.reveal("rope")"""
print("fridge.reveal('rope')")


def reveal(name):
    return name


reveal("rope")
