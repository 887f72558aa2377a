#!/bin/sh
# Measures the editor on a bare CUDA machine that has torch and transformers and no factd installed:
# real shapes, random weights, one table and one JSON document.
#   sh bench/gpu.sh [OUT.json] [more options of factd.bench.speed.gpu]
set -eu
cd "$(dirname "$0")/.."
out=${1:-gpu.json}
[ $# -gt 0 ] && shift
export PYTHONPATH="src${PYTHONPATH:+:$PYTHONPATH}"
exec "${PYTHON:-python3}" -m factd.bench.speed.gpu --json "$out" "$@"
