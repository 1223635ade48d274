#!/usr/bin/env bash
# Makes every number and figure of docs/anonymity.md again: runs all attacks with a fixed seed, fills the document's tables,
# puts the plots into docs/figures and one page with everything into target/anonymity/report.html. Some minutes on a free
# core.
#
#   simulations/figures.sh [TRACE]
#
# TRACE is a file of lines `from to unix-seconds`; the document used CollegeMsg of SNAP, which has no licence that
# would let it lie here. Without it, people are made up, and what rests on the trace comes out differently.
set -euo pipefail
cd "$(dirname "$0")/.."

trace=()
if (($# > 0)); then
    trace=(--trace "$1")
else
    echo "figures: NO TRACE GIVEN: A6, A7, A8, A10 and A14 run on made-up people" >&2
fi
out=target/anonymity
cargo build --release -p simulations
target/release/simulations attack run all --effort full --seed 1 "${trace[@]}" --out "$out" --again
target/release/simulations report "$out" --title "What an adversary learns"
target/release/simulations report "$out" --fill docs/anonymity.md
mkdir -p docs/figures
cp "$out"/*.svg docs/figures/
