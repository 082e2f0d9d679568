package report

import "strings"

// Status says how a figure of the paper is known. The paper's full text was
// not at hand when this was written: no cell of its table could be read in it.
type Status string

const (
	// Verified means read in the paper.
	Verified Status = "verified"
	// Secondary means read in a page about the paper (emergentmind.com) only.
	Secondary Status = "secondary"
	// Recalled means from memory, not checked anywhere. A hypothesis.
	Recalled Status = "recalled"
)

// PaperCell is a figure of the paper's table, Dice in per cent.
type PaperCell struct {
	Dice   float64
	Status Status
}

// PaperRow is a row of the paper's table.
type PaperRow struct {
	Method, Prompts string
	Cells           map[string]PaperCell // by column; absent where the table has a dash
}

// PaperColumns are the columns of the paper's table: tasks and magnifications.
var PaperColumns = []string{"tumour 0.5x", "CAP 5x", "TUFT 5x", "DT 10x", "PT 10x", "VES 10x", "PTC 40x", "nuclei 40x"}

// PaperTable is table 1 of arXiv 2304.04155 as far as it is known. The order of
// the columns DT and PT is not certain, and the SOTA of the tumour task is open:
// the secondary source says that 20 points come close to it, which 71.98 would
// contradict.
var PaperTable = []PaperRow{
	paperRow("SOTA", "none", 71.98, 96.50, 96.59, 81.01, 89.80, 85.05, 77.23, 81.77, "nuclei 40x"),
	paperRow("SAM", "1 point", 58.71, 78.08, 80.11, 58.93, 49.72, 65.26, 67.03, 1.95),
	paperRow("SAM", "20 points", 74.98, 80.12, 79.92, 60.35, 66.57, 68.51, 64.63, 41.65, "tumour 0.5x", "nuclei 40x"),
	paperRow("SAM", "total points", 0, 88.10, 89.65, 70.21, 73.19, 67.04, 67.61, 69.50),
	paperRow("SAM", "total boxes", 0, 95.23, 96.49, 89.97, 86.77, 87.44, 87.18, 88.30),
}

// paperRow takes the row's figures and the columns whose figure a secondary
// source has. The rest is recalled; 0 is a dash.
func paperRow(method, prompts string, tumour, cp, tuft, dt, pt, ves, ptc, nuclei float64, secondary ...string) PaperRow {
	r := PaperRow{Method: method, Prompts: prompts, Cells: map[string]PaperCell{}}
	for i, v := range []float64{tumour, cp, tuft, dt, pt, ves, ptc, nuclei} {
		if v == 0 {
			continue
		}
		c := PaperCell{Dice: v, Status: Recalled}
		for _, s := range secondary {
			if s == PaperColumns[i] {
				c.Status = Secondary
			}
		}
		r.Cells[PaperColumns[i]] = c
	}
	return r
}

// PaperColumn guesses which column of the paper a task belongs to, by the
// names that the data sets use, "" if none. Only the kind of tissue is looked
// at: compare the magnification yourself.
func PaperColumn(task string) string {
	name, _, _ := strings.Cut(strings.ToLower(task), " ")
	switch name {
	case "tumour", "tumor", "camelyon16", "skcm":
		return "tumour 0.5x"
	case "capsule", "cap":
		return "CAP 5x"
	case "tuft":
		return "TUFT 5x"
	case "dt":
		return "DT 10x"
	case "pt":
		return "PT 10x"
	case "vessel", "ves":
		return "VES 10x"
	case "ptc":
		return "PTC 40x"
	case "nuclei", "monuseg", "pannuke", "consep", "conic", "lizard", "nuinsseg", "tnbc":
		return "nuclei 40x"
	}
	return ""
}
