package serve

import "sync"

// progress is how far something is, as samapi tells it.
type progress struct {
	mu      sync.Mutex
	message string
	percent int
	running bool
}

// set says how far it is; percent -1 means unknown.
func (p *progress) set(message string, percent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.message, p.percent, p.running = message, percent, true
}

// end says that nothing is under way.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.message, p.percent, p.running = "", -1, false
}

// get returns what samapi answers with: message is nil when nothing is under
// way.
func (p *progress) get() (message *string, percent int, running bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.running {
		return nil, -1, false
	}
	m := p.message
	return &m, p.percent, true
}
