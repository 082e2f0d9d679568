//go:build gpu && cgo && linux

// Package driver lets a program that links gorgonia.org/cu start on a machine
// without an NVIDIA driver. It defines the driver's functions as forwarders
// to libcuda.so.1, which is opened at run time; without it there are no
// devices. The empty archive in stub satisfies the linker's -lcuda.
//
//	if why := driver.Problem(); why != "" {
//		fmt.Println(why)
//	}
package driver

// #cgo LDFLAGS: -L${SRCDIR}/stub -ldl
// extern const char* sam_driver_problem;
// extern int sam_driver_init_result;
import "C"

// Problem says why libcuda.so.1 could not be loaded; it is empty if it was.
func Problem() string {
	if C.sam_driver_problem == nil {
		return ""
	}
	return C.GoString(C.sam_driver_problem)
}

// InitResult is what the driver's cuInit returned when gorgonia.org/cu called
// it at the program's start; 0 is success.
func InitResult() int { return int(C.sam_driver_init_result) }
