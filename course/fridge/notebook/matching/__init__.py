"""Which cell is which: a notebook's cells, compared with those that were handed out."""
