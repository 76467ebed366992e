"""Many cells that each stay just below the time limit."""

# %% after="work-test"
import time
time.sleep(2)

# %% after="work-test"
import time
time.sleep(2)

# %% after="work-test"
import time
time.sleep(2)
