package wholeslide

import (
	"fmt"
	"image"

	"github.com/google/uuid"

	"github.com/slidesam/sam/internal/mask"
)

// runSpace is the namespace of runs: UUIDs of version 5 (RFC 9562) of the
// project's address.
var runSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/slidesam/sam"))

// objectIDs names the objects of one scale. An object's UUID is of version 5,
// of the run's ID and the object's scale and pixels: every attempt gives the
// same object the same one, whatever was numbered before it.
type objectIDs struct {
	space uuid.UUID
	scale int
	seen  map[uuid.UUID]namedObject // that another of the same pixels may still follow
}

type namedObject struct {
	top    int // first row of pixels
	copies int // objects of the same pixels
}

func newObjectIDs(p *scalePlan) *objectIDs {
	return &objectIDs{uuid.NewSHA1(runSpace, []byte(p.run)), p.index, map[uuid.UUID]namedObject{}}
}

// of returns the UUID of the next object. Of several of the same pixels each
// has its own.
func (o *objectIDs) of(m *mask.Mask) (uuid.UUID, error) {
	b := m.Bounds()
	small, err := m.Window(b)
	if err != nil {
		return uuid.UUID{}, err
	}
	id := o.name(b, small.RLE().Compressed(), 0)
	n := o.seen[id]
	o.seen[id] = namedObject{b.Min.Y, n.copies + 1}
	if n.copies > 0 {
		return o.name(b, small.RLE().Compressed(), n.copies), nil
	}
	return id, nil
}

func (o *objectIDs) name(box image.Rectangle, runs string, copies int) uuid.UUID {
	return uuid.NewSHA1(o.space, fmt.Appendf(nil, "%d %d %v %s", o.scale, copies, corners(box), runs))
}

// settle forgets the objects above row y, which none to come equals.
func (o *objectIDs) settle(y int) {
	for id, n := range o.seen {
		if n.top < y {
			delete(o.seen, id)
		}
	}
}
