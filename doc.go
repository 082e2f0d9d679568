// Package sam is Segment Anything in pure Go for digital pathology.
package sam
