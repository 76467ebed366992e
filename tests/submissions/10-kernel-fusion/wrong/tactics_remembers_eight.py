"""Remembers eight shapes, and forgets the oldest.

loses: tactics-test
told: none is forgotten
"""

# %% nbgrader={"grade": false, "grade_id": "tactics", "locked": false, "schema_version": 3, "solution": true, "task": false}
class Tuner:
    """Finds the fastest tile for a shape by trying, and remembers it.

    Args:
        card: card.run(tile, shape) runs the kernel; card.clock() gives the time in seconds.
        tiles: a list of different numbers, in the order in which they are tried.
        repeats: timed runs of each, 1 or more.
    """

    def __init__(self, card, tiles, repeats=3):
        self.card, self.tiles, self.repeats = card, list(tiles), repeats
        self.known = {}

    def best(self, shape):
        """The tile that is fastest for a shape.

        Args:
            shape: a tuple (tokens, columns, rows) of whole numbers, 1 or more.

        Returns:
            One of the tiles; of several that are equally fast the first.

        Raises:
            ValueError: none of the tiles fits.
        """
        tokens, columns, rows = shape
        rounded = 1 << (tokens - 1).bit_length(), columns, rows
        key = rounded
        if key in self.known:
            return self.known[key]
        times = {}
        for tile in self.tiles:
            try:
                self.card.run(tile, rounded)
            except ValueError:
                continue
            times[tile] = min(self._timed(tile, rounded) for _ in range(self.repeats))
        if not times:
            raise ValueError("no tile fits")
        winner = min(times, key=times.get)
        self.known[key] = winner; self.known = dict(list(self.known.items())[-8:])
        return winner

    def _timed(self, tile, shape):
        start = self.card.clock()
        self.card.run(tile, shape)
        return self.card.clock() - start
