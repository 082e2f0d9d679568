package segment

// demo is the prompts for the bundled picture: nuclei by a point or a box.
func demo() []prompt {
	box := func(x0, y0, x1, y1 float64) []float64 { return []float64{x0, y0, x1, y1} }
	point := func(x, y float64) [][]float64 { return [][]float64{{x, y, 1}} }
	return []prompt{
		{Name: "tumour nucleus", Points: point(838, 330)},
		{Name: "tumour nucleus", Points: point(797, 438)},
		{Name: "tumour nucleus", Points: point(584, 541)},
		{Name: "tumour nucleus", Points: point(741, 546)},
		{Name: "epithelial nucleus", Points: point(282, 692)},
		{Name: "epithelial nucleus", Box: box(464, 529, 493, 563)},
		{Name: "stroma nucleus", Points: point(745, 318)},
		{Name: "stroma nucleus", Points: point(101, 668)},
		{Name: "vessel nucleus", Box: box(406, 262, 444, 286)},
		{Name: "fat cell nucleus", Points: point(58, 318)},
	}
}
