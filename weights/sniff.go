package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// signatures are the beginnings of files that are taken for checkpoints, what
// they are and what to do.
var signatures = []struct{ prefix, message string }{
	{"version https://git-lfs.github.com/spec/", "a git-lfs pointer, not the file itself: run git lfs pull"},
	{"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", "a file of PyTorch before 1.6: load it with torch.load and save it again with torch.save"},
	{"\x80", "a bare pickle, not a checkpoint that torch.save wrote: save the state dict with torch.save"},
	{"lmgg", "a ggml file (sam.cpp), which lacks the mask prompt's layers: use the .pth file that it was made from"},
	{"GGUF", "a GGUF file: use the .pth or .safetensors file that it was made from"},
	{"\x93NUMPY", "a single array (.npy): save all arrays in one file with numpy.savez"},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file: save the tensors as .safetensors or .npz"},
	{"\x1f\x8b", "a gzip archive: unpack it first"},
	{"BZh", "a bzip2 archive: unpack it first"},
	{"\xfd7zXZ", "an xz archive: unpack it first"},
	{"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{"Rar!", "a rar archive: unpack it first"},
	{"\x89PNG", "a picture, not a checkpoint"},
	{"\xff\xd8\xff", "a picture, not a checkpoint"},
	{"II*\x00", "a TIFF picture or slide, not a checkpoint"},
	{"MM\x00*", "a TIFF picture or slide, not a checkpoint"},
	{"%PDF", "a PDF document, not a checkpoint"},
}

// unknownFile says what a file is that is none of the formats that are read.
func unknownFile(b []byte) error {
	if len(b) == 0 {
		return errors.New("an empty file: download it again")
	}
	for _, s := range signatures {
		if bytes.HasPrefix(b, []byte(s.prefix)) {
			return errors.New(s.message)
		}
	}
	head := b[:min(len(b), 1024)]
	switch {
	case len(b) >= 262 && bytes.Equal(b[257:262], []byte("ustar")):
		return errors.New("a tar archive: unpack it; if torch.save of PyTorch 0.1 wrote it, load and save it again with a PyTorch before 1.6, then with a newer one")
	case isONNX(head):
		return errors.New("an ONNX graph: use the .pth file that it was exported from")
	case isWebPage(head):
		return errors.New("a web page, not the file itself: open the address in a browser, and save what its download button gives")
	case isText(head):
		line, _, _ := bytes.Cut(bytes.TrimSpace(head), []byte("\n"))
		return fmt.Errorf("a text file that begins with %.60q, not a checkpoint", line)
	case len(bytes.Trim(head, "\x00")) == 0:
		return errors.New("a file that begins with zeros, as an unfinished download does: download it again")
	}
	return errors.New("neither a .pth (zip), .safetensors nor .npz file: perhaps the download is damaged")
}

func isWebPage(head []byte) bool {
	s := bytes.ToLower(bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n"))
	for _, p := range []string{"<!doctype", "<html", "<head", "<?xml", "<!--", "<script"} {
		if bytes.HasPrefix(s, []byte(p)) {
			return true
		}
	}
	return false
}

// isONNX looks for the version and producer of an ONNX model, the first fields
// of its protocol buffer.
func isONNX(head []byte) bool {
	if len(head) <= 16 || head[0] != 0x08 || head[2] != 0x12 {
		return false
	}
	n, rest := int(head[3]), head[4:]
	return n < len(rest) && utf8.Valid(rest[:n])
}

// isText reports whether the bytes are text: UTF-8 without control characters.
func isText(head []byte) bool {
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		switch {
		case r == utf8.RuneError && n == 1:
			return len(head) < utf8.UTFMax // the last character may be cut
		case r < ' ' && r != '\n' && r != '\r' && r != '\t':
			return false
		}
		head = head[n:]
	}
	return true
}

// isSafetensors reports whether a file begins as a .safetensors file does: with
// the length of a JSON object and the object.
func isSafetensors(b []byte) bool {
	return len(b) >= 9 && b[8] == '{' && binary.LittleEndian.Uint64(b) < 1<<40
}
