#!/bin/sh
# A cohort on Slurm: a job that plans, an array that searches, a job that merges.
#
#   TASKS=50 sh slurm.sh cohort.csv /shared/results -mpp 0.5
#
# Tasks that are preempted go on where they were when Slurm starts them again.
# Other options of sbatch (partition, account, memory) go into SBATCH_ARGS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
export SHEET="$1" OUT="$2"
shift 2
export FLAGS="$*"
tasks=${TASKS:-8}
work="slidesam cohort -sheet '$SHEET' -out '$OUT' $FLAGS"
plan=$(sbatch --parsable ${SBATCH_ARGS:-} --job-name=cohort-plan --wrap="$work -plan")
array=$(sbatch --parsable ${SBATCH_ARGS:-} --job-name=cohort --requeue --array=0-$((tasks - 1)) --dependency="afterok:${plan%%;*}" "$here/task.sh")
sbatch --parsable ${SBATCH_ARGS:-} --job-name=cohort-merge --dependency="afterany:${array%%;*}" --wrap="$work -merge"
