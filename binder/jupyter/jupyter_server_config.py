"""What a fresh JupyterLab writes into a learner's terminal, and how it speaks to kernels."""

import logging

c = get_config()  # noqa: F821 - JupyterLab provides it


def says_something(record: logging.LogRecord) -> bool:
    """All messages but one: a handout has no signature yet, which needs nothing done."""
    return not record.getMessage().endswith(" is not trusted")


c.Application.log_level = "WARN"  # its address still shows
c.Application.logging_config = {
    "filters": {"says something": {"()": lambda: says_something}},
    "handlers": {"console": {"filters": ["says something"]}},
}
c.KernelManager.transport_encryption = "auto"  # other users of the machine can't listen in on a kernel
c.LabApp.extension_manager = "readonly"  # installing is for `make`; and no proxy of PyPI's is asked for at the start
