//go:build gpu && cgo && linux

package cuda

// #include <cuda.h>
// static CUresult begin(void* s) { return cuStreamBeginCapture((CUstream)s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); }
// static CUresult end(void* s, CUgraphExec* x) {
//   CUgraph g = 0;
//   CUresult e = cuStreamEndCapture((CUstream)s, &g);
//   if (e) return e;
//   e = cuGraphInstantiateWithFlags(x, g, 0);
//   cuGraphDestroy(g);
//   return e;
// }
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// recording is a sequence of copies and launches that is started as one.
type recording struct{ exec C.CUgraphExec }

func handle(s cu.Stream) unsafe.Pointer {
	c := s.C()
	return *(*unsafe.Pointer)(unsafe.Pointer(&c))
}

// record keeps what f enqueues on s instead of running it. It runs within do.
func record(s cu.Stream, f func() error) (r recording, err error) {
	if err := check(int(C.begin(handle(s)))); err != nil {
		return r, fmt.Errorf("begin to record: %w", err)
	}
	err = f()
	if e := check(int(C.end(handle(s), &r.exec))); e != nil && err == nil {
		err = fmt.Errorf("record: %w", e)
	}
	return r, err
}

// start enqueues what was recorded. It runs within do.
func (r recording) start(s cu.Stream) error {
	if err := check(int(C.cuGraphLaunch(r.exec, (C.CUstream)(handle(s))))); err != nil {
		return fmt.Errorf("start a recording: %w", err)
	}
	return nil
}

// free drops the recording. It runs within do.
func (r recording) free() {
	if r.exec != nil {
		C.cuGraphExecDestroy(r.exec)
	}
}
