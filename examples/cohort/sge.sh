#!/bin/sh
# A cohort on Grid Engine: a job that plans, an array that searches, a job that
# merges.
#
#   TASKS=50 sh sge.sh cohort.csv /shared/results -mpp 0.5
#
# -r y starts tasks again whose machine failed; they go on where they were. Other
# options of qsub (queue, memory, parallel environment) go into QSUB_ARGS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export SHEET="$1" OUT="$2"
shift 2
export FLAGS="$*"
tasks=${TASKS:-8}
plan=$(qsub -terse -V -cwd ${QSUB_ARGS:-} -N cohort-plan -b y slidesam cohort -sheet "$SHEET" -out "$OUT" $FLAGS -plan)
array=$(qsub -terse -V -cwd ${QSUB_ARGS:-} -N cohort -r y -t 1-"$tasks" -hold_jid "$plan" "$here/task.sh")
qsub -terse -V -cwd ${QSUB_ARGS:-} -N cohort-merge -hold_jid "${array%%.*}" -b y slidesam cohort -sheet "$SHEET" -out "$OUT" $FLAGS -merge
