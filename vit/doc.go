// Package vit is Segment Anything's image encoder as a gorgonia graph.
package vit
