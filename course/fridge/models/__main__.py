"""`python -m fridge.models`: prepare the chosen model."""

import sys

from fridge import models
from fridge.workbench.terminal import allow_any_letter

allow_any_letter()
try:
    print(f"{models.name()} is ready: {models.install()}")
except models.ModelUnavailable as unavailable:
    sys.exit(str(unavailable))
