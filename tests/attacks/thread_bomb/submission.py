"""Starts threads until it may not, at most 300."""

# %% after="work-test"
import threading, time
made = 0
try:
    while made < 300:
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        made += 1
except RuntimeError as error:
    print("stopped below 70:", made < 70, error)
