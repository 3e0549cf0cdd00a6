
# What the first boot of a server and the building of an image have in common.

NVIDIA=https://developer.download.nvidia.com/compute/cuda/repos
AMD=https://repo.radeon.com

fetch() {
    # A URL may have a password in it, and arguments are for all to see.
    local url=${1//\\/\\\\}
    curl --fail --silent --show-error --location --globoff --retry 5 \
        --proto '=http,https' --max-time 1800 --output "$2" --config - \
        <<< "url = \"${url//\"/\\\"}\""
}

# Networks and mirrors have their moments, at first boot more than later.
patiently() {
    local pause
    for pause in 10 30 60 0; do
        "$@" && return
        # The last of them is the answer.
        [ "$pause" -gt 0 ] || return 1
        sleep "${OSC_GPU_PAUSE:-$pause}"
    done
}

# In a shell of its own: os-release has a VERSION too.
system() (
    # shellcheck source=/dev/null
    . "$ROOT/etc/os-release"
    echo "${ID:-}-${VERSION_ID:-}"
)

is_the_system() {
    local found
    found=$(system)
    case $found in
    "$SYSTEM" | "$SYSTEM".*) return ;;
    esac
    echo "this is $found, and the driver was chosen for $SYSTEM"
    return 1
}

# By its end, since a URL may have a query: .run, .deb or .rpm.
from_url() {
    local name=${URL%%[?#]*}
    local file=$STATE/driver.${name##*.}
    patiently fetch "$URL" "$file" || return
    case $file in
    *.run)
        local options=(--silent --no-questions --dkms)
        more_options
        [ "$DRIVER" != nvidia-open ] || options+=(-m=kernel-open)
        sh "$file" "${options[@]}" || return
        ;;
    *) install_file "$file" || return ;;
    esac
    rm -f "$file"
}

# AMD's drivers have versions of their own since ROCm 7: 30.20.1 is of 7.1.1.
amd_driver_release() {
    local major minor patch
    IFS=. read -r major minor patch <<< "$VERSION"
    case $major in
    7) echo "30.$((10#${minor:-0} + 1))0${patch:+.$patch}" ;;
    *) echo "${VERSION:-latest}" ;;
    esac
}

# nvcc needs the other compiler's headers, and to link.
cuda() {
    patiently install "cuda-toolkit-${CUDA//./-}" "$COMPILER" || return
    echo "export PATH=/usr/local/cuda/bin:\$PATH" \
        > "$ROOT/etc/profile.d/osc-gpu-cuda.sh"
}

driver_and_cuda() {
    if [ "$DRIVER" = amdgpu ]; then
        step "AMD's repository" amd_repository
        step "driver amdgpu" amd_driver
        return
    fi
    if [ -n "$CUDA" ] || [ -z "$URL" ]; then
        step "NVIDIA's repository" nvidia_repository
    fi
    if [ -n "$URL" ]; then
        step "driver from the URL" from_url
    else
        step "driver $DRIVER" nvidia_driver
    fi
    [ -z "$CUDA" ] || step "CUDA $CUDA" cuda
}
