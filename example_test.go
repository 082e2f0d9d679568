package sam_test

import (
	"bytes"
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights/bundled"
)

// exampleModel is a tiny model with random weights: its masks mean nothing,
// but they are the same everywhere.
func exampleModel() *sam.Model {
	m, err := sam.NewRandom(tiny(), 1)
	if err != nil {
		panic(err)
	}
	return m
}

func Example() {
	ctx := context.Background()
	m := exampleModel() // sam.Load("sam_vit_b_01ec64.pth"), sam.Bundled()
	img := image.NewRGBA(image.Rect(0, 0, 200, 100))
	e, err := m.Embed(ctx, img)
	if err != nil {
		panic(err)
	}
	p, err := m.Predict(ctx, e, sam.Prompt{Points: []sam.Point{{X: 50, Y: 40, Label: sam.Foreground}}}, sam.PredictOptions{})
	if err != nil {
		panic(err)
	}
	best := p.Masks[p.Best()]
	fmt.Println(len(p.Masks), "masks of", best.Size(), "pixels")
	// Output: 3 masks of 200 x 100 pixels
}

func ExampleModel_Embed() {
	e, err := exampleModel().Embed(context.Background(), image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		panic(err)
	}
	_, shape := e.Tensor()
	fmt.Println(shape, e.PictureSize())
	// Output: [32 16 16] 300 x 200
}

// Logits of one prediction refine the next.
func ExampleModel_Predict() {
	ctx := context.Background()
	m := exampleModel()
	e, err := m.Embed(ctx, image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		panic(err)
	}
	prompt := sam.Prompt{Box: &sam.Box{X0: 30, Y0: 40, X1: 200, Y1: 150}}
	first, err := m.Predict(ctx, e, prompt, sam.PredictOptions{})
	if err != nil {
		panic(err)
	}
	prompt.Mask = &first.LowRes[first.Best()]
	prompt.Points = []sam.Point{{X: 60, Y: 70, Label: sam.Background}}
	second, err := m.Predict(ctx, e, prompt, sam.PredictOptions{SingleMask: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(first.Masks), len(second.Masks))
	// Output: 3 1
}

// Local keeps masks inside the prompt's box.
func ExampleModel_Predict_local() {
	ctx := context.Background()
	m := exampleModel()
	e, err := m.Embed(ctx, image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		panic(err)
	}
	prompt := sam.Prompt{Box: &sam.Box{X0: 30, Y0: 40, X1: 200, Y1: 150}}
	p, err := m.Predict(ctx, e, prompt, sam.PredictOptions{SingleMask: true, Local: true})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Masks[0].Bounds().In(image.Rect(30, 40, 200, 150)))
	// Output: true
}

// A mirrored model makes embeddings of its own.
func ExampleModel_Mirrored() {
	ctx := context.Background()
	m := exampleModel()
	e, err := m.Mirrored().Embed(ctx, image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		panic(err)
	}
	prompt := sam.Prompt{Points: []sam.Point{{X: 60, Y: 70, Label: sam.Foreground}}}
	p, err := m.Mirrored().Predict(ctx, e, prompt, sam.PredictOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(p.Masks), "masks of", p.Masks[0].Size(), "pixels")
	_, err = m.Predict(ctx, e, prompt, sam.PredictOptions{})
	fmt.Println(err)
	// Output:
	// 3 masks of 300 x 200 pixels
	// sam: predict: the embedding is another model's: embed the picture with this model
}

func ExampleModel_PredictBatch() {
	ctx := context.Background()
	m := exampleModel()
	e, err := m.Embed(ctx, image.NewGray(image.Rect(0, 0, 300, 200)))
	if err != nil {
		panic(err)
	}
	var ps []sam.Prompt
	for x := 25.0; x < 300; x += 50 {
		ps = append(ps, sam.Prompt{Points: []sam.Point{{X: x, Y: 100, Label: sam.Foreground}}})
	}
	out, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(out), len(out[0].Masks))
	// Output: 6 3
}

func ExampleEmbedding_WriteTo() {
	m := exampleModel()
	e, err := m.Embed(context.Background(), image.NewGray(image.Rect(0, 0, 30, 20)))
	if err != nil {
		panic(err)
	}
	var file bytes.Buffer
	if _, err := e.WriteTo(&file); err != nil {
		panic(err)
	}
	back, err := m.ReadEmbedding(&file)
	if err != nil {
		panic(err)
	}
	fmt.Println(back.PictureSize())
	// Output: 30 x 20
}

func ExampleBundledInstances() {
	m, err := sam.BundledInstances()
	if err != nil {
		panic(err)
	}
	nuclei, err := m.Segment(context.Background(), bundled.Picture(), sam.InstanceOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println("about", (len(nuclei)+25)/50*50, "of", bundled.Truth().N)
	// Output: about 250 of 259
}

func ExampleModel_Graph() {
	g, err := exampleModel().Graph(sam.PromptEncoder)
	if err != nil {
		panic(err)
	}
	fmt.Println(len(g.AllNodes()) > 10)
	// Output: true
}
