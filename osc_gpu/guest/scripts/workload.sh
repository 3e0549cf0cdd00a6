#!/bin/bash
# Let the GPUs of this server work once, as a proof that they do.  Part of
# osc-gpu; asked for by: openstack gpu server create --workload smoke.  The
# last line is the result, the exit status is 0 if all is well.
#
# OSC_GPU_ROOT is where / is.

set -u
export LC_ALL=C
ROOT=${OSC_GPU_ROOT:-}
# Where AMD has its programs.
PATH=$PATH:$ROOT/opt/rocm/bin

compiler() {
    local nvcc=$ROOT/usr/local/cuda/bin/nvcc
    [ -x "$nvcc" ] && echo "$nvcc" && return
    command -v nvcc
}

# How many GPUs a program lists; what it says, if it lists none.
#
# <pattern of a GPU's line> <program> [<argument>...]
listed() {
    local pattern=$1 count
    shift
    timeout 60 "$@" > "$folder/list" 2>&1 &&
        count=$(grep -c "$pattern" "$folder/list") &&
        echo "$1 lists $count GPUs" && return
    tail -n 1 "$folder/list"
    return 1
}

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
if command -v nvidia-smi > /dev/null; then
    if nvcc=$(compiler); then
        "$nvcc" -o "$folder/smoke" \
            "$ROOT/usr/local/share/osc-gpu/smoke.cu" &&
            timeout 600 "$folder/smoke"
    else
        # Without a compiler the driver itself is asked.
        said=$(listed '^GPU ' nvidia-smi -L) &&
            said="$said; no CUDA compiler is there to do more"
        status=$?
        echo "$said"
        exit $status
    fi
elif command -v rocminfo > /dev/null; then
    listed 'Device Type: *GPU' rocminfo
else
    echo "neither nvidia-smi nor rocminfo is there"
    false
fi
