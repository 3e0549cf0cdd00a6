
# Ubuntu and Debian.

COMPILER=g++

apt() {
    apt-get -qq -o DPkg::Lock::Timeout=900 -o Acquire::Retries=3 "$@"
}

# Without the option it is content with a mirror that it cannot reach.
refresh() { patiently apt -o APT::Update::Error-Mode=any update; }

install() { apt install --yes --no-install-recommends "$@"; }

install_file() { install "$1"; }

# With what they recommend, as NVIDIA and AMD have them installed.  To build
# a module takes minutes, and fails again where it has failed.
install_driver() {
    patiently apt install --yes --download-only "$@" &&
        apt install --yes "$@"
}

new_initramfs() { update-initramfs -u; }

kernel_tools() {
    refresh || return
    patiently install dkms gcc make pciutils curl ca-certificates || return
    install "linux-headers-$(uname -r)" && return
    # The headers of this kernel are gone from the mirrors: take the newest.
    case $SYSTEM in
    ubuntu-*) install linux-image-generic linux-headers-generic ;;
    *)
        local cpu
        cpu=$(dpkg --print-architecture)
        install "linux-image-$cpu" "linux-headers-$cpu"
        ;;
    esac && reboot_later "there are no headers for kernel $(uname -r)"
}

nvidia_repository() {
    local cpu=x86_64
    [ "$(uname -m)" = x86_64 ] || cpu=sbsa
    # Some of what the driver needs is not in Debian's main.
    if [ "${SYSTEM%-*}" = debian ]; then
        sed -i -E '/^(deb|Components:)/ {
            / contrib( |$)/! s/ main( |$)/ main contrib\1/ }' \
            "$ROOT"/etc/apt/sources.list \
            "$ROOT"/etc/apt/sources.list.d/debian.sources 2> /dev/null
    fi
    # The package brings the repository and the key that it is signed with.
    patiently fetch "$NVIDIA/$NVIDIA_FOLDER/$cpu/cuda-keyring_1.1-1_all.deb" \
        "$STATE/keyring.deb" || return
    # apt-get, unlike dpkg, waits for the others that install something.
    install_file "$STATE/keyring.deb" && refresh
}

nvidia_driver() {
    # apt finds none of a version if only one of them may be of another.
    local all='*nvidia* *nvctrl* cuda-drivers* libcuda* libnv*'
    if [ -n "$VERSION" ]; then
        mkdir -p "$ROOT/etc/apt/preferences.d"
        cat > "$ROOT/etc/apt/preferences.d/osc-gpu-driver" << END
Package: $all
Pin: version $VERSION.*
Pin-Priority: 1001

Package: $all
Pin: version $VERSION-*
Pin-Priority: 1001
END
    fi
    case $DRIVER in
    nvidia) install_driver cuda-drivers ;;
    *) install_driver nvidia-open ;;
    esac
}

amd_repository() {
    local key=$ROOT/etc/apt/keyrings/osc-gpu-rocm.asc
    mkdir -p "$ROOT"/etc/apt/{keyrings,preferences.d,sources.list.d}
    patiently fetch "$AMD/rocm/rocm.gpg.key" "$key" || return
    cat > "$ROOT/etc/apt/sources.list.d/osc-gpu-rocm.list" << END
deb [signed-by=/etc/apt/keyrings/osc-gpu-rocm.asc] $AMD/amdgpu/$(amd_driver_release)/ubuntu $AMD_NAME main
deb [signed-by=/etc/apt/keyrings/osc-gpu-rocm.asc] $AMD/rocm/apt/${VERSION:-latest} $AMD_NAME main
END
    # Distributions have a rocminfo too, with a higher version.
    printf 'Package: *\nPin: release o=repo.radeon.com\nPin-Priority: 600\n' \
        > "$ROOT/etc/apt/preferences.d/osc-gpu-rocm"
    refresh
}

# A cloud's kernel may lack the module, so it is built.
amd_driver() {
    # What it rests on is in a package of its own for most of Ubuntu's kernels.
    case $SYSTEM in
    ubuntu-*) install "linux-modules-extra-$(uname -r)" ;;
    esac
    install_driver amdgpu-dkms rocm-smi-lib rocminfo
}
