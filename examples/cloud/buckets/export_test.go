package buckets

import (
	"context"

	"github.com/slidesam/sam/internal/wsi"
)

// Files returns the folder of a slide at an address, and its name in it.
func Files(ctx context.Context, address string) (wsi.RemoteFS, string, error) {
	p, err := open(ctx, address)
	if err != nil {
		return nil, "", err
	}
	return p.files()
}
