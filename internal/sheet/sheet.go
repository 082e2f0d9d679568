// Package sheet reads tables as spreadsheets write them: CSV with a header, with
// a byte order mark or without, between commas, semicolons or tabs.
//
//	head, rows, err := sheet.Read("slides.csv")
package sheet

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"

	"github.com/slidesam/sam/internal/regular"
)

// maxBytes is the longest sheet that is read.
const maxBytes = 64 << 20

// Read returns the header and the lines below it, at least one. All have as
// many fields as the header.
func Read(path string) (head []string, rows [][]string, err error) {
	b, err := regular.ReadFile(path, maxBytes)
	if err != nil {
		return nil, nil, err
	}
	if head, rows, err = Parse(b); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return head, rows, err
}

// Parse is Read for the content of a file.
func Parse(b []byte) (head []string, rows [][]string, err error) {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	first, _, _ := bytes.Cut(b, []byte("\n"))
	r := csv.NewReader(bytes.NewReader(b))
	for _, sep := range ";\t" {
		if !bytes.ContainsRune(first, ',') && bytes.ContainsRune(first, sep) {
			r.Comma = sep
		}
	}
	all, err := r.ReadAll()
	if err != nil {
		return nil, nil, err
	}
	if len(all) < 2 {
		return nil, nil, fmt.Errorf("no slides: want a header with a column slide, and a line for each")
	}
	for _, h := range all[0] {
		head = append(head, strings.TrimSpace(h))
	}
	return head, all[1:], nil
}

// Column returns the place of a column by its name in any case, -1 if there is
// none.
func Column(head []string, name string) int {
	return slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(h, name) })
}
