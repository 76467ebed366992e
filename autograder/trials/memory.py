"""What a command takes of the machine's memory with all that it has started."""

import psutil


def of_all(process: psutil.Process) -> int:
    """Bytes resident in a process and all below it; shared pages are divided among their users."""
    total = 0
    try:
        everyone = [process, *process.children(recursive=True)]
    except psutil.Error:  # it has ended
        return 0
    for one in everyone:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total
