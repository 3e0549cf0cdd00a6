#!/bin/bash
# Look at the GPUs of this server and tell, in one line of JSON on the serial
# console, what is there.  Part of osc-gpu; asked for by: openstack gpu server
# create --verify.  Run it again at any time: sudo osc-gpu-report
#
# OSC_GPU_ROOT is where / is.

set -u
export LC_ALL=C
ROOT=${OSC_GPU_ROOT:-}
STATE=$ROOT/var/lib/osc-gpu

# Who makes GPUs and accelerators, by PCI's numbers.
VENDORS='
    0731 0ccd 1002 10de 17cb 19e5 1ac1 1ae0 1bcf 1d22 1d26 1d87
    1d94 1d95 1da3 1de0 1e0d 1e30 1e36 1e38 1e3e 1e52 1e60 1e67
    1e7c 1e9f 1ea0 1ec6 1ecc 1ed2 1ed5 1eed 1eff 1f0d 1f1c 1f2e
    1f56 1f82 1f9d 1faa 1fb0 1fe9 1ff4 2077 209f 20a1 22b8 4c54
    6766 8086 8510 9999 cabc cdfa
'

DRIVER=none VERSION='' CUDA='' LICENSE='' WORKLOAD='' REPORT_URL=''
if [ -r "$ROOT/etc/osc-gpu/settings" ]; then
    # shellcheck source=/dev/null
    . "$ROOT/etc/osc-gpu/settings"
fi

# A JSON string of the text on standard input, or null if there is none.
text() {
    local all
    all=$(tr '\000-\037\177' ' ' | cut -b 1-400 |
        iconv -c -f UTF-8 -t UTF-8 | sed 's/[\\"]/\\&/g; s/ *$//')
    if [ "$all" ]; then printf '"%s"\n' "$all"; else echo null; fi
}

# A JSON number, or null if the text on standard input is none.
number() {
    awk '{ gsub(/ /, "") } /^[0-9]+$/ { n = $0 + 0; seen = 1; exit }
         END { if (seen) printf "%d\n", n; else print "null" }'
}

first_line() { head -n 1; }

# <address> <vendor id> <product id> of each GPU, whoever drives it.
pci_gpus() {
    if command -v lspci > /dev/null; then
        lspci -Dn | awk '{
            split($3, id, ":")
            print $1, substr($2, 1, 4), id[1], id[2] }'
    else
        local device
        for device in "$ROOT"/sys/bus/pci/devices/*; do
            [ -r "$device/class" ] && echo "${device##*/}" \
                "$(cut -b 3-6 "$device/class")" \
                "$(cut -b 3-6 "$device/vendor")" \
                "$(cut -b 3-6 "$device/device")"
        done
    fi | awk -v vendors=" ${VENDORS//[[:space:]]/ } " '
        # Huawei has displays of management controllers; what these call
        # co-processors computes checksums and the like.
        $2 $3 ~ /^(030019e5|0b40(10de|19e5|8086))$/ { next }
        $2 ~ /^(0300|0302|0380|0b40|1200)$/ && index(vendors, " " $3 " ") {
            print $1, $3, $4 }'
}

pci_json() {
    pci_gpus | awk 'BEGIN { printf "[" }
        { printf "%s{\"address\": \"%s\", \"vendor_id\": \"%s\", " \
              "\"product_id\": \"%s\"}", (NR > 1 ? ", " : ""), $1, $2, $3 }
        END { print "]" }'
}

# What nvidia-smi lists: a line per GPU, name, MiB, driver, MIG mode.
nvidia_gpus() {
    nvidia-smi --format=csv,noheader,nounits \
        --query-gpu=pci.bus_id,name,memory.total,driver_version,mig.mode.current \
        2>> "$noise"
}

