#!/usr/bin/env bash
# Install the checkout that this file is in, with one of its extras: tpu, cuda.
# Python comes from uv: the images have 3.10, and a PPA would need root and would wait for the
# updates that a fresh image installs by itself. What is there already is kept.
set -euo pipefail

extra=${1:-tpu}
code=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${ALIGNREG_VENV:-$HOME/alignreg/venv}
export PATH="$HOME/.local/bin:$PATH"

command -v uv >/dev/null || python3 -m pip install --quiet --user uv
[[ -x $venv/bin/python ]] || uv venv --quiet --python 3.12 "$venv"
uv pip install --quiet --python "$venv/bin/python" --editable "${code}[$extra]"
echo "installed ${code}[$extra] in $venv"
