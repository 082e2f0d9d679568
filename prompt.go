package sam

// Label says on which side of the wanted object's outline a point lies.
type Label int8

// The two labels of a point prompt, with the values Meta's code gives them.
const (
	Background Label = 0
	Foreground Label = 1
)

// Point is a point prompt. X and Y are pixels of the picture that was
// embedded, x right, y down, (0, 0) the corner of the first pixel.
type Point struct {
	X, Y  float64
	Label Label
}

// Box is a box prompt: two corners in pixels of the picture.
type Box struct{ X0, Y0, X1, Y1 float64 }

// Logits is a plane of mask scores before thresholding, [H, W] row-major.
type Logits struct {
	H, W int
	Data []float32
}

// Prompt is any mix of points, a box and the low-resolution logits of an
// earlier prediction. The empty prompt is valid and asks for whatever the
// model finds without a hint.
type Prompt struct {
	Points []Point
	Box    *Box
	Mask   *Logits
}