nvidia_json() {
    local first='' address name memory version mig
    printf '['
    while IFS=, read -r address name memory version mig; do
        [ -n "$memory" ] || continue
        printf '%s{"address": %s, "name": %s, "memory_mib": %s, "mig": %s}' \
            "$first" "$(pci_address <<< "$address" | text)" \
            "$(text <<< "${name# }")" \
            "$(number <<< "$memory")" "$(mig_mode <<< "$mig")"
        first=', '
    done
    echo ']'
}

# As the kernel writes it: the driver writes 00000000:05:00.0.
pci_address() { tr -d ' ' | tr '[:upper:]' '[:lower:]' | sed 's/^0000//'; }

# Cards that have no MIG say so in brackets.
mig_mode() {
    awk '/Enabled|Disabled/ { gsub(/ /, ""); print "\"" $0 "\""; seen = 1 }
         END { if (!seen) print "null" }'
}

amd_json() {
    local first='' device memory
    printf '['
    for device in "$ROOT"/sys/bus/pci/drivers/amdgpu/*:*; do
        [ -e "$device" ] || continue
        memory=$(cat "$device/mem_info_vram_total" 2>> "$noise")
        printf '%s{"address": %s, "name": %s, "memory_mib": %s, "mig": null}' \
            "$first" "$(text <<< "${device##*/}")" \
            "$(lspci_name "${device##*/}" | text)" \
            "$(( ${memory:-0} / 1048576 ))"
        first=', '
    done
    echo ']'
}

# Nothing, where the image has no lspci.
lspci_name() {
    lspci -s "$1" 2> /dev/null | first_line |
        sed 's/^[^ ]* [^:]*: //; s/ (rev [0-9a-f]*)$//'
}

# What is installed as CUDA toolkit, else nothing.
toolkit() {
    local nvcc=$ROOT/usr/local/cuda/bin/nvcc
    [ -x "$nvcc" ] || nvcc=$(command -v nvcc) || return 0
    "$nvcc" --version 2>> "$noise" |
        sed -n 's/.*release \([0-9.]*\).*/\1/p' | first_line
}

nvidia_query() { nvidia-smi -q 2>> "$noise"; }

# The state of the licence: that of the first GPU that is not licensed.
license() {
    nvidia_query | sed -n 's/^ *License Status *: *//p' | grep -v '^N/A' |
        awk 'NR == 1 || (best ~ /^Licensed/ && $0 !~ /^Licensed/) {
                best = $0 }
             END { print best }'
}

secure_boot() {
    local variable
    for variable in "$ROOT"/sys/firmware/efi/efivars/SecureBoot-*; do
        if [ -r "$variable" ]; then
            case $(od -An -j4 -N1 -t u1 "$variable" | tr -d ' ') in
            1) echo true; return ;;
            0) echo false; return ;;
            esac
        fi
    done
    echo null
}

# What went wrong first: in the installation, or when the driver is asked.
first_error() {
    if [ -s "$STATE/error" ]; then
        first_line < "$STATE/error"
    elif [ -e "$STATE/busy" ]; then
        echo "the driver is still being installed"
    elif [ -s "$noise" ]; then
        grep -v '^ *$' "$noise" | first_line
    fi
}

