#!/bin/bash
# Make an image of @SYSTEM@ @CONTENT@, with virt-customize.
# Printed by: openstack gpu image recipe show
#
# It needs virt-customize (of guestfs-tools or libguestfs-tools), qemu-img, the
# network, and an image of @SYSTEM@ for clouds, which stays as it is:
#
#     bash @NAME@.sh <base image> @NAME@.qcow2
#
@NOTES@
# Then:
#
#     openstack image create --file @NAME@.qcow2 --disk-format qcow2 \
#         --container-format bare @NAME@
#     openstack gpu image set @NAME@ --recommended --guest-os @SYSTEM@
#     openstack gpu server create <server> --image @NAME@ --gpu <request> \
#         --network <network> @LAUNCH@ --verify

set -eu

if [ $# -lt 2 ]; then
    echo "usage: bash $0 <base image> <new image>" \
        "[<option of virt-customize> ...]" >&2
    exit 2
fi
base=$1 image=$2
shift 2
if [ -e "$image" ]; then
    echo "$image exists already" >&2
    exit 1
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder" "$image.part"' EXIT

cat > "$folder/build" << 'END-OF-BUILD'
@BUILD@
END-OF-BUILD

qemu-img convert -O qcow2 "$base" "$image.part"
qemu-img resize -f qcow2 "$image.part" +20G
virt-customize --format qcow2 --add "$image.part" --memsize 4096 \
    --smp "$(nproc)" "$@" \
    @OPTIONS@
mv "$image.part" "$image"
