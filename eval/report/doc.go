// Package report writes down what an experiment gave: tables in the layout of
// the paper (Deng et al., arXiv 2304.04155) as Markdown and LaTeX with the
// paper's figures beside, every score of every picture as CSV, plots as PNG
// and SVG, and a gallery of the best, the median and the worst pictures as one
// HTML page.
//
//	t, err := report.NewTable(results, report.Options{})
//	if err != nil {
//		return err
//	}
//	err = t.WriteMarkdown(os.Stdout)
//
// Nothing here measures anything: package eval does. The same results give the
// same bytes.
package report
