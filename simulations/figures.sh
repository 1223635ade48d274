#!/usr/bin/env bash
# Makes every number and figure of docs/anonymity.md again: runs all attacks with a fixed seed, fills the document's tables,
# puts the plots into docs/figures and one page with everything into target/anonymity/report.html. Half an hour on a
# free core, most of it A7 and A8.
#
#   simulations/figures.sh [TRACE]
#
# TRACE is a file of lines `from to unix-seconds`; the document used CollegeMsg of SNAP, which has no licence that
# would let it lie here. Without it, people are made up, and what rests on the trace comes out differently.
set -euo pipefail

trace=()
if (($# > 0)); then
    trace=(--trace "$(realpath -e "$1")")
else
    echo "figures: NO TRACE GIVEN: A6, A7, A8, A10 and A14 run on made-up people" >&2
fi
cd "$(dirname "$0")/.."
out=target/anonymity
cargo build --release -p simulations
run=${CARGO_TARGET_DIR:-target}/release/simulations
"$run" attack run all --effort full --seed 1 "${trace[@]}" --out "$out" --again
"$run" report "$out" --title "What an adversary learns"
"$run" report "$out" --fill docs/anonymity.md
mkdir -p docs/figures
cp "$out"/*.svg docs/figures/
