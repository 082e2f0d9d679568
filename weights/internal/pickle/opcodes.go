package pickle

import (
	"errors"
	"fmt"
)

// Opcodes, with the names of Python's pickletools.
const (
	opMark           = '('
	opStop           = '.'
	opPop            = '0'
	opPopMark        = '1'
	opDup            = '2'
	opFloat          = 'F'
	opInt            = 'I'
	opBinInt         = 'J'
	opBinInt1        = 'K'
	opLong           = 'L'
	opBinInt2        = 'M'
	opNone           = 'N'
	opPersID         = 'P'
	opBinPersID      = 'Q'
	opReduce         = 'R'
	opString         = 'S'
	opBinString      = 'T'
	opShortBinString = 'U'
	opUnicode        = 'V'
	opBinUnicode     = 'X'
	opAppend         = 'a'
	opBuild          = 'b'
	opGlobal         = 'c'
	opDict           = 'd'
	opEmptyDict      = '}'
	opAppends        = 'e'
	opGet            = 'g'
	opBinGet         = 'h'
	opInst           = 'i'
	opLongBinGet     = 'j'
	opList           = 'l'
	opEmptyList      = ']'
	opObj            = 'o'
	opPut            = 'p'
	opBinPut         = 'q'
	opLongBinPut     = 'r'
	opSetItem        = 's'
	opTuple          = 't'
	opEmptyTuple     = ')'
	opSetItems       = 'u'
	opBinFloat       = 'G'
	opBinBytes       = 'B'
	opShortBinBytes  = 'C'

	opProto           = 0x80
	opNewObj          = 0x81
	opExt1            = 0x82
	opExt2            = 0x83
	opExt4            = 0x84
	opTuple1          = 0x85
	opTuple2          = 0x86
	opTuple3          = 0x87
	opNewTrue         = 0x88
	opNewFalse        = 0x89
	opLong1           = 0x8a
	opLong4           = 0x8b
	opShortBinUnicode = 0x8c
	opBinUnicode8     = 0x8d
	opBinBytes8       = 0x8e
	opEmptySet        = 0x8f
	opAddItems        = 0x90
	opFrozenSet       = 0x91
	opNewObjEx        = 0x92
	opStackGlobal     = 0x93
	opMemoize         = 0x94
	opFrame           = 0x95
	opByteArray8      = 0x96
	opNextBuffer      = 0x97
	opReadOnlyBuffer  = 0x98
)

const maxProtocol = 5

// run executes opcodes until opStop.
func (m *machine) run() (any, error) {
	for {
		op, err := m.r.op()
		if err != nil {
			return nil, err
		}
		if op == opStop {
			return m.pop()
		}
		handled, err := m.scalar(op)
		if !handled && err == nil {
			handled, err = m.container(op)
		}
		if !handled && err == nil {
			handled, err = m.object(op)
		}
		if err != nil {
			return nil, err
		}
		if !handled {
			return nil, fmt.Errorf("opcode 0x%02x is unknown", op)
		}
	}
}

// container executes the opcodes of the stack, the memo and containers.
func (m *machine) container(op byte) (bool, error) {
	switch op {
	case opMark:
		if err := m.charge(2 * costSlot); err != nil {
			return true, err
		}
		m.marks = append(m.marks, len(m.stack))
		return true, nil
	case opPop:
		if len(m.marks) > 0 && len(m.stack) == m.floor() {
			m.marks = m.marks[:len(m.marks)-1] // as Python: a mark is popped, too
			return true, nil
		}
		_, err := m.pop()
		return true, err
	case opPopMark:
		_, err := m.popMark()
		return true, err
	case opDup:
		v, err := m.top()
		if err != nil {
			return true, err
		}
		return true, m.push(v, 0)

	case opPut, opBinPut, opLongBinPut, opMemoize:
		i, err := m.memoIndex(op)
		if err != nil {
			return true, err
		}
		return true, m.put(i)
	case opGet, opBinGet, opLongBinGet:
		i, err := m.memoIndex(op)
		if err != nil {
			return true, err
		}
		return true, m.get(i)

	case opEmptyList, opEmptySet:
		return true, m.push(&List{}, costHeader)
	case opEmptyTuple:
		return true, m.push(&Tuple{}, costHeader)
	case opEmptyDict:
		return true, m.push(&Dict{}, costHeader)
	case opList, opFrozenSet, opTuple, opDict:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		return true, m.collect(op, items)
	case opTuple1, opTuple2, opTuple3:
		n := int(op-opTuple1) + 1
		if len(m.stack)-n < m.floor() {
			return true, errUnderflow
		}
		items := m.stack[len(m.stack)-n:]
		m.stack = m.stack[:len(m.stack)-n]
		return true, m.collect(opTuple, items)

	case opAppend:
		v, err := m.pop()
		if err != nil {
			return true, err
		}
		return true, m.extend([]any{v})
	case opAppends, opAddItems:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		return true, m.extend(items)
	case opSetItem:
		v, err := m.pop()
		if err != nil {
			return true, err
		}
		k, err := m.pop()
		if err != nil {
			return true, err
		}
		return true, m.setItems([]any{k, v})
	case opSetItems:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		return true, m.setItems(items)
	}
	return false, nil
}

