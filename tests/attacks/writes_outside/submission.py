"""Writes to the libraries, the course's package, the root, /proc/sys and devices, and asks for root."""

# %% after="work-test"
import os, subprocess, sys
import fridge, torch
from pathlib import Path
targets = [Path(fridge.__file__), Path(fridge.__file__).with_name("attack.py"), Path(torch.__file__), Path(sys.prefix) / "attack", Path("/attack"),
    Path("/usr/attack"), Path("/etc/attack"), Path("/dev/attack"), Path("/proc/sys/kernel/hostname"), Path("/proc/sys/kernel/core_pattern"),
    Path("/proc/sysrq-trigger"), Path("/proc/1/mem"), Path("/proc/1/oom_score_adj"), Path("/proc/self/uid_map"), Path("/learner/../attack")]
for target in targets:
    try:
        with open(target, "r+b" if target.exists() else "wb") as file:
            file.write(b"attack")
        print("LEAKED", target)
    except OSError as error:
        print("refused", error.strerror)
for call in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.chroot("/tmp"), lambda: os.nice(-5), lambda: os.mknod("/tmp/d", 0o60600, 0x800)):
    try:
        call()
        print("LEAKED", "became more")
    except OSError as error:
        print("refused", error.strerror)
for command in ("su -c id", "sudo -n id", "mount -t tmpfs none /tmp", "unshare -r id"):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    print("LEAKED" if "uid=0" in done.stdout or done.returncode == 0 else "refused", command.split()[0])
status = Path("/proc/self/status").read_text()
print([line for line in status.splitlines() if line.startswith(("CapEff", "CapBnd", "CapPrm", "NoNewPrivs", "Seccomp:"))])
