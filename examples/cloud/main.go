// Command cloud is slidesam that reads slides from, and writes cohorts to, buckets
// that need credentials: Amazon S3 and whatever speaks its protocol, Google Cloud
// Storage, Azure Blob Storage. It is a module of its own because their
// libraries are larger than all the rest.
//
//	go build -o slidesam . && ./slidesam cohort -sheet s3://lab/cohort.csv -out s3://lab/results
package main

import (
	"os"

	_ "github.com/slidesam/sam/examples/cloud/buckets"
	"github.com/slidesam/sam/examples/slidesam/program"
)

func main() { os.Exit(program.Main()) }
