#!/usr/bin/env bash
# The demonstration works on a Ceph cluster.
set -euo pipefail
export POOL=rbd
exec "$(dirname "$0")/demo.sh"
