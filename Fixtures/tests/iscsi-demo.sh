#!/usr/bin/env bash
# The demonstration works on an Element array, simulated on an iSCSI target.
set -euo pipefail
export POOL=iscsi
exec "$(dirname "$0")/demo.sh"
