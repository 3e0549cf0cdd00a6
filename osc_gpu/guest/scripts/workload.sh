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

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
if command -v nvidia-smi > /dev/null; then
    if nvcc=$(compiler); then
        "$nvcc" -o "$folder/smoke" \
            "$ROOT/usr/local/share/osc-gpu/smoke.cu" &&
            timeout 600 "$folder/smoke"
    else
        # Without a compiler the driver itself is asked.
        timeout 60 nvidia-smi -L > "$folder/list" && [ -s "$folder/list" ] &&
            echo "nvidia-smi lists $(wc -l < "$folder/list") GPUs;" \
                "no CUDA compiler is there to do more"
    fi
elif command -v rocminfo > /dev/null; then
    timeout 60 rocminfo > "$folder/list" &&
        agents=$(grep -c 'Device Type: *GPU' "$folder/list") &&
        echo "rocminfo lists $agents GPUs"
else
    echo "neither nvidia-smi nor rocminfo is there"
    false
fi
