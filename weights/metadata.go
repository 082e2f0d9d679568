package weights

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// notesPrefix is that of the entries of a file's metadata that are kept.
const notesPrefix = "slidesam."

// maxNotes is the longest metadata of a zip archive, whose comment it is.
const maxNotes = 1<<16 - 1

// Metadata returns what the file says about its weights beside them: the
// entries whose names begin with "slidesam.". [Checkpoint.Save] and [Convert]
// keep them, in .safetensors files as __metadata__ and in .npz and .pth files
// as the archive's comment, which other programs pass over.
func (c *Checkpoint) Metadata() map[string]string {
	out := maps.Clone(c.notes)
	if out == nil {
		out = map[string]string{}
	}
	return out
}

// WithMetadata returns the checkpoint with entries added to its metadata or
// put in the place of those of the same names. It aliases c, which must stay
// open as long as it is used. It returns an error if a name does not begin
// with "slidesam.".
func (c *Checkpoint) WithMetadata(entries map[string]string) (*Checkpoint, error) {
	all := c.Metadata()
	for k, v := range entries {
		if !strings.HasPrefix(k, notesPrefix) {
			return nil, fmt.Errorf("weights: metadata %q: want a name that begins with %s", k, notesPrefix)
		}
		all[k] = v
	}
	return newCheckpoint(c.tensors, c.layout, nil).noting(all), nil
}

// noting sets the metadata of a new checkpoint.
func (c *Checkpoint) noting(notes map[string]string) *Checkpoint {
	c.notes = ours(notes)
	return c
}

// ours are the entries that are kept.
func ours(notes map[string]string) map[string]string {
	var out map[string]string
	for k, v := range notes {
		if strings.HasPrefix(k, notesPrefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[k] = v
		}
	}
	return out
}

// commentHead begins an archive's comment that is metadata.
const commentHead = "slidesam metadata\n"

// comment returns the comment of an archive.
func comment(notes map[string]string) (string, error) {
	if len(notes) == 0 {
		return "", nil
	}
	b, err := json.Marshal(notes)
	if err != nil {
		return "", err
	}
	if n := len(commentHead) + len(b); n > maxNotes {
		return "", fmt.Errorf("metadata of %d bytes, an archive holds %d: save it as .safetensors", n, maxNotes)
	}
	return commentHead + string(b), nil
}

// parseComment returns the metadata in an archive's comment; comments of other
// programs have none.
func parseComment(b []byte) (map[string]string, error) {
	b, ok := bytes.CutPrefix(b, []byte(commentHead))
	if !ok {
		return nil, nil
	}
	var notes map[string]string
	if err := json.Unmarshal(b, &notes); err != nil {
		return nil, fmt.Errorf("the archive's comment is no metadata: %w", err)
	}
	return ours(notes), nil
}
