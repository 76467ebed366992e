"""A class's submissions: workers, the spool, the one writer of the gradebook, regrading, a cluster."""
