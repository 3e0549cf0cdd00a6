#!/bin/bash
# Make an image of @SYSTEM@ @CONTENT@, with diskimage-builder.
# Printed by: openstack gpu image recipe show
#
# It needs diskimage-builder with what that needs, the network, and sudo:
#
#     bash @NAME@.sh @NAME@.qcow2
#
@NOTES@
# Then:
#
#     openstack image create --file @NAME@.qcow2 --disk-format qcow2 \
#         --container-format bare @NAME@
#     openstack gpu image set @NAME@ --recommended --firmware-type uefi \
#         --guest-os @SYSTEM@
#     openstack gpu server create <server> --image @NAME@ --gpu <request> \
#         --network <network> @LAUNCH@ --verify

set -eu

if [ $# -lt 1 ]; then
    echo "usage: bash $0 <new image> [<option or element> ...]" >&2
    exit 2
fi
image=${1%.qcow2}
shift
if [ -e "$image.qcow2" ]; then
    echo "$image.qcow2 exists already" >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

mkdir -p "$folder/osc-gpu/post-install.d"
cat > "$folder/osc-gpu/post-install.d/60-osc-gpu" << 'END-OF-BUILD'
@BUILD@
END-OF-BUILD
chmod +x "$folder/osc-gpu/post-install.d/60-osc-gpu"

export ELEMENTS_PATH=$folder${ELEMENTS_PATH:+:$ELEMENTS_PATH}
@OPTIONS@
disk-image-create -t qcow2 -o "$image" "$@" "${elements[@]}"
