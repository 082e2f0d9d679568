// Package assign solves the assignment problem on sparse graphs.
//
// Instances of two pictures overlap with few neighbours only, so that the n x n
// matrix of the textbook algorithm is nearly empty. Max walks the edges alone:
// time and memory grow with the number of edges.
//
//	match := assign.Max(len(truth), len(pred), edges)
//	for t, p := range match { ... } // p is -1 where t stays alone
package assign

import "math"

// Edge joins a row and a column with a weight above zero.
type Edge struct {
	Row, Col int
	Weight   float64
}

// Max returns, for each of rows, the column it is matched with or -1, so that
// the sum of the weights of the matched edges is the largest possible. Rows
// and columns may stay alone; edges of weight zero or less are not used. Of
// several best assignments the one found depends on the order of the edges
// only.
//
// The method is successive shortest augmenting paths with potentials (Jonker
// and Volgenant 1987) with Dijkstra's search on the edges; each row has a
// private column of weight zero, which stands for staying alone.
func Max(rows, cols int, edges []Edge) []int {
	s := newSolver(rows, cols, edges)
	for r := range rows {
		s.insert(r)
	}
	match := make([]int, rows)
	for r := range match {
		match[r] = -1
		if c := s.rowCol[r]; c >= 0 && c < cols {
			match[r] = c
		}
	}
	return match
}

type solver struct {
	rows, cols int
	start      []int // edges of row r are col[start[r]:start[r+1]]
	col        []int
	cost       []float64
	u, v       []float64 // potentials; the private column of row r has none
	rowCol     []int     // column of a row, -1 none yet, cols: its private one
	colRow     []int     // row of a column, -1 none

	dist    []float64 // of columns, during one search
	from    []int     // row before a column on the shortest path
	done    []bool
	touched []int
	seen    []rowDist // rows on shortest paths
	queue   colHeap
}

func newSolver(rows, cols int, edges []Edge) *solver {
	s := &solver{
		rows: rows, cols: cols, start: make([]int, rows+1),
		u: make([]float64, rows), v: make([]float64, cols),
		rowCol: make([]int, rows), colRow: make([]int, cols),
		dist: make([]float64, cols), from: make([]int, cols), done: make([]bool, cols),
	}
	for _, e := range edges {
		if e.Weight > 0 {
			s.start[e.Row+1]++
		}
	}
	for r := range rows {
		s.start[r+1] += s.start[r]
		s.rowCol[r] = -1
	}
	s.col = make([]int, s.start[rows])
	s.cost = make([]float64, s.start[rows])
	next := append([]int(nil), s.start[:rows]...)
	for _, e := range edges {
		if e.Weight > 0 {
			s.col[next[e.Row]], s.cost[next[e.Row]] = e.Col, -e.Weight
			next[e.Row]++
		}
	}
	for c := range cols {
		s.colRow[c] = -1
		s.dist[c] = math.Inf(1)
	}
	return s
}

// insert gives row r a column along the cheapest augmenting path.
func (s *solver) insert(r int) {
	var (
		last = -1          // column where the path ends, -1: a private one
		lone = -1          // row whose private column ends the path
		best = math.Inf(1) // length of the shortest path to a free column
	)
	s.queue = s.queue[:0]
	s.seen = s.seen[:0]
	s.touched = s.touched[:0]
	row, length := r, 0.0
	s.u[r] = 0
	for {
		s.seen = append(s.seen, rowDist{row, length})
		if d := length - s.u[row]; d < best { // private column: cost 0, potential 0
			best, last, lone = d, -1, row
		}
		for i := s.start[row]; i < s.start[row+1]; i++ {
			c := s.col[i]
			if s.done[c] {
				continue
			}
			d := length + s.cost[i] - s.u[row] - s.v[c]
			if d < s.dist[c] {
				if math.IsInf(s.dist[c], 1) {
					s.touched = append(s.touched, c)
				}
				s.dist[c], s.from[c] = d, row
				s.queue.push(colDist{c, d})
			}
		}
		c := -1
		for len(s.queue) > 0 {
			top := s.queue.pop()
			if !s.done[top.col] && top.dist == s.dist[top.col] {
				c = top.col
				break
			}
		}
		if c < 0 || s.dist[c] >= best {
			break
		}
		if s.colRow[c] < 0 {
			best, last, lone = s.dist[c], c, -1
			break
		}
		s.done[c] = true
		row, length = s.colRow[c], s.dist[c]
	}
	for _, x := range s.seen {
		s.u[x.row] += best - x.dist
	}
	for _, c := range s.touched {
		if s.done[c] {
			s.v[c] -= best - s.dist[c]
		}
	}
	s.augment(r, last, lone)
	for _, c := range s.touched {
		s.dist[c], s.done[c] = math.Inf(1), false
	}
}

// augment flips the path that ends in column last, or in the private column
// of row lone.
func (s *solver) augment(r, last, lone int) {
	row, give := lone, s.cols
	if last >= 0 {
		row, give = s.from[last], last
	}
	for {
		prev := s.rowCol[row]
		s.rowCol[row] = give
		if give < s.cols {
			s.colRow[give] = row
		}
		if row == r {
			return
		}
		give, row = prev, s.from[prev]
	}
}

type rowDist struct {
	row  int
	dist float64
}

type colDist struct {
	col  int
	dist float64
}

// colHeap is a binary heap, nearest column first, lower number first on ties.
type colHeap []colDist

func (h colHeap) less(i, j int) bool {
	return h[i].dist < h[j].dist || (h[i].dist == h[j].dist && h[i].col < h[j].col)
}

func (h *colHeap) push(x colDist) {
	*h = append(*h, x)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.less(i, up) {
			return
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (h *colHeap) pop() colDist {
	q := *h
	top, n := q[0], len(q)-1
	q[0] = q[n]
	q = q[:n]
	*h = q
	for i := 0; ; {
		c := 2*i + 1
		if c >= n {
			return top
		}
		if c+1 < n && q.less(c+1, c) {
			c++
		}
		if !q.less(c, i) {
			return top
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
}
