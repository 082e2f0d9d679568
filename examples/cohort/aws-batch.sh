#!/bin/sh
# A cohort on AWS Batch: a job that plans, an array that searches, a job that
# merges, on a file system of EFS mounted at /data. Put the image and the file
# system into aws-batch.json first.
#
#   QUEUE=spot TASKS=50 sh aws-batch.sh /data/cohort.csv /data/results -mpp 0.5
#
# Spot machines that are taken away are tried again, and go on where they were.
# Exit code 4, slides that failed, counts as done: the table has the reasons.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sheet=$1 out=$2
shift 2
tasks=${TASKS:-8} # an array of AWS Batch has 2 to 10,000
aws batch register-job-definition --cli-input-json "file://$here/aws-batch.json" >/dev/null
submit() { # name, step, more
	name=$1 step=$2
	shift 2
	aws batch submit-job --job-name "$name" --job-queue "$QUEUE" --job-definition slidesam-cohort \
		--parameters "{\"sheet\":\"$sheet\",\"out\":\"$out\",\"flags\":\"$flags\",\"step\":\"$step\"}" --query jobId --output text "$@"
}
flags="$*"
plan=$(submit cohort-plan -plan)
array=$(submit cohort "-shard auto" --array-properties "size=$tasks" --depends-on "jobId=$plan")
submit cohort-merge -merge --depends-on "jobId=$array"
