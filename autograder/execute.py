"""The execution step of `nbgrader autograde`, named in nbgrader_config.py: how a submission's cells are run."""

from nbgrader.preprocessors import Execute

from autograder.notebooks import FOR_REAL


class CourseExecute(Execute):
    """nbgrader's own execution in one kernel, without the cells that run the real model."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.skip_cells_with_tag = FOR_REAL
