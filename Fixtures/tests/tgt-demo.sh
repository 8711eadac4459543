#!/usr/bin/env bash
# The demonstration works on a tgt target.
set -euo pipefail
export POOL=tgt
exec "$(dirname "$0")/demo.sh"
