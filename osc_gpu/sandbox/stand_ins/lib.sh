# What the stand-ins share.  Each of them is named as the program that it
# stands in for, is the only one of that name in the guest's PATH, and writes
# down how it was called.  They change files below $OSC_GPU_ROOT, where / is
# for the guest, and $OSC_GPU_MACHINE, where its hardware and packages are.
# shellcheck shell=bash disable=SC2034

set -u
ROOT=$OSC_GPU_ROOT MACHINE=$OSC_GPU_MACHINE

record() {
    local words
    # What a system does by itself when it boots is no call.
    [ -z "${OSC_GPU_BOOTING:-}" ] || return
    set -- "${@//"$ROOT"/}"
    printf -v words ' %q' "${0##*/}" "${@//"$MACHINE"/}"
    echo "${words# }" >> "$MACHINE/calls"
}

# Whether the guest was to be spoiled in a way: guest_disk.py has the list.
spoiled() { [ -e "$MACHINE/spoils/$1" ]; }

fact() { [ ! -e "$MACHINE/$1" ] || cat "$MACHINE/$1"; }

say() { echo "$*" >&2; }

# The lines of the GPUs that a vendor's driver gets to work.
working() { grep " $1 " "$MACHINE/working"; }

# Programs come with their packages.
appear() {
    local name
    for name; do
        cp "$MACHINE/later/$name" "$MACHINE/bin/$name"
    done
}

# The drivers that NVIDIA's repository has, the newest first.
VERSIONS='580.95.05 570.195.03 570.86.15 550.163.01 535.247.01'

# The first of them that a command takes.
first_version() {
    local version
    for version in $VERSIONS; do
        "$@" "$version" && echo "$version" && return
    done
    return 1
}

# Build a module for each kernel that there are headers for.
build() {
    local module=$1 version=$2 kernel
    if spoiled build; then
        say "Error! Bad return status for module build on kernel:" \
            "$(fact kernel) (x86_64)"
        return 10
    fi
    echo "$version" > "$MACHINE/$module"
    for kernel in "$MACHINE"/headers/*; do
        [ -e "$kernel" ] || continue
        mkdir -p "$ROOT/lib/modules/${kernel##*/}/updates/dkms"
        : > "$ROOT/lib/modules/${kernel##*/}/updates/dkms/$module.ko"
    done
}

nvidia_driver() {
    build nvidia "$1" || return
    appear nvidia-smi
    case ${2:-} in
    grid) : > "$MACHINE/gridd" ;;
    esac
}

amd_driver() { build amdgpu "$1"; }

cuda_toolkit() {
    mkdir -p "$ROOT/usr/local/cuda/bin"
    echo "$1" > "$MACHINE/cuda"
    cp "$MACHINE/later/nvcc" "$ROOT/usr/local/cuda/bin/nvcc"
}

rocminfo() {
    mkdir -p "$ROOT/opt/rocm/bin"
    cp "$MACHINE/later/rocminfo" "$ROOT/opt/rocm/bin/rocminfo"
}

# A file that curl has made: what kind of package it is, and its version.
file_package() {
    local kind version
    read -r kind version < "$1" || return
    case $kind in
    driver) nvidia_driver "$version" grid ;;
    keyring)
        mkdir -p "$ROOT/usr/share/keyrings" "$ROOT/etc/apt/sources.list.d"
        : > "$ROOT/usr/share/keyrings/cuda-archive-keyring.gpg"
        echo "deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg]" \
            "$version /" > "$ROOT/etc/apt/sources.list.d/cuda.list"
        ;;
    *) return 1 ;;
    esac
}

# Effects of a package, whoever installs it; status 1 if there is none such.
package() {
    case $1 in
    gcc | make | ca-certificates | curl) ;;
    g++ | gcc-c++) : > "$MACHINE/c++" ;;
    dkms) appear dkms ;;
    pciutils) appear lspci ;;
    linux-headers-generic | linux-headers-amd64 | kernel-devel)
        : > "$MACHINE/headers/$(fact newest)"
        ;;
    linux-image-generic | linux-image-amd64 | kernel)
        cp "$MACHINE/newest" "$MACHINE/next"
        ;;
    linux-headers-* | kernel-devel-*)
        ! spoiled headers || [ "${1#*-*-}" = "$(fact newest)" ] || return
        : > "$MACHINE/headers/${1#*-*-}"
        ;;
    linux-modules-extra-* | kernel-headers | kernel-headers-*) ;;
    cuda-toolkit-*-*)
        local version=${1#cuda-toolkit-}
        cuda_toolkit "${version/-/.}"
        ;;
    rocminfo) rocminfo ;;
    rocm-smi-lib) ;;
    amdgpu-dkms) amd_driver 6.14.14 ;;
    *) return 1 ;;
    esac
}