// collect pushes a list, tuple or dict of items, which it copies.
func (m *machine) collect(op byte, items []any) error {
	if op == opDict {
		d := &Dict{}
		if err := m.fill(d, items); err != nil {
			return err
		}
		return m.push(d, costHeader)
	}
	own, err := m.clone(items)
	if err != nil {
		return err
	}
	if op == opTuple {
		return m.push(&Tuple{own}, 0)
	}
	return m.push(&List{own}, 0)
}

func (m *machine) memoIndex(op byte) (uint64, error) {
	switch op {
	case opBinPut, opBinGet:
		return m.r.uint(1)
	case opLongBinPut, opLongBinGet:
		return m.r.uint(4)
	case opMemoize:
		return uint64(len(m.memo)), nil
	}
	return m.r.decimal()
}

// object executes the opcodes that name classes and ask for calls.
func (m *machine) object(op byte) (bool, error) {
	switch op {
	case opGlobal, opInst:
		module, err := m.r.line()
		if err != nil {
			return true, err
		}
		name, err := m.r.line()
		if err != nil {
			return true, err
		}
		g := &Global{string(module), string(name)}
		cost := costHeader + len(module) + len(name)
		if op == opGlobal {
			return true, m.push(g, cost)
		}
		if err := m.charge(cost); err != nil {
			return true, err
		}
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		own, err := m.clone(items)
		if err != nil {
			return true, err
		}
		return true, m.call(g, &Tuple{own})
	case opStackGlobal:
		name, err := m.pop()
		if err != nil {
			return true, err
		}
		module, err := m.pop()
		if err != nil {
			return true, err
		}
		mod, ok1 := module.(string)
		n, ok2 := name.(string)
		if !ok1 || !ok2 {
			return true, errors.New("the name of a class is not a str")
		}
		return true, m.push(&Global{mod, n}, costHeader)
	case opObj:
		items, err := m.popMark()
		if err != nil {
			return true, err
		}
		if len(items) == 0 {
			return true, errUnderflow
		}
		own, err := m.clone(items)
		if err != nil {
			return true, err
		}
		return true, m.call(own[0], &Tuple{own[1:]})
	case opReduce, opNewObj, opNewObjEx:
		if op == opNewObjEx {
			if _, err := m.pop(); err != nil { // keyword arguments: dropped
				return true, err
			}
		}
		args, err := m.pop()
		if err != nil {
			return true, err
		}
		class, err := m.pop()
		if err != nil {
			return true, err
		}
		return true, m.call(class, args)
	case opBuild: // the state of an object: dropped
		if _, err := m.pop(); err != nil {
			return true, err
		}
		_, err := m.top()
		return true, err
	case opPersID, opBinPersID:
		return true, m.persistent(op)
	case opExt1, opExt2, opExt4:
		n := map[byte]int{opExt1: 1, opExt2: 2, opExt4: 4}[op]
		if _, err := m.r.uint(n); err != nil {
			return true, err
		}
		return true, m.push(&Object{Class: "extension"}, costHeader)
	case opNextBuffer, opReadOnlyBuffer:
		return true, errors.New("out-of-band buffers are not in the file")
	}
	return false, nil
}

func (m *machine) persistent(op byte) error {
	var id any
	if op == opPersID {
		line, err := m.r.line()
		if err != nil {
			return err
		}
		id = string(line)
		if err := m.charge(costHeader + len(line)); err != nil {
			return err
		}
	} else {
		v, err := m.pop()
		if err != nil {
			return err
		}
		id = v
	}
	if m.hooks.Persistent == nil {
		return m.push(&Object{Class: "persistent id"}, costHeader)
	}
	v, err := m.hooks.Persistent(id)
	if err != nil {
		return err
	}
	return m.push(v, costHeader)
}
