#!/bin/sh
# One task of an array job: its share of the cohort's units. The program takes
# the task's number from the scheduler's variables.
#
#   SHEET  the sheet of slides
#   OUT    the folder for the results, which all machines share
#   FLAGS  more flags of slidesam cohort, without spaces in them
#
# Exit code 4 says that slides failed, which the table tells with their reasons:
# to do the task again would not help them.
set -eu
slidesam cohort -sheet "$SHEET" -out "$OUT" ${FLAGS:-} -shard auto || {
	code=$?
	[ "$code" -eq 4 ] || exit "$code"
}
