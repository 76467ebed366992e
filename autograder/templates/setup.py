# @title Set-up. On Colab: installs the course library and the model, a minute, once. Elsewhere: nothing to wait for.
import importlib
import importlib.util
import os
import subprocess
import sys

# {language}
# PyTorch's threads spin while they wait for each other, and keep the cores from what they wait for on a busy machine.
# Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if "google.colab" in sys.modules:
    if importlib.util.find_spec("fridge") is None:
        library = "elephant-in-the-fridge @ git+{repository}"
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)
        importlib.invalidate_caches()
    from fridge import models

    models.install()  # does nothing where the model is there already
