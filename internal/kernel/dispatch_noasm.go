package kernel

// impls lists the implementations that this machine can run, best first.
func impls() []*impl { return []*impl{&generic} }

func choose() *impl { return &generic }
