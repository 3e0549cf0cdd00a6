#!/bin/bash
# Divide a GPU, a step at a time; what is done already stays as it is:
#     osc-gpu-divide mig <address>
#     osc-gpu-divide vfs <address>
#     osc-gpu-divide parts <address> <MIG profile>[,<MIG profile>...]
#     osc-gpu-divide mdev <address> <VF, or -> <type> <UUID>
#     osc-gpu-divide vfio <address> <VF, or -> <number of a type>
set -eu
SYS=${SYS:-/sys}
SRIOV_MANAGE=${SRIOV_MANAGE:-/usr/lib/nvidia/sriov-manage}
PATIENCE=${PATIENCE:-60}

step=$1
address=$2
card=$SYS/bus/pci/devices/$address

fail() {
    echo "osc-gpu-divide: $1" >&2
    exit 1
}

# Drivers make files in their own time.
await() {
    local seconds
    for ((seconds = 0; seconds < PATIENCE; seconds++)); do
        [ ! -e "$1" ] || return 0
        sleep 1
    done
    fail "$1 is not there after $PATIENCE seconds"
}

mig_mode() {
    nvidia-smi -i "$address" --query-gpu=mig.mode.current \
        --format=csv,noheader
}

if [ "$step" = mdev ] || [ "$step" = vfio ]; then
    function=$card
    if [ "$3" != - ]; then
        await "$card/virtfn$3"
        function=$(readlink -f "$card/virtfn$3")
    fi
fi

case $step in
mig)
    [ "$(mig_mode)" != Enabled ] || exit 0
    nvidia-smi -i "$address" -mig 1
    [ "$(mig_mode)" = Enabled ] ||
        fail "$address has MIG only after a reset: see nvidia-smi --gpu-reset"
    ;;
vfs)
    await "$card/sriov_numvfs"
    [ "$(cat "$card/sriov_numvfs")" = 0 ] || exit 0
    "$SRIOV_MANAGE" -e "$address"
    await "$card/virtfn0"
    ;;
parts)
    # Without parts it fails.
    parts=$(nvidia-smi mig -i "$address" -lgi) || parts=
    [[ $parts != *MIG\ [0-9]* ]] || exit 0
    nvidia-smi mig -i "$address" -cgi "$3"
    ;;
mdev)
    [ ! -e "$SYS/bus/mdev/devices/$5" ] || exit 0
    await "$function/mdev_supported_types/$4"
    mdevctl start --uuid "$5" --parent "${function##*/}" --type "$4"
    ;;
vfio)
    await "$function/nvidia/current_vgpu_type"
    [ "$(cat "$function/nvidia/current_vgpu_type")" != "$4" ] || exit 0
    echo "$4" > "$function/nvidia/current_vgpu_type"
    ;;
*)
    fail "there is no step $step"
    ;;
esac
