package pickle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// scalar executes the opcodes of numbers, strings and framing.
func (m *machine) scalar(op byte) (bool, error) {
	switch op {
	case opProto:
		v, err := m.r.uint(1)
		if err == nil && v > maxProtocol {
			err = fmt.Errorf("protocol %d, at most %d is read", v, maxProtocol)
		}
		return true, err
	case opFrame: // a hint for buffering
		_, err := m.r.uint(8)
		return true, err
	case opNone:
		return true, m.push(nil, 0)
	case opNewTrue, opNewFalse:
		return true, m.push(op == opNewTrue, 0)
	case opInt, opLong:
		return true, m.textInt(op)
	case opBinInt, opBinInt1, opBinInt2:
		n := map[byte]int{opBinInt: 4, opBinInt1: 1, opBinInt2: 2}[op]
		v, err := m.r.uint(n)
		if err != nil {
			return true, err
		}
		i := int64(v)
		if op == opBinInt {
			i = int64(int32(v))
		}
		return true, m.push(i, costScalar)
	case opLong1, opLong4:
		n, err := m.r.uint(map[byte]int{opLong1: 1, opLong4: 4}[op])
		if err != nil {
			return true, err
		}
		b, err := m.r.take(n)
		if err != nil {
			return true, err
		}
		return true, m.long(b)
	case opFloat:
		line, err := m.r.line()
		if err != nil {
			return true, err
		}
		f, err := strconv.ParseFloat(string(line), 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return true, fmt.Errorf("%s is not a float", short(string(line)))
		}
		return true, m.push(f, costScalar)
	case opBinFloat:
		b, err := m.r.take(8)
		if err != nil {
			return true, err
		}
		return true, m.push(math.Float64frombits(binary.BigEndian.Uint64(b)), costScalar)
	}
	return m.text(op)
}

// text executes the opcodes of strings and bytes.
func (m *machine) text(op byte) (bool, error) {
	width := 0
	switch op {
	case opString, opUnicode:
		line, err := m.r.line()
		if err != nil {
			return true, err
		}
		if op == opString {
			if line, err = unquote(line); err != nil {
				return true, err
			}
		}
		return true, m.push(string(line), costScalar+len(line))
	case opShortBinString, opShortBinUnicode, opShortBinBytes:
		width = 1
	case opBinString, opBinUnicode, opBinBytes:
		width = 4
	case opBinUnicode8, opBinBytes8, opByteArray8:
		width = 8
	default:
		return false, nil
	}
	n, err := m.r.uint(width)
	if err != nil {
		return true, err
	}
	b, err := m.r.take(n)
	if err != nil {
		return true, err
	}
	switch op {
	case opShortBinBytes, opBinBytes, opBinBytes8, opByteArray8:
		return true, m.push(&Bytes{bytes.Clone(b)}, costHeader+len(b))
	}
	return true, m.push(string(b), costScalar+len(b))
}

// textInt reads the decimal integers of protocol 0, and its booleans 00 and 01.
func (m *machine) textInt(op byte) error {
	line, err := m.r.line()
	if err != nil {
		return err
	}
	s := string(line)
	if op == opInt && (s == "00" || s == "01") {
		return m.push(s == "01", 0)
	}
	if op == opLong && len(s) > 0 && s[len(s)-1] == 'L' {
		s = s[:len(s)-1]
	}
	v, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return m.push(&Object{Class: "int"}, costHeader)
	case err != nil:
		return fmt.Errorf("%s is not an integer", short(s))
	}
	return m.push(v, costScalar)
}

// long reads a little-endian two's complement integer of any length.
func (m *machine) long(b []byte) error {
	if len(b) > 8 {
		return m.push(&Object{Class: "int"}, costHeader)
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	if n := len(b); n > 0 && n < 8 && b[n-1]&0x80 != 0 {
		v |= ^uint64(0) << (8 * n)
	}
	return m.push(int64(v), costScalar)
}

// unquote removes the quotes around a string of protocol 0. Escapes are left
// as they are: no name that is looked for has any.
func unquote(b []byte) ([]byte, error) {
	if n := len(b); n >= 2 && b[0] == b[n-1] && (b[0] == '\'' || b[0] == '"') {
		return b[1 : n-1], nil
	}
	return nil, errors.New("a string without quotes")
}

// reader takes opcodes and their arguments from the pickle.
type reader struct {
	data []byte
	pos  int
	opAt int // where the last opcode was
}

var errShort = errors.New("ends early: the file is cut short")

func (r *reader) op() (byte, error) {
	r.opAt = r.pos
	if r.pos >= len(r.data) {
		return 0, errShort
	}
	r.pos++
	return r.data[r.pos-1], nil
}

// take returns the next n bytes, which alias the pickle.
func (r *reader) take(n uint64) ([]byte, error) {
	if n > uint64(len(r.data)-r.pos) {
		return nil, errShort
	}
	b := r.data[r.pos : r.pos+int(n)]
	r.pos += int(n)
	return b, nil
}

// uint returns a little-endian number of n bytes.
func (r *reader) uint(n int) (uint64, error) {
	b, err := r.take(uint64(n))
	if err != nil {
		return 0, err
	}
	var v uint64
	for i, c := range b {
		v |= uint64(c) << (8 * i)
	}
	return v, nil
}

// line returns the bytes up to the next newline, which it skips.
func (r *reader) line() ([]byte, error) {
	i := bytes.IndexByte(r.data[r.pos:], '\n')
	if i < 0 {
		return nil, errShort
	}
	b := r.data[r.pos : r.pos+i]
	r.pos += i + 1
	return b, nil
}

// decimal returns a line that holds a number that is not negative.
func (r *reader) decimal() (uint64, error) {
	b, err := r.line()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a memo index", short(string(b)))
	}
	return v, nil
}
