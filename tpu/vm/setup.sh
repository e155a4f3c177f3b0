#!/usr/bin/env bash
# Install the checkout that this file is in, with one of its extras: tpu, cuda.
# Python comes from uv: the images have 3.10, and a PPA would need root and would wait for the
# updates that a fresh image installs by itself. What is there already is kept. uv comes from pip,
# which on Ubuntu 24.04 has to be told that it may, or where there is no pip from its own installer.
set -euo pipefail

extra=${1:-tpu}
code=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${ALIGNREG_VENV:-$HOME/alignreg/venv}
export PATH="$HOME/.local/bin:$PATH"

command -v uv >/dev/null ||
  PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --quiet --user uv ||
  curl --location --silent --show-error --fail https://astral.sh/uv/install.sh | sh
[[ -x $venv/bin/python ]] || uv venv --quiet --python 3.12 "$venv"
uv pip install --quiet --python "$venv/bin/python" --editable "${code}[$extra]"
echo "installed ${code}[$extra] in $venv"
