package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// heads are the first parts of the names that a SAM's tensors have, in Meta's
// naming and in Hugging Face's.
var heads = []string{"image_encoder", "vision_encoder", "prompt_encoder", "mask_decoder", "shared_image_embedding", "pixel_mean", "pixel_std"}

// wrappers are prefixes that modules around a SAM add to names. They are
// removed name by name, as micro-sam does.
var wrappers = []string{"sam", "module", "_orig_mod"}

// containers are the keys under which training programs keep the state dict,
// the one to take first.
var containers = []string{"", "model_state", "model", "state_dict", "model_state_dict"}

// normalize gives the tensors of a file the names of Original and tells which
// layout the file had.
func normalize(tensors map[string]*Tensor, opaque map[string]string, file *mapping) (*Checkpoint, error) {
	if err := refuseOtherModels(tensors); err != nil {
		return nil, err
	}
	names := slices.Concat(slices.Collect(maps.Keys(tensors)), slices.Collect(maps.Keys(opaque)))
	container, ok, err := findContainer(names)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notSAM(tensors, opaque)
	}
	for _, name := range slices.Sorted(maps.Keys(opaque)) {
		if c, _, key := splitName(name); c == container && isHead(key) {
			return nil, fmt.Errorf("%s: cannot read a %s: save plain float tensors", name, opaque[name])
		}
	}
	out := map[string]*Tensor{}
	layout := Original
	switch container {
	case "model_state":
		layout = Trainer
	case "model":
		layout = MedSAM
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		c, wrapper, key := splitName(name)
		if !isHead(key) { // not part of a SAM, perhaps of its container
			if key = name; container != "" {
				var ok bool
				if key, ok = strings.CutPrefix(name, container+"."); !ok {
					continue
				}
			}
			if isExtra(key) {
				continue
			}
		} else if c != container {
			continue
		}
		if layout == Original {
			switch wrapper {
			case "sam":
				layout = Trainer
			case "module":
				layout = MedSAM
			}
		}
		if _, ok := out[key]; ok {
			return nil, fmt.Errorf("two tensors named %s", key)
		}
		t := tensors[name]
		t.Name = key
		out[key] = t
	}
	if isHuggingFace(out) {
		if out, err = fromHuggingFace(out); err != nil {
			return nil, err
		}
		layout = HuggingFace
	}
	if isAdapted(out) {
		if out, layout, err = mergeAdapters(out); err != nil {
			return nil, err
		}
	}
	return newCheckpoint(out, layout, file), nil
}

// splitName cuts a name into the container, the outermost wrapper and the key
// that begins with one of heads. Without one, all of the name is key.
func splitName(name string) (container, wrapper, key string) {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if !slices.Contains(heads, p) {
			continue
		}
		n := i
		for n > 0 && slices.Contains(wrappers, parts[n-1]) {
			n--
		}
		if n < i {
			wrapper = parts[n]
		}
		return strings.Join(parts[:n], "."), wrapper, strings.Join(parts[i:], ".")
	}
	return "", "", name
}

// isHead reports whether the key is a SAM's.
func isHead(key string) bool {
	first, _, _ := strings.Cut(key, ".")
	return slices.Contains(heads, first)
}

// isExtra reports whether a tensor is one that trainers keep beside a SAM: the
// state of optimizers, a second decoder, the adapters' second registration.
func isExtra(key string) bool {
	first, _, _ := strings.Cut(key, ".")
	return first == "peft_blocks" || strings.HasPrefix(first, "fa_ti_") || first == "decoder_state" || strings.HasPrefix(first, "optimizer") ||
		strings.HasPrefix(first, "scheduler") || strings.HasPrefix(first, "scaler")
}

// findContainer returns the path of the dict that holds the SAM, and false if
// none does.
func findContainer(names []string) (string, bool, error) {
	found := map[string]bool{}
	for _, name := range names {
		c, _, key := splitName(name)
		if isHead(key) && !harmless[key] {
			found[c] = true
		}
	}
	for _, c := range containers {
		if found[c] {
			return c, true, nil
		}
	}
	switch list := slices.Sorted(maps.Keys(found)); len(list) {
	case 0:
		return "", false, nil
	case 1:
		return list[0], true, nil
	default:
		return "", false, fmt.Errorf("several models, under %s: save the state dict of the one wanted", strings.Join(list, ", "))
	}
}

// anyName reports whether any tensor's name holds one of the parts.
func anyName(tensors map[string]*Tensor, parts ...string) bool {
	for name := range tensors {
		for _, p := range parts {
			if strings.Contains("."+name, p) {
				return true
			}
		}
	}
	return false
}

