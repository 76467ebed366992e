"""Gives its processes names that are no text, or lines of a table in /proc, so that whoever adds up their use breaks."""

# %% after="work-test"
import ctypes, shutil, subprocess, time

SET_NAME = 15
NAMES = (b"\xff\xfe", b") R 1 1", b"\x0bRssAnon: x", b"\x0bRssAnon:", b"\x0bVmPTE: -99999", b"\xc2\x85VmPTE: 9e9", b"")
for name in NAMES:
    ctypes.CDLL(None).prctl(SET_NAME, name, 0, 0, 0)
    time.sleep(0.25)
shutil.copy("/bin/sleep", b"/learner/\xff)\xfe")
subprocess.run([b"/learner/\xff)\xfe", "0.3"])
print(len(NAMES), "names and one of a program")
