"""What `nbgrader zip_collect` does in this course: it says which command is safe.

nbgrader's own unpacks archives within archives, without a bound, and takes learners' ids from the names inside.
"""

from nbgrader.plugins.zipcollect import ExtractorPlugin


class UseCollect(ExtractorPlugin):
    """Stands where nbgrader unpacks archives, and unpacks none."""

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Refuse.

        Raises:
            SystemExit: always, with 1.
        """
        self.log.error("In this course `autograder collect UNIT %s/*.zip` takes archives in.", archive_path)
        raise SystemExit(1)