// refuseOtherModels names the models that share names with SAM but are others.
func refuseOtherModels(tensors map[string]*Tensor) error {
	switch {
	case anyName(tensors, ".sam_mask_decoder.", ".image_encoder.trunk.", ".memory_attention.", ".vision_encoder.backbone.",
		".maskmem_tpos_enc", ".vision_backbone.trunk."):
		return errors.New("a SAM 2 (or later) checkpoint, or one made of it such as MedSAM2, which is another architecture: use a SAM checkpoint such as sam_vit_b_01ec64.pth")
	case anyName(tensors, ".mask_decoder.hf_token.", ".mask_decoder.hq_token.", ".mask_decoder.hq_mask_mlp.", ".mask_decoder.compress_vit_conv1."):
		return errors.New("an HQ-SAM checkpoint, whose decoder is another: use a SAM checkpoint")
	case anyName(tensors, ".mask_decoder.final_output_upscaling_layers."):
		return errors.New("an EfficientSAM checkpoint, whose encoder and decoder are others: use a SAM checkpoint")
	case anyName(tensors, ".image_encoder.fuse_stage2.", ".image_encoder.fuse_stage3.", ".image_encoder.features."):
		return errors.New("an EdgeSAM checkpoint (or one of RepViT-SAM), whose encoder is a RepViT: use a SAM checkpoint")
	case anyName(tensors, ".nuclei_binary_map_decoder.", ".hv_map_decoder.", ".nuclei_type_maps_decoder."):
		return errors.New("a CellViT checkpoint, which has SAM's encoder at most and decoders of its own: use a SAM checkpoint")
	case anyName(tensors, ".Adapter.channel.", ".Adapter.spatial."):
		return errors.New("a SAM-Med2D checkpoint, whose encoder has adapter layers: use the SAM that it was trained from, or one fine-tuned without adapters")
	case anyName(tensors, ".MLP_Adapter.", ".Space_Adapter."):
		return errors.New("a Medical SAM Adapter checkpoint, whose encoder has adapter layers: use a SAM fine-tuned without adapters")
	case anyName(tensors, ".diam_mean", ".diam_labels"):
		return errors.New("a Cellpose model; Cellpose-SAM has SAM's encoder, but neither prompts nor a mask decoder: load it with LoadCellpose (-prompts cellpose), or use a SAM checkpoint")
	case tensors["w_a_000"] != nil || tensors["sa_a_000"] != nil:
		return errors.New("the adapters of CellSeg1 (or SAMed) without the model that they adapt: merge them into it with OpenCellSeg1 (convert -adapters)")
	case anyName(tensors, ".lora_A.", ".lora_B."):
		return errors.New("a PEFT adapter: merge it with merge_and_unload() and save the model's state dict")
	}
	return nil
}

// wholeModule returns the object that a file without a SAM's tensors keeps under
// a key of a state dict, and its class; "" if there is none.
func wholeModule(opaque map[string]string) (key, class string) {
	for _, k := range append(slices.Clone(containers[1:]), "ema", "net", "network") {
		if class := opaque[k]; class != "" {
			return k, class
		}
	}
	return "", ""
}

// notSAM says what a file without a SAM's tensors is.
func notSAM(tensors map[string]*Tensor, opaque map[string]string) error {
	key, class := wholeModule(opaque)
	switch {
	case class != "":
		return fmt.Errorf("a whole Python object of %.80q under %.80q, not a state dict: save its state_dict()", class, key)
	case anyName(tensors, ".deconv1.", ".deconv_out.", ".decoder_head."):
		if anyName(tensors, ".encoder.blocks.", ".encoder.patch_embed.") {
			return errors.New("a patho-sam semantic segmentation model: it has SAM's image encoder but no prompt encoder and no mask decoder: load it as an instance model, or use the SAM it was trained from, such as vit_b_histopathology")
		}
		return errors.New("a UNETR decoder of micro-sam or patho-sam, not a SAM: open the model's own file, without _decoder in its name, or load both as an instance model")
	case anyName(tensors, ".model.0.conv.") && anyName(tensors, ".model.22."):
		return errors.New("a YOLO model, as FastSAM is, which is another architecture: use a SAM checkpoint")
	case anyName(tensors, ".cls_token"):
		return errors.New("an image encoder alone (as DINO, UNI, Virchow or H-optimus are), without a prompt encoder and a mask decoder: use a SAM checkpoint")
	case len(tensors) == 0:
		return errors.New("no tensors in the file")
	}
	names := slices.Sorted(maps.Keys(tensors))
	names = names[:min(len(names), 3)]
	for i, n := range names {
		names[i] = fmt.Sprintf("%.80q", n)
	}
	return fmt.Errorf("no Segment Anything model: its tensors have names such as %s", strings.Join(names, ", "))
}
