#!/bin/sh
# A cohort on Kubernetes: a Job that plans, an Indexed Job that searches, a Job
# that merges, on a volume that all machines can write (ReadWriteMany) mounted at
# /data. Put the image, the claim, the flags and the number of completions into
# the files first.
#
#   sh kubernetes.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)/kubernetes
for step in plan array merge; do
	kubectl apply -f "$here/$step.yaml"
	name=cohort-$step
	[ "$step" = array ] && name=cohort
	kubectl wait --for=condition=complete --timeout="${TIMEOUT:-168h}" "job/$name"
done
