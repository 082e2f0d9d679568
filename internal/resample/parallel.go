package resample

// parallel calls f(0) to f(n-1).
func parallel(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}
