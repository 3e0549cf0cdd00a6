
# In an image that is being built, neither the kernel that runs nor /sys is
# that of the guest.

step() {
    local what=$1
    shift
    echo "osc-gpu: $what"
    if ! "$@"; then
        echo "osc-gpu: $what: failed" >&2
        exit 1
    fi
}

# The newest kernel is the one that boots.
kernel() {
    find "$ROOT/lib/modules" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' |
        sort --version-sort | tail -n 1
}

uname() {
    case $* in
    -r) kernel ;;
    *) command uname "$@" ;;
    esac
}

has_a_kernel() {
    [ -n "$(kernel)" ] || {
        echo "there is no kernel in /lib/modules"
        return 1
    }
}

# Nothing boots yet, and a kernel that came anew is the newest.
reboot_later() { :; }

# Images for clouds have less room than a driver needs.
grow() {
    local root disk number
    root=$(findmnt --noheadings --output SOURCE /) || return
    disk=$(lsblk --noheadings --output PKNAME "$root") || return
    number=$(cat "$ROOT/sys/class/block/${root##*/}/partition") || {
        echo "/ is on $root, which is no partition"
        return 1
    }
    growpart "/dev/$disk" "$number" || return
    case $(findmnt --noheadings --output FSTYPE /) in
    xfs) xfs_growfs / ;;
    *) resize2fs "$root" ;;
    esac
}

no_nouveau() {
    mkdir -p "$ROOT/etc/modprobe.d" &&
        printf 'blacklist nouveau\noptions nouveau modeset=0\n' \
            > "$ROOT/etc/modprobe.d/osc-gpu-nouveau.conf"
}

# Those of NVIDIA's installer, which adds them to its options.
more_options() {
    options+=(--skip-module-load --no-nouveau-check
        "--kernel-name=$(kernel)")
}

# Packages build for the kernel that runs, if they find it.
build_module() {
    local module=nvidia file
    [ "$DRIVER" != amdgpu ] || module=amdgpu
    dkms autoinstall -k "$(kernel)"
    file=$(modinfo -k "$(kernel)" -F filename "$module") || return
    case $file in
    */kernel/drivers/gpu/*)
        echo "$module for kernel $(kernel) is still the distribution's own"
        return 1
        ;;
    esac
}

new_initramfs() {
    if command -v update-initramfs > /dev/null; then
        update-initramfs -u -k "$(kernel)"
    else
        dracut --force --no-hostonly --kver "$(kernel)"
    fi
}

# A server that is to install this driver at its first boot reads it.
say_what_is_in_it() {
    mkdir -p "$ROOT/etc/osc-gpu" &&
        echo "$DRIVER $CUDA" > "$ROOT/etc/osc-gpu/image"
}

tidy() {
    if command -v apt-get > /dev/null; then
        apt-get clean
        rm -rf "$ROOT"/var/lib/apt/lists/*
    else
        dnf clean all
    fi
    rm -rf "$STATE"
}

install_and_build() {
    driver_and_cuda
    step "module for the image's kernel" build_module
    step "a note of it" say_what_is_in_it
}

step "system" is_the_system
step "is there a kernel" has_a_kernel
mkdir -p "$STATE"
[ "$GROW" != true ] || step "room for it" grow
step "kernel headers and compiler" kernel_tools
[ "$DRIVER" = amdgpu ] || step "nouveau off" no_nouveau
[ "$DRIVER" = none ] || install_and_build
step "new initramfs" new_initramfs
step "tidy up" tidy
