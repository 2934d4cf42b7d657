# Sourced by the commands in tools: makes .venv with the tested versions, once, and puts it first on PATH.
# OBJBENCH_PYTHON names another Python, OBJBENCH_VENV another place for the environment.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${OBJBENCH_VENV:-$root/.venv}

find_python() {
    local candidate
    for candidate in ${OBJBENCH_PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "objbench needs Python 3.11 or newer; found: $(${OBJBENCH_PYTHON:-python3} --version 2>&1 || true)" >&2
    echo "Install one (https://www.python.org/downloads/) or name it: OBJBENCH_PYTHON=/path/to/python3.12 $0" >&2
    return 1
}

has_nvidia_driver() {
    [ -e /proc/driver/nvidia/version ] || { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }
}

# A torch that is there already, of a version that pyproject.toml admits, stays.
install_torch() {
    local pinned
    python -c 'import torch' 2>/dev/null && return
    pinned=$(sed -n 's/^torch==//p' "$root/tools/constraints.txt")
    if ! has_nvidia_driver && [ "$(uname -s)" = Linux ]; then
        echo "no NVIDIA driver found: installing the CPU build of torch $pinned" >&2
        pip install --quiet --retries 1 --timeout 30 "torch==$pinned+cpu" \
            --extra-index-url https://download.pytorch.org/whl/cpu 2>/dev/null && return
    fi
    pip install --quiet "torch==$pinned"
}

# setup_venv EXTRAS: install objbench[EXTRAS] from this checkout, editable; nothing to do if that, or more, is done.
setup_venv() {
    local versions python kept
    versions=$(cat "$root/pyproject.toml" "$root/tools/constraints.txt" "$root/tools/env.sh" | cksum)
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    if ! is_set_up "$1" "$versions"; then
        python=$(find_python) || return 1
        echo "setting up $venv with $("$python" --version)" >&2
        if ! [ -x "$venv/bin/python" ] && ! "$python" -m venv "$venv"; then
            echo "could not make $venv; on Debian and Ubuntu: apt install python3-venv" >&2
            return 1
        fi
    fi
    export PATH="$venv/bin:$PATH"
    is_set_up "$1" "$versions" && return
    install_torch
    kept=torch
    python -c 'import triton' 2>/dev/null && kept='(torch|triton)' # torch's builds for CUDA pin the one they come with
    grep -vE "^$kept==" "$root/tools/constraints.txt" > "$venv/constraints.txt"
    pip install --quiet --constraint "$venv/constraints.txt" --editable "$root[$1]"
    echo "$versions" > "$venv/.objbench-$1"
}

# is_set_up EXTRAS VERSIONS: the extra dev holds all the others.
is_set_up() {
    [ "$(cat "$venv/.objbench-dev" 2>/dev/null)" = "$2" ] || [ "$(cat "$venv/.objbench-$1" 2>/dev/null)" = "$2" ]
}
