"""Daemons of daemons in sessions of their own try to outlive the submission."""

# %% after="work-test"
import os, signal, time
def daemon():
    if os.fork() == 0:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            while True:
                try:
                    open(f"/tmp/attack{os.getpid()}", "w").write("here")
                except OSError:
                    pass
                time.sleep(0.05)
        os._exit(0)
for _ in range(5):
    daemon()
print("left behind")
