#!/usr/bin/env bash
# Gradescope runs this once, as root, when it makes the assignment's container. Its log is on the page that opens then.
set -euo pipefail

cd /autograder/source
export DEBIAN_FRONTEND=noninteractive
# A learner's code runs as a user of its own, to whom root's folder is closed.
export FRIDGE_CACHE=/autograder/source/.venv/model UV_PYTHON_INSTALL_DIR=/opt/python

newest() { command -v python3.13 || command -v python3.12 || command -v python3.11; }

if ! newest >/dev/null; then
  apt-get install -y python3-venv
  python3 -m venv /opt/uv
  /opt/uv/bin/pip install --quiet uv
  /opt/uv/bin/uv python install 3.13
  ln -sf "$(/opt/uv/bin/uv python find 3.13)" /usr/local/bin/python3.13
fi
"$(newest)" binder/prepare.py setup
echo "Which walls this container gives (each submission's log says which stood):"
.venv/bin/python -c "from autograder.isolation.doctor import doctor; print(doctor()[0])"
