#!/bin/bash
# This runs in the image.
# shellcheck disable=SC2016,SC2034,SC2317,SC2329

set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
ROOT=${OSC_GPU_ROOT:-}
STATE=$ROOT/var/lib/osc-gpu
