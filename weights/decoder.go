package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// decoderHeads are the first parts of the names that the tensors of an
// instance decoder have.
var decoderHeads = []string{"base", "deconv1", "deconv2", "deconv3", "deconv4", "decoder", "deconv_out", "decoder_head", "out_conv"}

// decoderContainers are the prefixes under which files keep an instance
// decoder, the one to take first.
var decoderContainers = []string{"decoder_state.", "model_state.", ""}

// OpenDecoder reads the headers of a file that holds an instance decoder of
// micro-sam or patho-sam, as Open does: a model's file with a decoder in it, a
// decoder's own file, or a checkpoint of a training of encoder and decoder.
//
// The tensors have the decoder's names, such as "out_conv.weight". Those of
// the encoder that a training keeps beside its decoder are there too, under
// "image_encoder"; a model in the same file is not, which Open reads.
func OpenDecoder(path string) (*Checkpoint, error) {
	return openFile(path, decoderOf)
}

// OpenDecoderBytes reads an instance decoder that is in memory, as OpenDecoder
// does a file and [OpenBytes] a model.
func OpenDecoderBytes(data []byte) (*Checkpoint, error) {
	c, err := read(&mapping{data: data}, decoderOf)
	if err != nil {
		return nil, fmt.Errorf("weights: open %d bytes: %w", len(data), formatError{err})
	}
	return c, nil
}

// decoderOf gives the tensors of a decoder their plain names.
func decoderOf(tensors map[string]*Tensor, opaque map[string]string, file *mapping) (*Checkpoint, error) {
	at := slices.IndexFunc(decoderContainers, func(c string) bool {
		return tensors[c+"out_conv.weight"] != nil && tensors[c+"base.block.1.weight"] != nil
	})
	if at < 0 {
		return nil, errors.New("no instance decoder: want a file of micro-sam or patho-sam with one, or the decoder's own file")
	}
	container := decoderContainers[at]
	for _, name := range slices.Sorted(maps.Keys(opaque)) {
		if key, ok := strings.CutPrefix(name, container); ok && isDecoderHead(key) {
			return nil, fmt.Errorf("%s: cannot read a %s: save plain float tensors", name, opaque[name])
		}
	}
	out := map[string]*Tensor{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		key, ok := strings.CutPrefix(name, container)
		if !ok {
			continue
		}
		if rest, ok := strings.CutPrefix(key, "encoder."); ok {
			key = "image_encoder." + rest
		} else if !isDecoderHead(key) {
			continue
		}
		t := tensors[name]
		t.Name = key
		out[key] = t
	}
	if isAdapted(out) {
		var err error
		if out, _, err = mergeAdapters(out); err != nil {
			return nil, err
		}
	}
	return newCheckpoint(out, Original, file), nil
}

func isDecoderHead(key string) bool {
	first, _, _ := strings.Cut(key, ".")
	return slices.Contains(decoderHeads, first)
}