of_nvidia() {
    if ! command -v nvidia-smi > /dev/null; then
        return 1
    fi
    # It says what is wrong on standard output.
    if ! nvidia_gpus > "$found"; then
        cat "$found" >> "$noise"
        : > "$found"
    fi
    gpus=$(nvidia_json < "$found")
    [ ! -e "$ROOT/sys/module/nvidia" ] || driver='"nvidia"'
    version=$(text 2> /dev/null < "$ROOT/sys/module/nvidia/version" ||
        echo null)
    cuda=$(nvidia-smi 2>> "$noise" |
        sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' | first_line | text)
    license=$(license | text)
}

of_amd() {
    [ -d "$ROOT/sys/bus/pci/drivers/amdgpu" ] || return 1
    gpus=$(amd_json)
    driver='"amdgpu"'
    version=$(version_of amdgpu | text)
}

# Those of the kernel itself have its version.
version_of() { cat "$ROOT/sys/module/$1/version" 2> /dev/null || uname -r; }

# Cards of other vendors have no program that every image has: it is told which
# of them the kernel has given to a driver.
of_others() {
    local address bound name='' all=''
    pci_gpus > "$found"
    [ -s "$found" ] && ! grep -qE ' (10de|1002) ' "$found" || return
    while read -r address _; do
        bound=$(driver_of "$address") || continue
        name=${name:-$bound}
        all+="${all:+, }{\"address\": $(text <<< "$address"), "
        all+="\"name\": $(lspci_name "$address" | text), "
        all+='"memory_mib": null, "mig": null}'
    done < "$found"
    gpus="[$all]"
    [ -n "$name" ] || return 0
    driver=$(text <<< "$name")
    version=$(version_of "$name" | text)
}

# Not those that keep a device for somebody else.
driver_of() {
    cd -P "$ROOT/sys/bus/pci/devices/$1/driver" 2> /dev/null || return
    case ${PWD##*/} in
    vfio-pci | pci-stub) return 1 ;;
    esac
    echo "${PWD##*/}"
}

system() {
    local ID='' VERSION_ID=''
    # shellcheck source=/dev/null
    . "$ROOT/etc/os-release" 2> /dev/null && echo "$ID-$VERSION_ID"
}

asked() {
    # There it is a release of ROCm, and not the driver's version.
    [ "$DRIVER" != amdgpu ] || VERSION=''
    printf '{"driver": %s, "version": %s, "cuda": %s, "license": %s, ' \
        "$(text <<< "$DRIVER")" "$(text <<< "$VERSION")" \
        "$(text <<< "$CUDA")" "${LICENSE:-false}"
    printf '"workload": %s}' "$(text <<< "$WORKLOAD")"
}

line() {
    local gpus='[]' driver=null version=null cuda=null license=null
    of_others || of_nvidia || of_amd
    printf '{"version": 1, "time": %s, "system": %s, "kernel": %s, ' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ | text)" \
        "$(system | text)" \
        "$(uname -r | text)"
    printf '"asked": %s, "pci": %s, "driver": %s, "driver_version": %s, ' \
        "$(asked)" "$(pci_json)" "$driver" "$version"
    printf '"cuda": %s, "cuda_toolkit": %s, "gpus": %s, "license": %s, ' \
        "$cuda" "$(toolkit | text)" "$gpus" "$license"
    printf '"secure_boot": %s, "workload": %s, "workload_detail": %s, ' \
        "$(secure_boot)" "$(cat "$STATE/workload" 2> /dev/null | text)" \
        "$(tail -n 1 "$STATE/workload.detail" 2> /dev/null | text)"
    printf '"error": %s}' "$(first_error | text)"
}

# The serial lines that the kernel writes to, which Nova keeps.
consoles() {
    local name names=() none=true
    read -ra names 2> /dev/null < "$ROOT/sys/class/tty/console/active"
    for name in "${names[@]}"; do
        case $name in
        tty[A-Z]* | hvc*) echo "$ROOT/dev/$name" && none=false ;;
        esac
    done
    # An image may have no serial console, but Nova keeps what is sent there.
    ! $none || printf '%s\n' "$ROOT/dev/console" "$ROOT/dev/ttyS0"
}

tell() {
    local console pause
    # Twice, as the kernel may speak in the middle of a line; the last one
    # that is whole counts.
    for pause in 2 0; do
        while read -r console; do
            printf '\nosc-gpu-report-begin %s osc-gpu-report-end\n' "$1" \
                2> /dev/null >> "$console"
        done < <(consoles)
        sleep "${OSC_GPU_PAUSE:-$pause}"
    done
    echo "$1"
    if [ -n "$REPORT_URL" ]; then
        # It may have a password in it, and arguments are for all to see.
        local url=${REPORT_URL//\\/\\\\}
        echo "$1" > "$folder/line"
        curl --fail --silent --show-error --globoff --max-time 60 --retry 3 \
            --proto '=http,https' --header 'Content-Type: application/json' \
            --data-binary "@$folder/line" --output /dev/null --config - \
            <<< "url = \"${url//\"/\\\"}\"" ||
            echo "The report could not be sent" >&2
    fi
}

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
noise=$folder/noise found=$folder/found
: > "$noise"
tell "$(line)"
