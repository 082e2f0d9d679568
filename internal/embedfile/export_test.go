package embedfile

// The conversions, for tests.
var (
	HalfBits  = halfBits
	HalfValue = halfValue
)
