"""Walks over every folder that a learner's process sees, for masters, pairs, gradebooks and submissions."""

# %% after="work"
import os
wanted = {"kv_cache.py", "kv_cache.ipynb", "gradebook.db", "units.py", "submitted", "solutions", "autograded"}
seen = 0
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "usr", "sys", "lib", "lib64", "bin", "include", "site-packages")]
    seen += len(files)
    for name in wanted & set(files + folders):
        if (os.path.basename(folder), name) != ("pictures", "kv_cache.py"):  # the course's drawings, which learners have
            print("LEAKED", folder, name)
print("above", os.listdir("/proc/self/cwd/.."), os.listdir("/proc/self/root"))
for place in ("/work/main/solutions", "/work/main/grading", "/work/main/course/03-kv-cache", "/home", "/etc/passwd", "/var", "/sys", "/run"):
    try:
        print("LEAKED" if os.path.isfile(place) else "SEEN", place, os.listdir(place) if os.path.isdir(place) else "")
    except OSError as error:
        print("refused", type(error).__name__)
    else:
        pass
print("walked", seen > 20)
