package weights

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
)

// maxIndex bounds the index of a model in several files. That of ViT-H, which
// has 594 tensors, is some 50 kB.
const maxIndex = 16 << 20

// isIndex reports whether a file is the index of a model in several files, as
// Hugging Face's save_pretrained writes: a JSON object with a weight_map.
func isIndex(b []byte) bool {
	return len(b) <= maxIndex && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) && bytes.Contains(b, []byte(`"weight_map"`))
}

// partName matches the files of such a model.
var partName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})(\.[A-Za-z]+)$`)

// refusePart names a file that is a part of a model.
func refusePart(path string) error {
	m := partName.FindStringSubmatch(filepath.Base(path))
	if m == nil || m[3] == "00001" {
		return nil
	}
	return fmt.Errorf("part %s of %s of a model in several files: open its index, %s%s.index.json, which belongs into the same folder", m[2], m[3], m[1], m[4])
}

// readParts reads the files that an index names, which lie beside it. They are
// closed with the index's.
//
// Source: huggingface_hub/serialization/_torch.py, split_torch_state_dict_into_shards.
func readParts(index *mapping) (tensors map[string]*Tensor, opaque map[string]string, err error) {
	if index.path == "" {
		return nil, nil, errors.New("the index of a model in several files: open it where the files lie")
	}
	at, err := parseIndex(index.data)
	if err != nil {
		return nil, nil, fmt.Errorf("index: %w", err)
	}
	files := map[string]bool{}
	for _, file := range at {
		files[file] = true
	}
	tensors, opaque, index.notes = map[string]*Tensor{}, map[string]string{}, map[string]string{}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		part, err := mapFile(filepath.Join(filepath.Dir(index.path), file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s, a part of the model that the index names, is %w: download it into the same folder", file, ErrMissing)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("part %s: %w", file, err)
		}
		index.parts = append(index.parts, part)
		own, ownOpaque, err := readTensors(part)
		part.doneOpening()
		if err != nil {
			return nil, nil, fmt.Errorf("part %s: %w", file, err)
		}
		maps.Copy(opaque, ownOpaque)
		maps.Copy(index.notes, part.notes)
		for _, name := range slices.Sorted(maps.Keys(own)) {
			switch place, ok := at[name]; {
			case !ok:
				return nil, nil, fmt.Errorf("%s: in the part %s, but not in the index: they are of different models", name, file)
			case place != file:
				return nil, nil, fmt.Errorf("%s: in the part %s, but the index has it in %s: they are of different models", name, file, place)
			}
			tensors[name] = own[name]
		}
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		if tensors[name] == nil {
			return nil, nil, fmt.Errorf("%s: %w in the part %s, where the index has it: they are of different models", name, ErrMissing, at[name])
		}
	}
	return tensors, opaque, nil
}

// parseIndex returns the file of each tensor.
func parseIndex(b []byte) (map[string]string, error) {
	var top struct {
		WeightMap json.RawMessage `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &top); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(top.WeightMap))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("weight_map is no object")
	}
	at := map[string]string{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := key.(string) // the keys of an object
		var file string
		if err := d.Decode(&file); err != nil {
			return nil, fmt.Errorf("%.80q: %w", name, err)
		}
		if file == "" || file != filepath.Base(file) || file == "." || file == ".." || bytes.ContainsAny([]byte(file), `/\`) {
			return nil, fmt.Errorf("%.80q: in the file %.80q, want the name of one beside the index", name, file)
		}
		if _, ok := at[name]; ok {
			return nil, fmt.Errorf("two tensors named %.80q", name)
		}
		at[name] = file
	}
	if len(at) == 0 {
		return nil, errors.New("weight_map is empty")
	}
	return at, nil
}
