
# Red Hat Enterprise Linux, Rocky Linux, AlmaLinux.

COMPILER=gcc-c++

install() { dnf --assumeyes --quiet install "$@"; }

install_file() { install "$1" && build; }

# To build a module takes minutes, and fails again where it has failed.
install_driver() {
    patiently install --downloadonly "$@" && install "$@" && build
}

# What is not built yet: dnf does not fail with it, and dkms tells why.
build() { dkms autoinstall -k "$(uname -r)"; }

new_initramfs() { dracut --force --regenerate-all; }

kernel_tools() {
    local release=${SYSTEM##*-} cpu
    cpu=$(uname -m)
    # DKMS is in EPEL, what it needs in the repository for builders.
    case $SYSTEM in
    rhel-*)
        # Clouds that sell it have repositories of their own for this.
        subscription-manager repos --enable \
            "codeready-builder-for-rhel-$release-$cpu-rpms"
        patiently install "https://dl.fedoraproject.org/pub/epel/\
epel-release-latest-$release.noarch.rpm"
        ;;
    *)
        patiently install epel-release dnf-plugins-core || return
        case $release in
        8) dnf config-manager --set-enabled powertools ;;
        *) dnf config-manager --set-enabled crb ;;
        esac
        ;;
    esac || return
    patiently install dkms gcc make pciutils curl || return
    # Not kernel-headers: gcc has brought them, and may not take older ones.
    install "kernel-devel-$(uname -r)" && return
    # Those of this kernel are gone from the mirrors: take the newest.
    install kernel kernel-devel &&
        reboot_later "there are no headers for kernel $(uname -r)"
}

nvidia_repository() {
    local cpu=x86_64
    [ "$(uname -m)" = x86_64 ] || cpu=sbsa
    cat > "$ROOT/etc/yum.repos.d/osc-gpu-cuda.repo" << END
[osc-gpu-cuda]
name=NVIDIA CUDA
baseurl=$NVIDIA/$NVIDIA_FOLDER/$cpu/
enabled=1
gpgcheck=1
gpgkey=$NVIDIA/$NVIDIA_FOLDER/$cpu/D42D0685.pub
END
}

nvidia_driver() {
    local branch=${VERSION%%.*} package=nvidia-open stream
    case $DRIVER in
    nvidia)
        package='cuda-drivers'
        stream=${branch:-latest}-dkms
        ;;
    # The newest has a name of another form.
    *) stream=${branch:-open-dkms}${branch:+-open} ;;
    esac
    patiently dnf --assumeyes module enable "nvidia-driver:$stream" || return
    if [ "$branch" != "$VERSION" ]; then
        patiently install python3-dnf-plugin-versionlock || return
        dnf versionlock add "*nvidia*$VERSION*" "cuda-drivers-$VERSION*" ||
            return
    fi
    install_driver "$package"
}

amd_repository() {
    local minor
    minor=$(system)
    cat > "$ROOT/etc/yum.repos.d/osc-gpu-rocm.repo" << END
[osc-gpu-amdgpu]
name=AMD GPU driver
baseurl=$AMD/amdgpu/$(amd_driver_release)/el/${minor##*-}/main/x86_64/
enabled=1
gpgcheck=1
gpgkey=$AMD/rocm/rocm.gpg.key

[osc-gpu-rocm]
name=AMD ROCm
baseurl=$AMD/rocm/$AMD_NAME/${VERSION:-latest}/main
enabled=1
priority=50
gpgcheck=1
gpgkey=$AMD/rocm/rocm.gpg.key
END
}

# A cloud's kernel may lack the module, so it is built.
amd_driver() {
    install_driver amdgpu-dkms rocm-smi-lib rocminfo
}
