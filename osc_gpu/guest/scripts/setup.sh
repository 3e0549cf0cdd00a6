#!/bin/bash
# Install the GPU's driver at first boot, and report at every boot what this
# server sees of its GPUs.  Part of osc-gpu; asked for by: openstack gpu server
# create --driver.  What is wanted stands in /etc/osc-gpu/settings, what is
# done is written to /var/log/osc-gpu-setup.log.
#
# OSC_GPU_ROOT is where / is.
# shellcheck disable=SC2034,SC2329

set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
# Else it may restart what has an old library open: this script too.
export NEEDRESTART_SUSPEND=1
ROOT=${OSC_GPU_ROOT:-}
STATE=$ROOT/var/lib/osc-gpu
LOG=$ROOT/var/log/osc-gpu-setup.log

SYSTEM='' DRIVER=none VERSION='' URL='' CUDA='' LICENSE=false WORKLOAD=''
NVIDIA_FOLDER='' AMD_NAME='' COMPILER=''
# shellcheck source=/dev/null
. "$ROOT/etc/osc-gpu/settings" || exit 1

say() { echo "osc-gpu: $*"; }

# Do one thing.  If it fails, keep its name and its last words, and give up.
step() {
    local what=$1
    shift
    say "$what"
    if ! "$@" > "$STATE/output" 2>&1; then
        cat "$STATE/output"
        echo "$what: $(why_not)" > "$STATE/error"
        finish
    fi
    cat "$STATE/output"
}

# The first line that says to be an error, else the last one.
why_not() {
    grep -iE -m 1 '^ *(e:|error[:!]|curl:)' "$STATE/output" ||
        grep -v '^ *$' "$STATE/output" | tail -n 1
}

finish() {
    rm -f "$STATE/busy" "$STATE/output"
    say "$(cat "$STATE/error" 2> /dev/null || echo "all is done")"
    "$ROOT/usr/local/sbin/osc-gpu-report"
    exit 0
}

no_nouveau() {
    local file=$ROOT/etc/modprobe.d/osc-gpu-nouveau.conf
    [ ! -e "$file" ] || return 0
    mkdir -p "${file%/*}"
    if [ -d "$ROOT/sys/module/nouveau" ] && ! modprobe -r nouveau; then
        reboot_later "nouveau cannot be unloaded"
    fi
    printf 'blacklist nouveau\noptions nouveau modeset=0\n' > "$file" &&
        new_initramfs
}

# Boot once more, at the next good moment, and not a second time.
reboot_later() {
    echo "$1" >> "$STATE/reboot"
}

reboot_if_needed() {
    if [ ! -s "$STATE/reboot" ] || [ -e "$STATE/rebooted" ]; then
        return
    fi
    say "rebooting: $(cat "$STATE/reboot")"
    mv "$STATE/reboot" "$STATE/rebooted"
    sync
    systemctl reboot
    exit 0
}

load() {
    local module=$1 said
    said=$(modprobe "$module" 2>&1) && return
    echo "$said"
    # A locked kernel calls it a lack of permission.
    if grep -qiE 'key was rejected|required key|not permitted' <<< "$said"
    then
        echo "Secure Boot is on and refuses the driver: it is not signed by a \
key of this machine"
        return 1
    fi
    [ ! -e "$STATE/rebooted" ] && is_built "$module" &&
        reboot_later "$module cannot be loaded by this kernel"
}

is_built() {
    [ -n "$(find "$ROOT"/lib/modules -name "$1.ko*" -print -quit \
        2> /dev/null)" ]
}

# The module has to be the one of the version that was asked for.
is_the_version() {
    local found
    [ -n "$VERSION" ] && [ "$DRIVER" != amdgpu ] || return 0
    found=$(modinfo -F version nvidia) || return
    case "$found" in
    "$VERSION" | "$VERSION".*) return ;;
    esac
    echo "driver $found is installed, and $VERSION was asked for"
    return 1
}

# NVIDIA's installer needs none besides.
more_options() { :; }

install_all() {
    step "is this $SYSTEM" is_the_system
    step "kernel headers and compiler" kernel_tools
    [ "$DRIVER" = amdgpu ] || step "nouveau off" no_nouveau
    # Drivers are built for the kernel that runs, and not beside nouveau.
    reboot_if_needed
    driver_and_cuda
}

start_driver() {
    local module=nvidia
    [ "$DRIVER" != amdgpu ] || module=amdgpu
    step "module $module" load "$module"
    reboot_if_needed
    [ "$module" != nvidia ] || modprobe nvidia-uvm
    step "version of the driver" is_the_version
    if [ ! -e "$STATE/done" ] && [ "$LICENSE" = true ]; then
        step "licence" systemctl restart nvidia-gridd
    fi
    # What fails at a later boot is not mended by one more.
    touch "$STATE/done" "$STATE/rebooted"
}

# It is asked for when its service starts, at each boot, which takes seconds.
await_license() {
    local tries=12
    while [ $((tries--)) -gt 0 ]; do
        nvidia-smi -q | grep -q 'License Status *: *Licensed' && return
        sleep "${OSC_GPU_PAUSE:-5}"
    done
    # The report says in which state it is.
}

# What another server has done, whose snapshot this disk is, is not done here.
new_instance() {
    local id
    id=$(cat "$ROOT/var/lib/cloud/data/instance-id" 2> /dev/null)
    if [ "$id" != "$(cat "$STATE/instance" 2> /dev/null)" ]; then
        rm -rf "$STATE"
    fi
    mkdir -p "$STATE"
    echo "$id" > "$STATE/instance"
}

# Images of `openstack gpu image recipe show` say what is in them.
is_in_the_image() {
    local driver='' cuda=''
    # It is in no repository.
    [ "$DRIVER" != nvidia-vgpu ] || [ -n "$URL" ] || return 0
    read -r driver cuda 2> /dev/null < "$ROOT/etc/osc-gpu/image"
    [ "$driver" = "$DRIVER" ] && [ "${CUDA:-$cuda}" = "$cuda" ]
}

main() {
    new_instance
    exec >> "$LOG" 2>&1
    rm -f "$STATE/error"
    if [ "$DRIVER" != none ]; then
        [ -e "$STATE/done" ] || touch "$STATE/busy"
        [ -e "$STATE/installed" ] || is_in_the_image || install_all
        touch "$STATE/installed"
        # At each boot: a new kernel may have no module.
        start_driver
    fi
    [ "$LICENSE" != true ] || await_license
    workload_once
    finish
}

workload_once() {
    if [ -n "$WORKLOAD" ] && [ ! -e "$STATE/workload" ]; then
        "$ROOT/usr/local/sbin/osc-gpu-workload" > "$STATE/workload.detail" 2>&1
        case $? in
        0) echo passed ;;
        *) echo failed ;;
        esac > "$STATE/workload"
    fi
}
