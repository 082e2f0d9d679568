// Command slidesam is Segment Anything for digital pathology in one program: a
// server with a viewer in the browser that QuPath's SAM extension can use too,
// and the commands that work through pictures, slides and data sets.
//
//	go run ./examples/slidesam serve
//	go run ./examples/slidesam help
package main

import (
	"os"

	"github.com/slidesam/sam/examples/slidesam/program"
)

func main() { os.Exit(program.Main()) }
