"""Wants another process, the warm one, to be ended when memory runs out, and its own to be kept."""

# %% after="work-test"
import errno

for name in ("oom_score_adj", "autogroup"):
    try:
        with open(f"/proc/self/{name}", "w") as file:
            file.write("0")
        print("LEAKED", name)
    except OSError as error:
        print(name, errno.errorcode[error.errno])
print("first", open("/proc/self/oom_score_adj").read())
