#!/usr/bin/env bash
# The demonstration works.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
"$root/Fixtures/demo" >"$work/demo.log" 2>&1 || { cat "$work/demo.log"; exit 1; }
sed -n 's/^BOOT-OK/  &/p' "$work/demo.log"
sed -n '/^What was done/,$s/^/  /p' "$work/demo.log"
