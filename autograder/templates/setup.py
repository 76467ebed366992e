# @title Set-up. On Colab: installs the course library and the model, a minute, once. Elsewhere: nothing.
import importlib
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules:
    if importlib.util.find_spec("fridge") is None:
        library = "elephant-in-the-fridge @ git+{repository}"
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", library], check=True)
        importlib.invalidate_caches()
    from fridge import models

    models.install()  # does nothing where the model is there already
