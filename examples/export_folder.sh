#!/usr/bin/env bash
# A folder of slides that were annotated in the viewer, as files for other programs and one page to look at:
#
#   bash examples/export_folder.sh embedded results
#
# What is up to date is left alone, so that the same line may be given after every day of annotating.
set -uo pipefail

slides=${1:?"say which folder: bash export_folder.sh SLIDES [RESULTS]"}
results=${2:-results}
failed=0

# A slide that fails is told and the others are done (status 1); wrong use (2) ends the script.
try() {
  "$@"
  local status=$?
  [ "$status" -le 1 ] || exit "$status"
  [ "$status" -eq 0 ] || failed=1
}

mkdir -p "$results/qupath" "$results/patches"
try tissuumaps-sic export "$slides" --format geojson.gz -o "$results/qupath"  # regions, for QuPath
try tissuumaps-sic export "$slides" --format csv -o "$results/patches"        # a row a patch, for pandas and R
try tissuumaps-sic table "$slides" -o "$results/table.csv" --sheet "$results/sheet.html"  # a row a slide, and pictures
exit "$failed"
