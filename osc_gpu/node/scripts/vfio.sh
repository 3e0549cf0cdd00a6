#!/bin/bash
# Give PCI functions to vfio-pci, each if it is what it was:
#     osc-gpu-vfio <address>=<vendor>:<product>...
set -u
PCI=${PCI:-/sys/bus/pci}

give() {
    local address=$1 ids=$2 function=$PCI/devices/$1 there driver
    there=$(cat "$function/vendor" "$function/device" 2> /dev/null)
    there=${there//0x/}
    if [ "${there/$'\n'/:}" != "$ids" ]; then
        echo "osc-gpu-vfio: there is no $ids at $address" >&2
        return 1
    fi
    driver=$(readlink "$function/driver")
    [ "${driver##*/}" != vfio-pci ] || return 0
    echo vfio-pci > "$function/driver_override" || return
    if [ -n "$driver" ]; then
        echo "$address" > "$function/driver/unbind" || return
    fi
    echo "$address" > "$PCI/drivers_probe"
}

modprobe vfio-pci || exit
failed=0
for word; do
    give "${word%=*}" "${word#*=}" || failed=1
done
exit "$failed"
