"""Queues signals for itself without end: all processes of one user have one pool of them, and of timers."""

# %% after="work-test"
import ctypes
import errno
import os
import signal

libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
queued = 0
while libc.sigqueue(os.getpid(), signal.SIGRTMIN, None) == 0:
    queued += 1
print("queued", queued, errno.errorcode[ctypes.get_errno()])
